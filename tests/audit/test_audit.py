"""The audit of a fabricated data set with planted duplicates, from its raw files to the page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import toy_config
from segtrace import cli, layout, tables, upkeep
from segtrace.audit import findings, page
from segtrace.errors import SegtraceError
from textures import picture

HOSTILE = '"><script>alert(1)</script> & Ünïcode'


class Parsed(HTMLParser):
    """All start tags with their attributes, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def mask(shape: tuple[int, ...], top: int = 20, left: int = 30) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[top : top + 30, left : left + 30] = 1
    return label


def write(
    name: str, cases: dict[str, tuple[np.ndarray, np.ndarray]], *, twin: dict[str, str] | None = None
) -> None:
    """A data set of pictures, ``twin`` files being copies of other cases' bytes."""
    toy_config.pictures(name, cases, title=f"The set {name}", gate={"empty_masks": [0.0, 1.0]})
    for copy, original in (twin or {}).items():
        for kind in ("images", "labels"):
            folder = layout.raw(name) / kind
            (folder / f"{copy}.png").write_bytes((folder / f"{original}.png").read_bytes())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two indexed data sets: one with a copy, a flipped copy that contradicts, and a split; one that shares two."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("project")
        patch.chdir(root)
        patch.setattr(upkeep, "require_own_source", lambda: None)
        toy_config.write(dimensions=2)
        images = [picture(seed) for seed in range(5)]
        plain = {f"s{n}_a": (image, mask(image.shape)) for n, image in enumerate(images)}
        write(
            "one",
            plain
            | {
                "s0_b": (picture(50), mask(images[0].shape)),
                "s8_x": (images[1][:, ::-1], 0 * mask((90, 130))),
            },
            twin={"s9_y": "s2_a"},
        )
        write(
            "two",
            {"s3_a": (images[3], mask((90, 130))), "t_new": (images[4][3:-2, 3:], mask((90, 130))[3:-2, 3:])},
        )
        for name in ("one", "two"):
            assert cli.main(["index", name, "--workers", "1"]) == 0
        roles = {"s0_a": "train", "s0_b": "test", "s2_a": "train", "s9_y": "test"}
        rows = [
            {"case": case, "subject": case.split("_")[0], "cluster": case, "fold": 0, "role": role}
            for case, role in roles.items()
        ]
        tables.write("split", rows, layout.split("one", "random"))
        return root


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.setattr(upkeep, "require_own_source", lambda: None)
    return project


def test_the_index_names_pairs_and_groups(here):
    pairs = tables.read("duplicates", layout.duplicates("one")).to_dict("records")
    assert [(p["first"], p["second"], p["kind"], p["transform"], p["contradiction"]) for p in pairs] == [
        ("s1_a", "s8_x", "near", "flipped left-right", "one mask is empty"),
        ("s2_a", "s9_y", "bytes", "none", ""),
    ]
    rows = tables.read("cases", layout.cases("one"))
    groups = dict(zip(rows["case"], rows["duplicate_group"], strict=True))
    assert groups == {case: {"s8_x": "s1_a", "s9_y": "s2_a"}.get(case, case) for case in groups}
    assert json.loads(Path("data/index/one/duplicates.csv.prov.json").read_text())["phase"] == "index"


def test_the_findings_are_told_in_a_few_lines(here, capsys):
    assert cli.main(["audit", "one"]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "one:",
        "  8 cases of 7 subjects; 1 subjects have several cases",
        "  copies: 1 pairs of the same bytes, 0 more of the same pixels; near-duplicates: 1 pairs",
        "  groups of duplicates: 2, with 4 cases",
        "  pairs with labels that contradict each other: 1",
        "  subjects in two classes: 0",
        "  groups of duplicates in two classes: 0",
        "  split random: on two sides lie 1 subjects and 1 groups of duplicates",
    ]
    split = findings.audit("one").splits[0]
    assert split.subjects == ("fold 0: s0 (test: s0_b; train: s0_a)",)
    assert split.duplicates == ("fold 0: s2_a (test: s9_y; train: s2_a)",)


def test_overlaps_between_data_sets(here, capsys):
    assert cli.main(["audit", "one", "two", "one"]) == 0
    assert (
        "one and two: 1 cases of the same name, 1 pairs of the same bytes, 0 more of the same pixels, "
        "1 near-duplicates; 0 pairs with labels that contradict each other"
    ) in capsys.readouterr().out
    text = Path("reports/audit/one+two/index.html").read_text()
    for words in ("one/s3_a and two/s3_a", "one/s4_a and two/t_new", "Overlaps between data sets"):
        assert words in text


def test_thumbnails_of_another_state_are_refused(here):
    path = layout.thumbnails("two")
    kept = path.read_bytes()
    try:
        for change, told in (
            (None, "no such file"),
            (b"x", "damaged"),
            (layout.thumbnails("one").read_bytes(), "not of"),
        ):
            path.unlink() if change is None else path.write_bytes(change)
            with pytest.raises(SegtraceError, match=f"{told}.*run 'segtrace index two' again"):
                page_of("one", "two")
    finally:
        path.write_bytes(kept)


def page_of(*names: str, limit: int = 60) -> str:
    from segtrace.audit import overlaps

    audits = [findings.audit(name) for name in names]
    return page.build(audits, overlaps.overlaps(audits), limit=limit)


def test_the_page_stands_alone_and_is_the_same_every_time(here):
    text = page_of("one")
    assert text == page_of("one")
    parsed = Parsed(text)
    assert parsed.all("html") == [{"lang": "en"}]
    assert [len(parsed.all(tag)) for tag in ("title", "h1", "main", "header", "nav", "footer", "script")] == [
        1
    ] * 6 + [0]
    shown = parsed.all("img")
    assert len(shown) == 4
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") and image["alt"] for image in shown)
    assert not [a for tag in ("link", "iframe", "object") for a in parsed.all(tag)]
    assert all(str(a["href"]).startswith("#") for a in parsed.all("a"))
    assert text.index("s1_a and s8_x") < text.index("s2_a and s9_y")  # contradictions first
    assert "Contradiction:" in text


def test_what_is_left_out_is_said(here):
    text = page_of("one", limit=1)
    assert len(Parsed(text).all("img")) == 2
    assert "1 of 2 pairs are shown; the other 1" in text
    assert "data/index/one/duplicates.csv" in text


def test_hostile_names_are_text(here):
    found = findings.audit("one")
    for row in found.rows:
        row["group"], row["subject"] = HOSTILE + row["case"], HOSTILE
    found.splits[:] = [findings.Split("random", False, (f"fold 0: {HOSTILE}",), (HOSTILE,))]
    text = page.build([found], [], limit=5)
    parsed = Parsed(text)
    assert not parsed.all("script")
    assert HOSTILE in "".join(parsed.texts)
    assert "groups of duplicates in two classes: 2" in text


def test_a_case_without_raw_files_is_told(here, monkeypatch):
    path = layout.raw("one") / "images/s9_y.png"
    kept = path.read_bytes()
    path.unlink()
    try:
        assert "No picture: " in page_of("one")
        assert "s9_y.png" in page_of("one")
    finally:
        path.write_bytes(kept)


def test_what_is_not_indexed_or_not_known_is_told(here, capsys):
    assert cli.main(["audit", "toy"]) == 1
    assert "'segtrace index' makes it" in capsys.readouterr().err
    assert cli.main(["audit", "on"]) == 1
    assert "did you mean 'one'" in capsys.readouterr().err


def test_volumes_are_shown_at_their_shape():
    from segtrace.audit import pictures

    shown = pictures.drawn(np.zeros((20, 40), np.uint8), mask((60, 60))[:20, :40], spacing=(2.0, 1.0))
    assert (shown.width, shown.height) == (pictures.SIDE, pictures.SIDE)
