"""A user's folder of DICOM files: what belongs together is found, what does not is listed, and nobody is named."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml
from pydicom.fileset import FileSet

import dicom_objects as objects
from segtrace import cli
from segtrace.add_dataset.dicom import recognise
from segtrace.add_dataset.proposal import Proposal
from segtrace.errors import SegtraceError

SHAPE = (6, 10, 12)
#: What is planted in headers and folder names.
SECRETS = (
    *(
        "secretname",
        "secret street",
        "refername",
        "doe^jane",
        "pat-77",
        "pat-78",
        "19340228",
        "acc90210",
    ),
    "19990131",
    *(objects.uid("study", patient) for patient in ("PAT-77", "PAT-78")),
    objects.uid("series", "PAT-78", "a"),
)


def mask(row: int) -> np.ndarray:
    """(6, 10, 12, 1): 2 x 3 x 4 = 24 voxels from a row on."""
    result = np.zeros((*SHAPE, 1), np.uint8)
    result[2:4, row : row + 3, 1:5] = 1
    return result


def recognised(folder: Path) -> Proposal:
    proposal = recognise(folder)
    assert proposal is not None
    return proposal


def listed(proposal: Proposal, part: str) -> str:
    """The one problem that holds ``part``."""
    (line,) = [line for line in proposal.problems if part in line]
    return line


def change(path: Path, **tags: object) -> None:
    header = pydicom.dcmread(path)
    for tag, value in tags.items():
        if value is None:
            delattr(header, tag)
        else:
            setattr(header, tag, value)
    header.save_as(path)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two patients of whom one has two series in one folder, other files among them."""
    folder = tmp_path / "Doe^Jane"
    first = objects.series(folder / "all", name="a", patient="PAT-78", names="1.2.{k}")
    second = objects.series(folder / "all", name="b", patient="PAT-78", names="b{k}.dcm")
    third = objects.series(folder / "19340228/x", name="c", patient="PAT-77", names="{k}.IMA")
    objects.segmentation(folder / "masks/one", first, mask(1), ["Liver"])
    objects.segmentation(folder / "masks/two.dcm", second, mask(2), ["liver "])
    objects.structure_set(
        folder / "19340228/contours", third, {"LIVER": [objects.outline((0.5, 0.5, 4.5, 3.5), 2)]}
    )
    objects.series(folder / "scout", name="d", patient="PAT-77", count=2)
    (folder / "readme.txt").write_text("x")
    (folder / ".DS_Store").write_bytes(b"x")
    report = pydicom.dcmread(first[0], stop_before_pixels=True)
    del report.Rows, report.Columns, report.ImagePositionPatient
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", objects.uid("report")
    report.save_as(folder / "report")
    dose = pydicom.dcmread(third[0])
    dose.SOPClassUID, dose.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.2", objects.uid("dose")
    dose.NumberOfFrames = 2
    dose.save_as(folder / "dose")
    files = FileSet()
    files.add(first[0])
    files.write(tmp_path / "set")
    shutil.copy(tmp_path / "set/DICOMDIR", folder / "DICOMDIR")
    return folder


def test_series_masks_and_patients_are_told_apart(mixed: Path) -> None:
    proposal = recognised(mixed)
    assert (proposal.reader, proposal.dimensions, proposal.modality) == ("dicom_series", 3, "CT")
    assert proposal.labels == {1: "liver"}
    assert proposal.options == {"structures": {"liver": 1}}
    places = {
        "subj_001/series_01": "{k}.IMA",
        "subj_002/series_01": "1.2.{k}",
        "subj_002/series_02": "b{k}.dcm",
    }
    for place, name in places.items():  # the files are named against the order of their positions
        own = [proposal.files[f"{place}/{i:04d}.dcm"].name for i in range(1, 7)]
        assert own == [name.format(k=6 - k) for k in range(6)]
    masks = {place: path.name for place, path in proposal.files.items() if place.count("/") == 1}
    assert masks == {
        "subj_001/series_01_rtstruct.dcm": "contours",
        "subj_002/series_01_seg.dcm": "one",
        "subj_002/series_02_seg.dcm": "two.dcm",
    }
    assert len(proposal.files) == 3 * 6 + 3
    assert (proposal.private["subj_001"], proposal.private["subj_002"]) == (
        "PatientID PAT-77",
        "PatientID PAT-78",
    )
    assert proposal.private["subj_001_series_01"] == str(mixed / "19340228/x")
    assert "scout" in listed(proposal, "no mask belongs to")
    assert "readme.txt" in listed(proposal, "no DICOM")
    assert "do not hand data/raw on" in listed(proposal, "headers")
    assert len(proposal.problems) == 3


def test_no_identifier_reaches_a_table_a_file_or_a_message(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proposal = recognised(mixed)
    project = tmp_path / "project"
    config = {
        "title": "own data",
        "reader": proposal.reader,
        "dimensions": proposal.dimensions,
        "modality": proposal.modality,
        "licence": "none",
        "labels": proposal.labels,
        "channels": proposal.channels,
        "options": proposal.options,
        "recipes": {"plain": {}},
        "protocols": {"random": {"kind": "grouped_random", "test_fraction": 0.5, "validation_fraction": 0.0}},
    }
    for place, path in proposal.files.items():
        (project / "data/raw/own" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, project / "data/raw/own" / place)
    (project / "config/datasets").mkdir(parents=True)
    (project / "config/datasets/own.yaml").write_text(yaml.safe_dump(config))
    (project / "config/config.yaml").write_text(
        yaml.safe_dump({"experiments": ["none"], "budget": "smoke", "seeds": [0]})
    )
    monkeypatch.chdir(project)
    assert cli.main(["index", "own", "--workers", "1"]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    shown = asdict(proposal)
    del shown["private"], shown["files"], shown["problems"]
    told = [said.out, said.err, yaml.safe_dump(shown), *proposal.files]
    told += [line.replace(str(mixed), "") for line in proposal.problems]
    written = [p for p in project.rglob("*") if p.is_file() and "data/raw" not in str(p)]
    told += [path.read_text(encoding="utf-8", errors="replace") for path in written]
    assert any("subj_002_series_02" in text and "subj_002/series_02/0001.dcm" in text for text in told)
    for secret in SECRETS:
        for text in told:
            assert secret not in text.lower(), (secret, text[:300])
    # a fault names the file and nothing of its header
    broken = project / "data/raw/own/subj_001/series_01_rtstruct.dcm"
    change(broken, StructureSetROISequence=None)
    assert cli.main(["index", "own", "--workers", "1"]) == 1
    message = capsys.readouterr().err
    assert "subj_001/series_01_rtstruct.dcm: damaged DICOM file" in message
    assert not [secret for secret in SECRETS if secret in message.lower()]


@pytest.mark.parametrize("references", ["series", "instances", "frame"])
def test_a_structure_set_is_linked_by_what_it_names(tmp_path: Path, references: str) -> None:
    slices = objects.series(tmp_path / "a")
    objects.structure_set(
        tmp_path / "r", slices, {"x1": [objects.outline((1, 1, 3, 3), 1)]}, references=references
    )
    assert recognised(tmp_path).files["subj_001/series_01_rtstruct.dcm"] == tmp_path / "r"
    objects.series(tmp_path / "b", name="second")
    if references == "frame":  # two series in one frame of reference
        with pytest.raises(SegtraceError, match="fits 2 series"):
            recognise(tmp_path)
    else:
        assert "b" in listed(recognised(tmp_path), "no mask belongs to")


def test_a_mask_whose_series_is_not_there_or_of_another_patient_is_listed(tmp_path: Path) -> None:
    kept = objects.series(tmp_path / "kept")
    gone = objects.series(tmp_path / "gone", name="gone")
    other = objects.series(tmp_path / "other", name="other")
    for name, slices in (("k", kept), ("g", gone), ("o", other)):
        objects.segmentation(tmp_path / f"{name}.dcm", slices, mask(1), ["liver"])
    shutil.rmtree(tmp_path / "gone")
    change(tmp_path / "o.dcm", PatientID="SOMEBODY")
    proposal = recognised(tmp_path)
    assert len(proposal.files) == 7
    assert "g.dcm" in listed(proposal, "that it names is not in the folder")
    assert "o.dcm" in listed(proposal, "another patient")
    assert "SOMEBODY" not in str(proposal.problems)


def test_a_structure_named_for_a_patient_is_not_proposed(tmp_path: Path) -> None:
    for name, word in (("one", "Tumour Secretname"), ("two", "x 4711"), ("three", "mysecretnames")):
        slices = objects.series(tmp_path / name, name=name, patient=f"{name}-4711")
        objects.segmentation(tmp_path / f"{name}.dcm", slices, mask(1), [word])
    slices = objects.series(tmp_path / "good", name="good", patient="good")
    objects.segmentation(tmp_path / "good.dcm", slices, mask(1), ["tumour"])
    proposal = recognised(tmp_path)
    assert proposal.labels == {1: "tumour"}
    flagged = [line for line in proposal.problems if "identifies a patient" in line]
    assert [Path(line.split(":")[0]).name for line in flagged] == ["one.dcm", "three.dcm", "two.dcm"]
    assert not [line for line in flagged if "secretname" in line.lower() or "4711" in line]


def test_a_structure_that_several_patients_have_names_none(tmp_path: Path) -> None:
    for patient in ("Pancreas-1", "Pancreas-2"):
        slices = objects.series(tmp_path / patient, patient=patient)
        objects.segmentation(tmp_path / f"{patient}.dcm", slices, mask(1), ["pancreas"])
    assert recognised(tmp_path).labels == {1: "pancreas"}


def test_series_that_are_no_volume_are_left_out_with_the_reason(tmp_path: Path) -> None:
    faults = {
        "gap": (
            {"without": [2]},
            "a slice is missing between IM005 and IM003 (4 mm; most others are 2 mm apart)",
        ),
        "one": ({"count": 1}, "one slice"),
        "good": ({}, ""),
    }
    for number, (name, (options, _)) in enumerate(faults.items()):
        slices = objects.series(tmp_path / name, name=name, patient=f"P{number}", **options)  # type: ignore[arg-type]
        objects.structure_set(tmp_path / f"{name}.rt", slices, {"liver": [objects.outline((1, 1, 3, 3), 0)]})
    twice = objects.series(tmp_path / "twice", name="twice", patient="P9")
    for k, path in enumerate(twice[:2]):
        change(path, ImagePositionPatient=[-20, 7, 30], InstanceNumber=k)
    objects.structure_set(tmp_path / "twice.rt", twice, {"liver": [objects.outline((1, 1, 3, 3), 0)]})
    turned = objects.series(tmp_path / "turned", name="turned", patient="P8")
    change(turned[3], ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
    objects.structure_set(tmp_path / "turned.rt", turned, {"liver": [objects.outline((1, 1, 3, 3), 0)]})
    proposal = recognised(tmp_path)
    assert len(proposal.files) == 7
    for name, (_, reason) in faults.items():
        if reason:
            assert str(tmp_path / name) in listed(proposal, reason)
    assert "twice" in listed(proposal, "two slices lie at one position")
    assert "turned" in listed(proposal, "differ in orientation")


def test_copies_are_passed_over_and_two_drawings_of_one_structure_are_not_chosen_from(tmp_path: Path) -> None:
    slices = objects.series(tmp_path / "a")
    shutil.copy(slices[0], tmp_path / "copy.dcm")
    objects.segmentation(tmp_path / "s.dcm", slices, mask(1), ["liver"])
    objects.structure_set(tmp_path / "r.dcm", slices, {"liver": [objects.outline((1, 1, 3, 3), 1)]})
    proposal = recognised(tmp_path)
    assert len(proposal.files) == 7
    assert "r.dcm" in listed(proposal, "a segmentation of the series draws too")
    second = tmp_path / "t.dcm"
    objects.segmentation(second, slices, mask(2), ["Liver"])
    with pytest.raises(SegtraceError, match="draw the same structures"):
        recognise(tmp_path)
    second.unlink()
    change(slices[1], RescaleIntercept=5)
    forged = pydicom.dcmread(slices[0])
    forged.RescaleIntercept = 7
    forged.save_as(tmp_path / "forged.dcm")
    assert "forged.dcm" in listed(recognised(tmp_path), "bears the identifier of")


def test_frames_files_without_preamble_and_damaged_ones_are_listed(tmp_path: Path) -> None:
    slices = objects.series(tmp_path / "a")
    objects.segmentation(tmp_path / "s.dcm", slices, mask(1), ["liver"])
    change(objects.series(tmp_path / "m", name="m", count=1)[0], NumberOfFrames=3)
    bare = objects.series(tmp_path / "b", name="b", count=1)[0]
    header = pydicom.dcmread(bare)
    header.preamble, header.file_meta = None, pydicom.dataset.FileMetaDataset()
    pydicom.dcmwrite(bare, header, implicit_vr=False, little_endian=True, enforce_file_format=False)
    (tmp_path / "damaged").write_bytes(slices[0].read_bytes()[:150] + b"\xff" * 300)
    proposal = recognised(tmp_path)
    assert "/m/" in listed(proposal, "several frames")
    assert "/b/" in listed(proposal, "lacks the 132 bytes")
    assert any("damaged" in line for line in proposal.problems)
    assert len(proposal.files) == 7


def test_what_is_no_dicom_folder_is_not_recognised(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert recognise(tmp_path) is None
    objects.series(tmp_path / "a")
    assert recognise(tmp_path) is None  # no masks
