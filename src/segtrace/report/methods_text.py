"""A methods section for a paper, generated: every statement follows from configuration, records or tables.

Where a fact is not recorded on this machine, nothing is said of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace import aggregation, layout
from segtrace.files import read_json
from segtrace.report import citations, methods_data, methods_training, origins, prose, scores
from segtrace.report.citations import STATISTICS, Entry
from segtrace.report.prose import Paragraph, cite, counted, listed, sentence
from segtrace.report.scores import Results
from segtrace.report.subject import Subject
from segtrace.samples import SAMPLES
from segtrace.signs import DRAWN

#: Where the texts lie, beside the page.
FOLDER = "methods"


def section(subject: Subject, results: Results, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the page shows: the paragraphs, and each text to copy."""
    texts = contents(subject, results, runs)
    names = {
        "plain": ("Plain text", "methods.txt"),
        "markdown": ("Markdown, citations as Pandoc reads them", "methods.md"),
        "latex": ("LaTeX", "methods.tex"),
        "bibtex": ("BibTeX", "references.bib"),
    }
    return {
        "forms": [
            {"id": key, "name": name, "link": f"{FOLDER}/{file}", "text": texts[f"{FOLDER}/{file}"]}
            for key, (name, file) in names.items()
        ]
    }


def contents(subject: Subject, results: Results, runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """File below the page's folder → its text."""
    written = paragraphs(subject, results, runs)
    entries = bibliography(subject)
    return {
        f"{FOLDER}/methods.txt": prose.plain(written, entries),
        f"{FOLDER}/methods.md": prose.markdown(written),
        f"{FOLDER}/methods.tex": prose.tex(written),
        f"{FOLDER}/references.bib": citations.bibtex(entries[key] for key in prose.cited(written)),
    }


def bibliography(subject: Subject) -> dict[str, Entry]:
    """Key → entry of all that the text can cite."""
    given = subject.experiment.published
    found = [
        citations.software(),
        citations.dataset(subject),
        *(citations.method(name, method) for name, method in subject.methods.items()),
        citations.paper(given.paper) if given else None,
        *STATISTICS.values(),
    ]
    return {entry.key: entry for entry in found if entry is not None}


def paragraphs(subject: Subject, results: Results, runs: Sequence[dict[str, Any]]) -> list[Paragraph]:
    """The whole text, in the order of the work."""
    name = subject.experiment.dataset
    receipt = read_json(layout.receipt(name)) if layout.receipt(name).is_file() else {}
    made = [
        methods_data.data(subject, receipt),
        methods_data.preparation(subject),
        methods_data.protocol(subject, results.split, origins.roles(subject)),
        methods_training.architectures(subject),
        methods_training.training(subject),
        methods_training.budget(subject),
        methods_training.inference(subject),
        evaluation(subject, results),
        statistics(results),
        computation(runs),
    ]
    return [paragraph for paragraph in made if paragraph.sentences]


def evaluation(subject: Subject, results: Results) -> Paragraph:
    """What is scored, and how: grid, definitions, tolerance, empties and aggregation, and published values."""
    counted_cases = len({row["case"] for row in results.scores})
    grid = (
        "grid of the original images" if subject.variant.grid == "native" else "grid of the prepared images"
    )
    sentences = [
        f"Segmentations of {counted(counted_cases, subject.variant.role + ' case')} were scored on the {grid}",
        *aggregation.POLICY,
        f"The tolerance of NSD{cite(STATISTICS['nikolov2021surface'])} is {scores.tolerances(subject, results)}",
        f"The treatment of empty masks follows the pitfalls described by Reinke et al.{cite(STATISTICS['reinke2024pitfalls'])}",
    ]
    if not subject.dataset.spacing_known:
        sentences.append(
            f"The images have no physical scale: distances are in pixels of the {subject.variant.grid} grid"
        )
    absent = {value.case for value in results.values if value.missing}
    if absent:
        sentences.append(
            f"{counted(len(absent), 'case')} lack{'s' if len(absent) == 1 else ''} a prediction of at least one run"
        )
    given = subject.experiment.published
    if given:
        sentences.append(
            f"Values are set beside those of {given.table} of the paper{cite(citations.paper(given.paper))}"
        )
    return Paragraph("Evaluation", [sentence(text) for text in sentences])


def statistics(results: Results) -> Paragraph:
    """Intervals, tests and ranks that the tables hold; nothing of those that they do not."""
    sentences = []
    known = {row["kind"] for row in results.more["intervals"] if row["low"] == row["low"]}
    words = {
        "bca": "BCa bootstrap over cases",
        "percentile": "percentile bootstrap over cases",
        "hierarchical": "hierarchical bootstrap over cases and seeds",
    }
    if known:
        levels = listed(
            f"{level:.0%}" for level in sorted({row["level"] for row in results.more["intervals"]})
        )
        kinds = listed(text for key, text in words.items() if key in known)
        cited = cite(STATISTICS["efron1987bca"]) if "bca" in known else ""
        sentences.append(
            f"Intervals of means are of {levels.replace('%', ' %')}: {kinds}{cited}, each of {SAMPLES} samples"
        )
    sentences += _tests(results.more["tests"]) + _ranks(results.more["ranks"])
    return Paragraph("Statistics", [sentence(text) for text in sentences])


def _tests(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    made = []
    permutation = {row["permutation"] for row in rows} - {"none"}
    wilcoxon = {row["wilcoxon"] for row in rows} - {"none"}
    kinds = {
        "exact": "exact",
        "drawn": f"with {DRAWN} drawn assignments of signs",
        "approximate": "by its normal approximation",
    }
    if permutation:
        how = listed(kinds[kind] for kind in sorted(permutation))
        made.append(f"Methods were compared case by case by paired permutation tests ({how})")
    if wilcoxon:
        how = listed(kinds[kind] for kind in sorted(wilcoxon))
        cited = cite(STATISTICS["wilcoxon1945"])
        made.append(f"Wilcoxon's signed-rank test ({how}){cited} is given besides")
    if made:
        made.append(
            f"p-values are corrected by Holm's procedure{cite(STATISTICS['holm1979'])} over the pairs of each label and "
            "metric; effect sizes are Cohen's d of the paired differences and the rank-biserial correlation"
        )
    return made


def _ranks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    words = {
        "aggregate_then_rank": "by their means",
        "rank_then_aggregate": "by their mean rank over cases",
        "test_then_rank": "by the number of methods that they are significantly better than",
    }
    schemes = listed(text for key, text in words.items() if any(row["scheme"] == key for row in rows))
    samples = max(row["samples"] for row in rows)
    return [
        f"Methods were ranked {schemes}{cite(STATISTICS['wiesenfarth2021challenger'])}",
        f"The stability of ranks was judged on {samples} bootstrap samples of the cases, by Kendall's tau between each sample's "
        f"ranking and that of all cases{cite(STATISTICS['kendall1938'])}",
    ]


def computation(runs: Sequence[dict[str, Any]]) -> Paragraph:
    """Software and its versions, and the machines, as the runs recorded them."""
    told = origins.environment(runs)
    versions = f" with {listed(told['pins'])}" if told["pins"] else ""
    sentences = [f"Everything was computed by segtrace{cite(citations.software())}{versions}"]
    if told["recorded"]:
        sentences.append(f"The environment has digest {listed(told['recorded'])}")
    machines = list(dict.fromkeys("; ".join(run["machine"]) for run in runs if run.get("machine")))
    if machines:
        sentences.append(f"Trainings recorded these machines: {listed(f'({text})' for text in machines)}")
    threads = sorted({run["threads"] for run in runs if run.get("threads")})
    if threads:
        sentences.append(f"Each used {listed(counted(count, 'CPU thread') for count in threads)}")
    return Paragraph("Computation", [sentence(text) for text in sentences])
