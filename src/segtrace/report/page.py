"""The page: everything gathered, charts and pictures made, laid out by one template.

A section ``NAME`` is its template ``sections/NAME.html.j2``, a line in :data:`SECTIONS` and what it shows:
a keyword of ``render`` in :func:`build`, made by a function of a module of its own. A section whose own keyword,
of the section's name, is empty in ``more`` is left out, in the menu too. A number of a table
is written by the macro ``number``, which links it to the chain of its method or run, ``#chain-METHOD`` or
``#chain-METHOD-fold-K-seed-S`` (:mod:`segtrace.report.chains`); a gate is ``#gate-raw``, ``#gate-prepared``
or ``#gate-split``. What a script draws in the page's colours it draws anew at the document's event
``segtrace:colours``.

The page loads nothing: styles, scripts, pictures and data are in it, and its security policy refuses
every request. Scripts are admitted by their checksums alone, so text from a file name or a table can
never run. The same inputs give the same bytes.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from segtrace import __version__, aggregation, pages
from segtrace.report import (
    chains,
    charts,
    compared,
    figures,
    gates,
    methods_training,
    origins,
    papers,
    pictures,
    scores,
    section_subgroups,
)
from segtrace.report.subject import Subject

TEMPLATES = Path(__file__).parent / "templates"
#: The page's sections in order, each with its name in the menu and a template ``sections/NAME.html.j2``.
SECTIONS = {
    "results": "Results",
    "published": "Published",
    "cases": "Every case",
    "subgroups": "Subgroups",
    "robustness": "Robustness",
    "ranking": "Ranking",
    "agreement": "Agreement",
    "pictures": "Pictures",
    "viewer": "Slices and surfaces",
    "cost": "Cost",
    "training": "Training",
    "data": "Data",
    "gates": "Gates",
    "chains": "Where numbers come from",
    "origins": "What was run",
    "methods": "Methods text",
    "exports": "Tables for a paper",
    "again": "Make it again",
}
#: Scripts that run before anything is shown.
EARLY = ("colours",)
#: Scripts and styles of the page, put together in this order.
SCRIPTS = ("tables", "chains", "print", "charts", "copy", "packed", "enlarge", "viewer", "surfaces")
STYLES = ("page", "charts", "published", "texts", "pictures")


def build(
    subject: Subject,
    *,
    costs: Sequence[Mapping[str, Any]] = (),
    drawn: dict[str, dict[str, Any]] | None = None,
) -> str:
    """The whole page as HTML; the charts on it are put into ``drawn``, where that is given.

    ``costs`` are the rows of :func:`segtrace.report.cost.rows`.

    Raises :class:`segtrace.errors.SegtraceError` where the experiment's tables are missing, damaged or
    older than its scores. Other files that are not on this machine are named on the page.
    """
    results = scores.read(subject)
    runs = origins.run_rows(subject)
    drawn = {} if drawn is None else drawn
    more = papers.sections(subject, results, runs, drawn)
    more |= {"subgroups": section_subgroups.subgroups(subject, results)}
    more |= figures.sections(subject, results, runs, costs=costs, drawn=drawn)
    shown = more | {"viewer": subject.dataset.dimensions == 3}
    scripts = {
        "early": _joined("scripts", EARLY, "js"),
        "library": charts.library() if drawn else "",
        "page": _joined("scripts", SCRIPTS, "js"),
    }
    environment = pages.environment(TEMPLATES)
    environment.filters["plain"] = plain
    environment.filters["titled"] = titled
    environment.filters["script_json"] = _script_json
    return environment.get_template("page.html.j2").render(
        subject=subject,
        budget_changes=bool(methods_training.differences(subject)),
        version=__version__,
        policy=security_policy([script for script in scripts.values() if script]),
        style=Markup(_joined("styles", STYLES, "css")),
        sections={name: title for name, title in SECTIONS.items() if shown.get(name, True)},
        **more,
        scripts={name: Markup(text) for name, text in scripts.items()},
        tables=scores.summary_tables(subject, results, compared.standing(subject, results)),
        compared=_compared(subject, results),
        level=compared.LEVEL,
        metric_names={metric: scores.heading(subject, metric) for metric in scores.HEADINGS},
        aggregation=aggregation.POLICY,
        tolerances=scores.tolerances(subject, results),
        notes=results.notes,
        missing={"cases": scores.missing_cases(results), "runs": compared.missing(results)},
        empties=compared.empties(subject, results),
        without_history=[run["run"] for run in runs if not run["history"]],
        pictures=pictures.build(subject, results),
        # columns as pairs: the keys of an object are sorted, and a table is read in the order of its builder
        charts={
            name: _script_json(content | {"columns": list(content["columns"].items())})
            for name, content in drawn.items()
        },
        roles=origins.roles(subject),
        gates=gates.gates(subject),
        split=results.split,
        data=origins.data_notes(subject),
        digests={"data": origins.data_digest(subject), "split": origins.split_digest(subject)},
        chains=chains.chains(subject),
        records=origins.records(subject),
        runs=runs,
        environment=origins.environment(runs),
        commands=origins.commands(subject),
        files=origins.table_files(subject),
        counts=_counts(results),
    )


def _compared(subject: Subject, results: scores.Results) -> dict[int, dict[str, Any]]:
    """Label → what unfolds below its table: pairs, ranks, intervals and averages, with their notes."""
    return {
        label: {
            "pairs": compared.pairs(subject, results, label),
            "ranks": compared.ranks(subject, results, label),
            "intervals": compared.intervals(subject, results, label),
            "averages": compared.averages(subject, results, label),
            "notes": compared.label_notes(subject, results, label),
        }
        for label in subject.labels
    }


def plain(text: str) -> str:
    """A name for reading: underscores as spaces."""
    return text.replace("_", " ")


def titled(text: str) -> str:
    """A name that begins a line; that of a region keeps its capitals: 'Region WT'."""
    return "R" + text[1:] if text.startswith("region ") else text.capitalize()


def _joined(folder: str, names: Iterable[str], ending: str) -> str:
    """The files of a folder of templates, one after the other; scripts in strict mode."""
    texts = [(TEMPLATES / folder / f"{name}.{ending}").read_text(encoding="utf-8") for name in names]
    return "\n".join(['"use strict";\n', *texts] if ending == "js" else texts)


def security_policy(scripts: list[str]) -> str:
    """A content security policy that admits these scripts, styles and pictures of the page, and nothing else.

    Styles are admitted inline because the drawing library sets them; they cannot load anything either.
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    sources = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script_json(value: Any) -> Markup:
    """JSON that can stand inside a script element whatever text it holds."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _counts(results: scores.Results) -> dict[str, int]:
    return {
        "cases": len({row["case"] for row in results.scores}),
        "scores": len(results.scores),
    }
