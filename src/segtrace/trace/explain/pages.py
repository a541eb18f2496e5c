"""A page's figures and tables: what the page holds, and the table that each is drawn from.

They are read from the page itself, so that the list is of what a reader sees.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.aggregation import first_metrics
from segtrace.errors import SegtraceError, advice
from segtrace.regions import enters
from segtrace.trace import jobs
from segtrace.trace.cells import KEYS, Subject, select
from segtrace.trace.dotted import at
from segtrace.trace.explain import arithmetic, charts
from segtrace.trace.explain.chain import walk
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import Needs, broken, need
from segtrace.trace.explain.show import command
from segtrace.trace.explain.starts import start
from segtrace.trace.jobs import Job

#: Numbers printed of a longer list; JSON holds all.
SHOWN = 50


@dataclass
class Element:
    """A figure or table of a page: its name, the heading above it, its caption."""

    kind: str
    name: str
    heading: str
    caption: str = ""


@dataclass
class Source:
    """What an element is drawn from: whole tables, and of each number that it shows the command that explains it."""

    files: list[str] = field(default_factory=list)
    numbers: list[dict[str, str]] = field(default_factory=list)

    def add(self, file: Path | str, keys: Mapping[str, Any], column: str | None, *, what: str) -> None:
        """Add a number, or a row of them."""
        if str(file) not in self.files:
            self.files.append(str(file))
        self.numbers.append({"what": what, "command": command(file, keys, column)})


class _Reader(HTMLParser):
    """Collects figures and tables in the order of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._heading = ""
        self._into = ""
        self._region = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note headings, regions of tables, figures and what is in them."""
        known = {key: value or "" for key, value in attrs}
        if tag in ("h2", "h3"):
            self._heading, self._into = "", "heading"
        elif tag == "small" and self._into == "heading":
            self._heading += " "
        elif tag == "div" and known.get("role") == "region":
            self._region = known.get("aria-labelledby") or known.get("aria-label", "")
        elif tag == "table":
            name = re.sub(r"\W+", "-", self._region.lower()).strip("-")
            self.elements.append(Element("table", name, self._heading.strip()))
        elif tag == "figure":
            self.elements.append(Element("figure", "", self._heading.strip()))
        elif tag == "div" and known.get("class") == "chart" and self.elements:
            self.elements[-1].name = known.get("id", "")
        elif tag == "figcaption":
            self._into = "caption"

    def handle_endtag(self, tag: str) -> None:
        """Close headings and captions."""
        if tag in ("h2", "h3", "figcaption"):
            self._into = ""

    def handle_data(self, data: str) -> None:
        """Text of a heading or caption."""
        if self._into == "heading":
            self._heading += data
        elif self._into == "caption" and self.elements:
            self.elements[-1].caption += data


def elements(page: Path) -> list[Element]:
    """The figures and tables of a page, in its order, each with a name; pictures are named by method and kind."""
    reader = _Reader()
    reader.feed(page.read_text(encoding="utf-8", errors="replace"))
    for element in reader.elements:
        element.caption = " ".join(element.caption.split())
        if element.kind == "figure" and not element.name:
            kind = element.caption.partition(":")[0].lower()
            element.name = f"picture-{element.heading}-{kind}"
    return reader.elements


def explain(subject: Subject, facts: Facts) -> dict[str, Any]:
    """A page's figures and tables, or the one that ``subject`` names, with what each is drawn from.

    ``broken`` are the links of all chains below the page that do not hold. Raises :class:`SegtraceError` for
    a file that is no page of ours, and for a figure or table that is not on it.
    """
    found = elements(subject.file)
    if not found:
        raise SegtraceError(
            f"{subject.file}: holds no figure and no table: not a page that 'segtrace report' wrote"
        )
    if subject.path:
        chosen = [element for element in found if element.name == subject.path[0]]
        if not chosen:
            known = [element.name for element in found]
            raise SegtraceError(
                f"{subject.file}: no figure or table {subject.path[0]!r}; {advice(subject.path[0], known)}"
            )
        found = chosen
    drawn = [(element, source(element, subject.job.name, facts)) for element in found]
    needs: Needs = {subject.job: {}}
    for file in dict.fromkeys(file for _, origin in drawn for file in origin.files):
        there = Path(file).is_file()
        begun = start(select(file), facts).needs if there else {jobs.of_file(file): {}}
        for job, names in begun.items():
            need(needs, job, (), "")
            for name, uses in names.items():
                needs[job].setdefault(name, set()).update(uses)
    steps = walk(needs, facts)
    links = broken(steps)
    return {
        "page": str(subject.file),
        "kind": "page",
        "named": bool(subject.path),
        "elements": [
            {
                "kind": element.kind,
                "name": element.name,
                "heading": element.heading,
                "caption": element.caption,
                "files": origin.files,
                "numbers": origin.numbers,
                "command": command(subject.file, {"": element.name}),
            }
            for element, origin in drawn
        ],
        "steps": [
            {"phase": s.job.phase, "job": s.job.name, "holds": not s.links, "record": facts.made(s.job)}
            for s in steps
        ],
        "broken": links,
        "holds": not links,
    }


# --- what each is drawn from --------------------------------------------------------------------------


def source(element: Element, experiment: str, facts: Facts) -> Source:
    """The tables that a figure or table is drawn from.

    Raises :class:`SegtraceError` for one that a report does not draw.
    """
    scored = arithmetic.scorings(experiment, facts)
    run = jobs.run_of(scored[0])
    name, made = element.name, Source()
    if match := re.fullmatch(r"(table|more)-(\d+)", name):
        _summary(made, experiment, facts, label=match[2], first=match[1] == "table")
    elif match := re.fullmatch(r"points-(\d+)-(\w+)", name):
        _points(made, experiment, facts, label=match[1], metric=match[2])
    elif match := re.fullmatch(r"curve-(\w+)", name):
        for job in scored:
            table = layout.run(jobs.run_of(job)) / "history.csv"
            made.add(table, {}, match[1], what=f"{match[1]} of {jobs.run_of(job)}, each epoch")
    elif name.startswith("picture-"):
        _picture(made, element, experiment, facts)
    elif name == "panel":
        _panel(made, experiment, facts)
    elif name == "cases-of-each-role":
        made.add(
            layout.split(run.dataset, run.protocol), {}, None, what="cases and subjects of each fold and role"
        )
    elif match := re.fullmatch(r"(pairs|ranks|intervals|averages|subgroups|drops)-(\d+)", name):
        _compared(made, experiment, facts, part=match[1], label=match[2])
    elif name.startswith("runs-of-"):
        for job in scored:
            if element.heading.startswith(f"Chain of {jobs.run_of(job).method} "):
                made.add(jobs.outputs(job)[0], {}, None, what=f"checksums on the chain of {jobs.run_of(job)}")
    elif name in ("gate-raw", "gate-prepared", "gate-split"):
        gate = {
            "gate-raw": layout.index(run.dataset) / "gate.json",
            "gate-prepared": layout.prepared(run.dataset, run.recipe) / "gate.json",
            "gate-split": layout.split_gate(run.dataset, run.protocol),
        }[name]
        for expectation in at(facts.json(gate), ("expectations",)):
            made.add(gate, {"": f"expectations.{expectation}"}, None, what=expectation)
    elif name == "runs":
        for job in scored:
            made.add(layout.run(jobs.run_of(job)) / "run.json", {}, None, what=f"run {jobs.run_of(job)}")
    elif name == "phases":
        for job in jobs.above([Job("compare", experiment)], facts.asked(Job("compare", experiment))):
            tables = [p for p in jobs.outputs(job) if p.suffix == ".csv" or p.name.endswith("receipt.json")]
            made.add(tables[0], {}, None, what=f"digests in the record of {job}")
    elif not charts.add_sources(made.add, name, experiment, scored, facts):
        raise SegtraceError(
            f"{element.kind} {name!r} ({element.heading}) is not one that 'segtrace report' draws"
        )
    return made


def _summary(made: Source, experiment: str, facts: Facts, *, label: str, first: bool) -> None:
    """The table of a label's first metrics, or the one of the others that unfolds below it."""
    table = layout.results(experiment) / "summary.csv"
    valued = {row["metric"] for row in facts.rows(table) if row["cases"] != "0"}
    shown = {metric for metric in valued if (metric in first_metrics(valued)) == first}
    rows = [row for row in facts.rows(table) if row["label"] == label and row["metric"] in shown]
    for row in rows:
        keys = {key: row[key] for key in KEYS["summary"]}
        made.add(table, keys, "mean", what=f"{row['method']}, {row['metric']}: {row['mean'] or 'unknown'}")
    for row in {row["metric"]: row for row in rows if row["constant"]}.values():
        keys = {key: row[key] for key in KEYS["summary"]}
        made.add(
            table, keys, "constant", what=f"best constant prediction, {row['metric']}: {row['constant']}"
        )


#: Tables that unfold on a page → the file that each is drawn from, and the column of its number.
_UNFOLDING = {
    "pairs": ("tests", "difference"),
    "ranks": ("ranks", "rank"),
    "intervals": ("intervals", "low"),
    "averages": ("aggregates", "mean"),
    "subgroups": ("subgroups", "mean"),
    "drops": ("robustness", "drop"),
}


def _compared(made: Source, experiment: str, facts: Facts, *, part: str, label: str) -> None:
    """A table of comparisons of a label, a number a row."""
    kind, column = _UNFOLDING[part]
    table = layout.results(experiment) / f"{kind}.csv"
    for row in facts.rows(table):
        if row["label"] == label:
            keys = {key: row[key] for key in KEYS[kind]}
            told = ", ".join(f"{key} {value}" for key, value in keys.items() if key != "label")
            made.add(table, keys, column, what=f"{told}: {row[column] or 'unknown'}")


def _points(made: Source, experiment: str, facts: Facts, *, label: str, metric: str) -> None:
    table, means = layout.results(experiment) / "per_case.csv", layout.results(experiment) / "summary.csv"
    for row in facts.rows(table):
        if enters(int(row["label"]), int(label)):
            keys = {key: row[key] for key in KEYS["per_case"]}
            told = ", ".join(f"{key} {value}" for key, value in keys.items() if key != "method")
            made.add(table, keys, metric, what=f"{row['method']}, {told}: {row[metric] or 'unknown'}")
    for row in facts.rows(means):
        if (row["label"], row["metric"]) == (label, metric):
            keys = {key: row[key] for key in KEYS["summary"]}
            made.add(means, keys, "mean", what=f"mean of {row['method']}: {row['mean'] or 'unknown'}")


def _picture(made: Source, element: Element, experiment: str, facts: Facts) -> None:
    """One case of one run: its label map, its image and reference, and the Dice of the caption."""
    match = re.match(r"\w+: (?P<case>\S+), Dice", element.caption)
    if match is None:
        raise SegtraceError(f"{element.name}: the caption {element.caption!r} names no case")
    case, method = match["case"], element.heading
    told = re.search(r"Fold (\d+), seed (\d+)\.", element.caption)
    for job in arithmetic.scorings(experiment, facts):
        run = jobs.run_of(job)
        table = layout.predictions(run, jobs.variant_of(job)) / "predictions.csv"
        wanted = (run.fold, run.seed) == tuple(map(int, told.groups())) if told else True
        if run.method == method and wanted and any(row["case"] == case for row in facts.rows(table)):
            made.add(table, {"case": case}, "sha256", what="contour of the prediction: its label map")
            made.add(
                layout.cases(run.dataset), {"case": case}, None, what="image, and contour of the reference"
            )
    table = layout.results(experiment) / "per_case.csv"
    for row in facts.rows(table):
        if (row["method"], row["case"]) == (method, case) and enters(int(row["label"]), 0):
            keys = {key: row[key] for key in KEYS["per_case"]}
            made.add(table, keys, "dice", what=f"Dice of label {row['label']}: {row['dice'] or 'unknown'}")


def _panel(made: Source, experiment: str, facts: Facts) -> None:
    """Cases side by side: images, references and label maps of all methods, and the Dice below them."""
    table = layout.results(experiment) / "per_case.csv"
    for job in arithmetic.scorings(experiment, facts):
        run = jobs.run_of(job)
        maps = layout.predictions(run, jobs.variant_of(job)) / "predictions.csv"
        made.add(maps, {}, None, what=f"contours of {run.method}, fold {run.fold}, seed {run.seed}")
        if str(layout.cases(run.dataset)) not in made.files:
            made.add(layout.cases(run.dataset), {}, None, what="images, and contours of references")
    for row in facts.rows(table):
        if not enters(int(row["label"]), 0):
            continue  # pictures show labels alone
        keys = {key: row[key] for key in KEYS["per_case"]}
        told = ", ".join(f"{key} {value}" for key, value in keys.items() if key != "method")
        made.add(table, keys, "dice", what=f"{row['method']}, {told}: {row['dice'] or 'unknown'}")


# --- as text ------------------------------------------------------------------------------------------


def lines(found: dict[str, Any], *, every: bool) -> Iterator[str]:
    """The lines of what :func:`explain` found; ``every`` prints all numbers of a named figure or table."""
    count = len(found["elements"])
    yield (
        f"{found['page']}: {count} figures and tables, and what each is drawn from"
        if count > 1
        else found["page"]
    )
    for element in found["elements"]:
        yield ""
        yield f"{element['kind']} {element['name']}: {element['heading']}"
        if element["caption"]:
            yield f"  {element['caption']}"
        if found["named"]:
            numbers = element["numbers"] if every else element["numbers"][:SHOWN]
            for number in numbers:
                yield f"  {number['what']}"
                yield f"    {number['command']}"
            if len(numbers) < len(element["numbers"]):
                yield f"  and {len(element['numbers']) - len(numbers)} more (--all)"
            continue
        for file in element["files"]:
            yield f"  {command(file, {})}"
        yield f"  number by number: {element['command']}"
    yield ""
    held = sum(step["holds"] for step in found["steps"])
    yield f"{held} of {len(found['steps'])} steps below hold" + (
        ": every link does" if found["holds"] else ""
    )
