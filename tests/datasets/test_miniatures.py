"""Every data set, from its published archives to the rows of its index, on a miniature of its layout."""

import json
from pathlib import Path

import numpy as np
import pytest

import miniatures
import raw_folders
from segtrace import cli, datasets, layout
from segtrace.config import load
from segtrace.geometry import parse_numbers

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(
    path.stem
    for path in (ROOT / "config/datasets").glob("*.yaml")
    if "\naccess: embedded" not in path.read_text(encoding="utf-8")
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    raw_folders.project(tmp_path, monkeypatch)
    monkeypatch.delenv("SEGTRACE_MIRROR", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_miniature_is_acquired_and_indexed_as_its_layout_says(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = miniatures.build(name, project / "mirror")
    data = load.dataset(name)
    assert cli.main(["acquire", name, "--mirror", str(project / "mirror")]) == 0, capsys.readouterr().err
    assert data.licence in capsys.readouterr().out
    root = layout.raw(name)
    found = datasets.reader(data.reader or name).cases(root, data.options)
    assert [case.case for case in found] == sorted(expected)
    for case, row in zip(found, raw_folders.index(name, root, found), strict=True):
        wanted = expected[case.case]
        assert tuple(map(int, parse_numbers(row["size"]))) == wanted.size
        assert row["channels"] == wanted.channels == len(data.channels)
        voxels = {int(value): count for value, count in json.loads(row["voxels"]).items() if value != "0"}
        assert voxels == dict(wanted.voxels), case.case
        assert (row["subject"], row["group"], row["side"]) == (
            case.case if wanted.subject is None else wanted.subject,
            wanted.group,
            wanted.side,
        )
        spacing = (1.0,) * data.dimensions if wanted.spacing_mm is None else wanted.spacing_mm
        assert data.spacing_known == (wanted.spacing_mm is not None)
        np.testing.assert_allclose(parse_numbers(row["spacing_mm"]), spacing, rtol=1e-6)
        assert wanted.notes in row["notes"]
        for known, value in ((data.gate.groups, row["group"]), (data.gate.sides, row["side"])):
            assert not known or value in known, case.case
        assert data.gate.intensity is not None
        low, high = data.gate.intensity
        assert low <= row["intensity_min"] <= row["intensity_max"] <= high, case.case


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_gate_of_a_published_data_set_judges_counts_geometry_intensities_and_prevalence(
    name: str, project: Path
) -> None:
    data = load.dataset(name)
    gate = data.gate
    assert gate.cases is not None
    assert gate.size is not None
    assert gate.intensity is not None
    assert gate.prevalence.keys() == data.labels.keys()
    assert (gate.spacing_mm is not None) == data.spacing_known
