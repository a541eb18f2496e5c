"""The methods text follows configuration, tables and records: a key is changed and the text changes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy_paper
from latex_check import check
from segtrace import files, layout
from segtrace.cli import main
from segtrace.report import citations, methods_text, origins, prose, scores


@pytest.fixture
def text(make_project):
    """A function that changes keys of configuration files and gives the text anew: by file, dotted key → value."""
    make_project(seeds=(0, 1), pictures=False)
    toy_paper.publish()
    assert main(["compare", "toy"]) == 0
    read = scores.read(toy_paper.subject_of(seeds=(0, 1)))

    def written(
        changes: dict[str, dict[str, Any]] | None = None,
        *,
        form: str = "methods.txt",
        more: dict[str, Any] | None = None,
    ) -> str:
        for file, values in (changes or {}).items():
            path = Path("config") / file
            content = json.loads(path.read_text()) if path.is_file() else {}
            for key, value in values.items():
                place = content
                *above, last = key.split(".")
                for part in above:
                    place = place.setdefault(part, {})
                place[last] = value
            files.write_json(path, content)
        subject = toy_paper.subject_of(seeds=(0, 1))
        runs = origins.run_rows(subject)
        results = replace(read, more=read.more | (more or {}))
        return methods_text.contents(subject, results, runs)[f"methods/{form}"]

    return written


#: (file, key, value, words that the text has then and had not before).
CHANGES = [
    ("datasets/toy.yaml", "title", "Another set", "We used Another set"),
    ("datasets/toy.yaml", "licence", "CC BY 4.0", "licence: CC BY 4.0"),
    ("datasets/toy.yaml", "published_cases", 50, "holds 7 labelled cases of the 50 that are published"),
    ("datasets/toy.yaml", "exclude", {"case_8": "torn", "case_9": "lost"}, "case_8 (torn) and case_9 (lost)"),
    ("datasets/toy.yaml", "recipes.r.spacing_mm", [1.5, 1.5, 2], "resampled to 1.5 × 1.5 × 2 mm"),
    ("datasets/toy.yaml", "recipes.r.orientation", "RAS", "reoriented to RAS"),
    (
        "datasets/toy.yaml",
        "recipes.r.intensity",
        [{"kind": "zscore", "nonzero": True}],
        "over its non-zero voxels",
    ),
    (
        "datasets/toy.yaml",
        "recipes.r.intensity",
        [{"kind": "window", "low": -100, "high": 240}],
        "[-100, 240]",
    ),
    ("datasets/toy.yaml", "protocols.p.source", "a talk", "The protocol follows: a talk."),
    ("datasets/toy.yaml", "spacing_known", False, "distances are in pixels of the native grid"),
    ("methods/alpha.yaml", "options", {"widths": [8, 16]}, "widths 8, 16"),
    ("methods/alpha.yaml", "parameters", {"toy": 5686771}, "5.69 million parameters"),
    ("methods/alpha.yaml", "framework", "self_kd", "trained in the framework self kd"),
    ("methods/alpha.yaml", "source", "Ronneberger et al. 2015", "Ronneberger et al. 2015"),
    ("training/t.yaml", "epochs", 77, "for 77 epochs"),
    ("training/t.yaml", "optimiser", "sgd", "stochastic gradient descent"),
    ("training/t.yaml", "learning_rate", 0.0025, "learning rate 0.0025"),
    ("training/t.yaml", "weight_decay", 0.03, "weight decay 0.03"),
    (
        "training/t.yaml",
        "schedule",
        {"kind": "cosine", "warmup_steps": 5},
        "after a linear rise over 5 steps",
    ),
    ("training/t.yaml", "schedule", {"kind": "step", "step_epochs": 9}, "multiplied by 0.5 every 9 epochs"),
    ("training/t.yaml", "crop", {"size": [8, 8, 8], "per_case": 2}, "2 crops of 8 × 8 × 8 each"),
    ("training/t.yaml", "augmentation", {"flip_p": 0.25}, "flips along each axis (probability 0.25)"),
    ("training/t.yaml", "clip_norm", 12.0, "clipped to norm 12"),
    ("training/t.yaml", "ema_decay", 0.99, "averaged over steps with decay 0.99"),
    ("training/t.yaml", "precision", "bf16", "Arithmetic was in bf16"),
    (
        "training/t.yaml",
        "inference",
        {"window": [4, 4, 4], "overlap": 0.5},
        "windows of 4 × 4 × 4 with overlap 0.5",
    ),
    ("training/t.yaml", "inference", {"mirror": [0, 1]}, "mirroring along 2 axes"),
    ("training/t.yaml", "loss_options", {"smooth": 0.5}, "smooth 0.5"),
    ("budgets/smoke.yaml", "training", {"epochs": 2}, "It changes epochs 2 in place of 3"),
    (
        "budgets/smoke.yaml",
        "training",
        {"epochs": 2},
        "Trainings were reduced to the budget smoke (minutes on two cores)",
    ),
    ("budgets/smoke.yaml", "title", "hours on a laptop", "hours on a laptop"),
    ("experiments/toy.yaml", "published.table", "Table 9", "Table 9 of the paper"),
]


def test_every_statement_follows_from_configuration(text):
    originals = {file: (Path("config") / file).read_bytes() for file, *_ in CHANGES}
    before = text()
    assert "The budget smoke (minutes on two cores) changes nothing of this recipe" in before
    assert "reduced" not in before
    assert "2 seeds (0, 1) on 1 fold (0)" in before
    for file, key, value, words in CHANGES:
        assert words not in before, words
        assert words in text({file: {key: value}}), (file, key, words)
        (Path("config") / file).write_bytes(originals[file])
    assert text() == before


def test_records_and_tables_are_told_and_what_is_missing_is_not(text):
    before = text()
    for words in (
        "toy.zip (SHA-256 999",
        "1 file differs from the archives",
        "toy processor",
        "2 CPU threads",
    ):
        assert words in before
    assert "2 cases of 2 subjects for training" in before
    assert "The tolerance of NSD [1] is 1.5 mm" in before
    assert "Statistics." in before
    assert "each of 10000 samples" in before
    assert "Wilcoxon's signed-rank test (exact)" in before
    empty = {"intervals": [], "tests": [], "ranks": []}
    without = text(more=empty)
    assert "Statistics." not in without
    assert "Efron" not in without
    layout.receipt("toy").unlink()
    assert "unpacked" not in text()
    row = {
        "kind": "bca",
        "level": 0.95,
        "cases": 4,
        "seeds": 2,
        "mean": 0.5,
        "low": 0.4,
        "high": 0.6,
        "note": "",
    }
    row |= {"method": "alpha", "label": 1, "label_name": "organ", "metric": "dice"}
    after = text(more=empty | {"intervals": [row]})
    assert "Intervals of means are of 95 %: BCa bootstrap over cases" in after
    assert "Efron, Bradley" in after
    assert "Holm" not in after


def test_forms_cite_the_same_entries_and_latex_compiles(text):
    plain, markdown, tex, bib = (
        text(form=f) for f in ("methods.txt", "methods.md", "methods.tex", "references.bib")
    )
    keys = re.findall(r"^@\w+\{([^,]+),", bib, re.M)
    assert keys == sorted(set(keys))
    assert set(keys) == {key for group in re.findall(r"\\cite\{([^}]*)\}", tex) for key in group.split(",")}
    assert set(keys) == set(re.findall(r"\[@([\w-]+)\]", markdown))
    assert len(re.findall(r"^\[\d+\] ", plain, re.M)) == len(keys)
    assert {"segtrace", "paper-shapes", "reinke2024pitfalls"} <= set(keys)
    check(tex)
    check(re.sub(r"^@\w+\{[^,]+,$", "{", bib, flags=re.M))
    assert "title = {{Ellipses \\& other 100 \\% round things}}" in bib
    assert "author = {Ann Özil and Bo B\\_C and Cy Dee}" in bib


def test_free_references_become_notes_with_their_doi_and_year():
    words = "Antonelli et al., The Decathlon, Nature Communications 13 (2022), doi:10.1038/s41467-022-30695-9"
    entry = citations.free("k", title="T", reference=words)
    assert (entry.kind, entry.fields["doi"], entry.fields["year"]) == (
        "misc",
        "10.1038/s41467-022-30695-9",
        "2022",
    )
    assert entry.fields["note"] == words


def test_segtrace_is_cited_as_its_file_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert citations.software().fields["title"] == "segtrace"
    told = {
        "title": "segtrace: tables",
        "authors": [{"name": "The A and B Group"}],
        "date-released": "2026-01-02",
    }
    files.write_json(tmp_path / "CITATION.cff", told)
    entry = citations.software()
    assert "author = {{The A and B Group}}" in citations.bibtex([entry])
    assert entry.fields["year"] == "2026"


def test_citations_of_several_entries_share_a_bracket():
    one, two = citations.STATISTICS["holm1979"], citations.STATISTICS["wilcoxon1945"]
    assert prose.sentence("nnU-Net is there") == "nnU-Net is there."
    paragraph = [prose.Paragraph("H_", [prose.sentence(f"we test{prose.cite(one, two)}, 5 %")])]
    assert prose.tex(paragraph) == "\\paragraph{H\\_.} We test~\\cite{holm1979,wilcoxon1945}, 5 \\%.\n"
    assert prose.markdown(paragraph) == "**H\\_.** We test [@holm1979; @wilcoxon1945], 5 %.\n"
    entries = {entry.key: entry for entry in (one, two)}
    assert prose.plain(paragraph, entries).startswith("H_. We test [1, 2], 5 %.\n\nReferences\n[1] Holm")
