"""Train an experiment, and write its result as a page: scores, every training, paired tests, published values beside.

    python benchmarks/paper_table.py EXPERIMENT [EXPERIMENT …] --write FILE [--seeds 0,1,2] [--budget smoke]
                                     [--mirror FOLDER] [--metrics dice,hd95_voxel] [--threads 2] [--read]

Runs the workflow in this checkout, which must hold what is committed, and reads the experiment's tables; nothing on
the page is typed in. ``--read`` takes the tables as they are, after a run by hand with the same settings. Times are those
that Snakemake wrote beside each training.
"""

import argparse
import csv
import datetime
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from chain import machine
from segtrace.config import load
from segtrace.files import write_text

ROOT = Path(__file__).resolve().parents[1]
Row = Mapping[str, str]


def main() -> None:
    """Run what was asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT")
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--budget", default="smoke")
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--threads", type=int, default=2, help="of a training; with 1, two run side by side")
    parser.add_argument("--metrics", default="dice,hd95_voxel")
    parser.add_argument("--read", action="store_true", help="do not run the workflow")
    given = parser.parse_args()
    command = workflow(given)
    if not given.read:
        subprocess.run(command, cwd=ROOT, check=True)
    lines = [*heading(given, command)]
    for experiment in given.experiments:
        lines += page(experiment, metrics=given.metrics.split(","))
    write_text(given.write, "\n".join(lines).rstrip() + "\n")
    print(f"{given.write} written")


def workflow(given: argparse.Namespace) -> list[str]:
    """The command that makes the tables."""
    config = [
        f"experiments={','.join(given.experiments)}",
        f"seeds={given.seeds}",
        f"budget={given.budget}",
        f"training_threads={given.threads}",
    ]
    mirror = [f"mirror={given.mirror.resolve()}"] if given.mirror else []
    return ["snakemake", "--cores", "2", "--keep-going", "--config", *config, *mirror]


def heading(given: argparse.Namespace, command: Sequence[str]) -> Iterator[str]:
    """Title, command, commit, machine and date."""
    shown = " ".join(word for word in command if not word.startswith("mirror="))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    yield f"# {load.experiment(given.experiments[0]).title or given.experiments[0]}"
    yield ""
    yield (
        f"`{shown}`{' with a mirror' if given.mirror else ''}, {datetime.date.today()}, at commit {commit}, "
        f"on {machine()}."
    )
    yield ""


def page(experiment: str, *, metrics: Sequence[str]) -> Iterator[str]:
    """The sections of an experiment."""
    folder = ROOT / "results" / experiment
    summary = [row for row in read(folder / "summary.csv") if row["metric"] in metrics]
    if len({row["label"] for row in summary}) == 2:  # of a single label the mean is that label
        summary = [row for row in summary if row["label"] != "0"]
    labels = {row["label"] for row in summary}
    methods = list(dict.fromkeys(row["method"] for row in summary))
    yield f"## `{experiment}`"
    yield ""
    first = summary[0]
    yield (
        f"Budget `{first['budget']}`; protocol `{first['protocol']}`; {first['cases']} cases; "
        f"seeds {first['seeds']}, folds {first['folds']}. Mean ± standard deviation over cases, "
        "in brackets the 95 % interval (BCa bootstrap of cases)."
    )
    yield ""
    yield from scores(summary, methods, metrics)
    averaged = [row for row in read(folder / "aggregates.csv") if row["label"] in labels]
    yield from otherwise(averaged, methods, metrics)
    yield from trainings(read(folder / "per_case.csv"), methods)
    compared = [row for row in read(folder / "tests.csv") if row["label"] in labels]
    yield from tests(compared, metrics)
    yield from published(read(folder / "published.csv"))


def scores(summary: Sequence[Row], methods: Sequence[str], metrics: Sequence[str]) -> Iterator[str]:
    """Means with deviation and interval: a line for each label and metric, a column for each method."""
    yield from header("label", "metric", *methods)
    labels = dict.fromkeys((row["label"], row["label_name"]) for row in summary)
    for label, name in labels:
        for metric in metrics:
            found = {r["method"]: r for r in summary if r["label"] == label and r["metric"] == metric}
            cells = [
                f"{number(r['mean'])} ± {number(r['sd'])} [{number(r['low'])}, {number(r['high'])}]"
                if (r := found.get(method))
                else "–"
                for method in methods
            ]
            yield line(name, metric, *cells)
    yield ""


def otherwise(rows: Sequence[Row], methods: Sequence[str], metrics: Sequence[str]) -> Iterator[str]:
    """The same scores by other averages: over one confusion matrix (there F1 is Dice), over batches, over folds."""
    found = {
        (r["label_name"], r["metric"], r["aggregation"], r["method"]): r
        for r in rows
        if r["metric"] in metrics and r["mean"] and r["aggregation"] != "per_case"
    }
    lines = dict.fromkeys(key[:3] for key in found if key[2] == "pooled" or int(found[key]["units"]) > 1)
    yield "Averaged otherwise; pooled is over one confusion matrix of all images, where F1 is Dice:"
    yield ""
    yield from header("label", "metric", "average", *methods)
    for label, metric, aggregation in lines:
        cells = [found.get((label, metric, aggregation, method)) for method in methods]
        yield line(label, metric, aggregation, *map(spread, cells))
    yield ""


def spread(row: Row | None) -> str:
    """A mean and, where there is one, its standard deviation; over folds the variance too, which papers print."""
    if row is None:
        return "–"
    text = " ± ".join(number(row[name]) for name in ("mean", "sd") if row[name])
    over_folds = row["aggregation"] == "per_fold" and row["sd"]
    return f"{text} (variance {float(row['sd']) ** 2:.5f})" if over_folds else text


def trainings(per_case: Sequence[Row], methods: Sequence[str]) -> Iterator[str]:
    """Every training: mean Dice over its cases and labels, minutes and peak memory."""
    values: dict[tuple[str, ...], list[float]] = {}
    for row in per_case:
        if row["dice"] and int(row["label"]) < 1000:
            key = tuple(
                row[part] for part in ("method", "dataset", "recipe", "protocol", "budget", "fold", "seed")
            )
            values.setdefault(key, []).append(float(row["dice"]))
    yield "Every training:"
    yield ""
    yield from header("method", "fold", "seed", "mean Dice", "minutes", "peak memory (GB)")
    for key in sorted(values, key=lambda key: (methods.index(key[0]), int(key[5]), int(key[6]))):
        method, dataset, recipe, protocol, budget, fold, seed = key
        took = (
            ROOT / f"logs/benchmark/train/{dataset}/{recipe}/{protocol}/{method}/{budget}"
            f"/fold-{fold}_seed-{seed}.tsv"
        )
        minutes, memory = spent(took)
        yield line(method, fold, seed, number(statistics.fmean(values[key])), minutes, memory)
    yield ""


def spent(path: Path) -> tuple[str, str]:
    """Minutes and gigabytes of Snakemake's benchmark file."""
    if not path.is_file():
        return "–", "–"
    row = read(path, delimiter="\t")[0]
    try:
        return f"{float(row['s']) / 60:.1f}", f"{float(row['max_rss']) * 2**20 / 1e9:.1f}"
    except ValueError:
        return f"{float(row['s']) / 60:.1f}", "–"


def tests(rows: Sequence[Row], metrics: Sequence[str]) -> Iterator[str]:
    """Paired tests."""
    chosen = [row for row in rows if row["metric"] in metrics]
    if not chosen:
        return
    yield "Paired, case by case (first less second; permutation and Wilcoxon after Holm):"
    yield ""
    yield from header(
        "label", "metric", "first", "second", "difference", "95 % interval", "permutation", "Wilcoxon"
    )
    for r in chosen:
        interval = f"[{number(r['low'])}, {number(r['high'])}]"
        ps = (small(r["permutation_holm"]), small(r["wilcoxon_holm"]))
        difference = number(r["difference"])
        yield line(r["label_name"], r["metric"], r["first"], r["second"], difference, interval, *ps)
    yield ""


def published(rows: Sequence[Row]) -> Iterator[str]:
    """Printed values beside the recomputed ones."""
    chosen = [row for row in rows if row["recomputed"]]
    if not chosen:
        return
    yield "Published beside recomputed:"
    yield ""
    yield from header("row", "column", "printed", "recomputed", "comparable")
    for r in chosen:
        yield line(r["row"], r["column"], r["printed"], number(r["recomputed"]), r["comparable"])
    reasons = list(dict.fromkeys(part.strip() for r in chosen for part in r["reason"].split(";") if part))
    if reasons:
        yield ""
        yield "Reasons against a comparison: " + "; ".join(reasons) + "."
    yield ""


def read(path: Path, *, delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table; a missing one ends the script with its name."""
    if not path.is_file():
        sys.exit(f"{path} is not there: run without --read")
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter=delimiter))


def header(*names: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield line(*names)
    yield "|" + "---|" * len(names)


def line(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def number(text: str | float) -> str:
    """Four digits behind the point, or none for what counts parameters."""
    if text == "" or math.isnan(float(text)):
        return "–"
    value = float(text)
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def small(text: str) -> str:
    """A p-value."""
    if text == "":
        return "–"
    return f"{float(text):.4f}" if float(text) >= 1e-4 else "< 0.0001"


if __name__ == "__main__":
    main()
