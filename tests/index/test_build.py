"""Indexing: what a row says, what is refused, and what the cache saves."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from segtrace import datasets, fingerprints, tables
from segtrace.datasets import Case
from segtrace.geometry import Grid
from segtrace.images import from_array, read_volume
from segtrace.index import build, cache

GRID = Grid((6, 5, 4), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
reads: list[str] = []


def read_image(root: Path, case: Case, options) -> sitk.Image:
    reads.append(case.case)
    return read_volume(root / case.images[0])


def read_label(root: Path, case: Case, options) -> tuple[sitk.Image, list[str]]:
    return read_volume(root / case.labels[0]), ["read as it is"]


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    reads.clear()
    monkeypatch.setattr(
        datasets, "reader", lambda name: SimpleNamespace(read_image=read_image, read_label=read_label)
    )


def write(root: Path, name: str, *, image=None, label=None, grid=GRID, label_grid=None) -> Case:
    image = np.arange(120, dtype=np.int16).reshape(4, 5, 6) if image is None else image
    if label is None:
        label = np.zeros((4, 5, 6), np.uint8)
        label[1:3, 1:3, 1:3] = 1
        label[3, 4, 5] = 2
        label[0, 0, 0] = 2
    sitk.WriteImage(from_array(image, grid), str(root / f"{name}.nii.gz"))
    sitk.WriteImage(from_array(label, label_grid or grid), str(root / f"{name}_label.nii.gz"))
    return Case(name, name, (f"{name}.nii.gz",), (f"{name}_label.nii.gz",))


def job(root: Path, case: Case, **changes) -> build.Job:
    values = {
        "dataset": "here",
        "root": root,
        "reader": "any",
        "options": {},
        "case": case,
        "dimensions": 3,
        "channels": 1,
        "labels": (1, 2),
        "empty_allowed": False,
    }
    return build.Job(**(values | changes))


def problems(root: Path, case: Case, **changes) -> str:
    found = build.index_case(job(root, case, **changes))
    assert found.row == {} or found.problems == ()
    return "\n".join(found.problems)


def test_a_row_says_what_the_case_is(tmp_path):
    found = build.index_case(job(tmp_path, write(tmp_path, "c1")))
    assert found.problems == ()
    row = found.row
    row["duplicate_group"] = "c1"  # a matter of all cases
    tables.write("cases", [row], tmp_path / "cases.csv")  # it obeys its schema
    assert (row["size"], row["spacing_mm"], row["origin_mm"]) == ("6x5x4", "1x2x3", "10x20x30")
    assert (row["dtype"], row["intensity_min"], row["intensity_max"]) == ("int16", 0.0, 119.0)
    assert json.loads(row["voxels"]) == {"0": 110, "1": 8, "2": 2}
    assert json.loads(row["components"]) == {"1": 1, "2": 2}
    # label 1 is centred at array index (1.5, 1.5, 1.5): x = 10 - 1.5, y = 20 - 3, z = 30 + 4.5
    assert json.loads(row["centroids_mm"])["1"] == [8.5, 17.0, 34.5]
    assert row["notes"] == "read as it is"


def test_the_digest_follows_bytes_labels_and_options(tmp_path):
    first = build.index_case(job(tmp_path, write(tmp_path, "c1"))).row["digest"]
    assert (
        build.index_case(job(tmp_path, write(tmp_path, "c2"))).row["digest"] == first
    )  # the name is no content
    case = write(tmp_path, "c3", image=np.ones((4, 5, 6), np.int16))
    assert build.index_case(job(tmp_path, case)).row["digest"] != first
    assert build.index_case(job(tmp_path, case)).row["notes"].endswith("the image is constant (1)")
    assert build.case_digest("a", "b", labels=(1,), options={}) != build.case_digest(
        "a", "b", labels=(1, 2), options={}
    )
    assert build.case_digest("a", "b", labels=(1,), options={"x": 1}) != build.case_digest(
        "a", "b", labels=(1,), options={}
    )


def test_pixels_are_equal_in_any_container():
    array = np.array([[[0, 3], [250, 7]]])
    first = build.pixels_sha256(array.astype(np.uint8))
    assert build.pixels_sha256(array.astype(np.float32)) == first
    assert build.pixels_sha256(np.asfortranarray(array.astype(">i4"))) == first
    assert build.pixels_sha256(array.reshape(1, 1, 4)) != first
    assert build.pixels_sha256(np.array([[[-0.0]]])) == build.pixels_sha256(np.array([[[0.0]]]))
    volume = np.arange(24).reshape(1, 2, 3, 4)
    assert build.pixels_sha256(volume) != build.pixels_sha256(volume.reshape(1, 3, 2, 4))


def test_faulty_masks_are_told_with_both_values(tmp_path):
    seven = np.zeros((4, 5, 6), np.uint8)
    seven[0, 0, :2] = (1, 7)
    text = problems(tmp_path, write(tmp_path, "a", label=seven))
    assert text == "a (a.nii.gz, a_label.nii.gz): the label holds 7; expected 0 (background) and 1, 2 only"
    assert "the label is empty" in problems(
        tmp_path, write(tmp_path, "b", label=np.zeros((4, 5, 6), np.uint8))
    )
    empty = write(tmp_path, "b", label=np.zeros((4, 5, 6), np.uint8))
    assert problems(tmp_path, empty, empty_allowed=True) == ""
    short = write(
        tmp_path,
        "c",
        label=np.ones((4, 5, 5), np.uint8),
        label_grid=replace(GRID, size=(5, 5, 4)),
    )
    assert "image and label differ: size 6x5x4 and 5x5x4" in problems(tmp_path, short)
    moved = write(
        tmp_path, "d", label_grid=Grid(GRID.size, GRID.spacing_mm, (10.0, 20.0, 31.0), GRID.direction)
    )
    assert "origin 10x20x30 and 10x20x31 mm" in problems(tmp_path, moved)
    half = write(tmp_path, "e", label=np.full((4, 5, 6), 0.5, np.float32))
    assert "no whole numbers, such as 0.5" in problems(tmp_path, half)


def test_faults_of_a_case_are_told_together(tmp_path):
    label = np.full((4, 5, 6), 9, np.uint8)
    moved = Grid(GRID.size, (1.0, 2.0, 3.5), GRID.origin_mm, GRID.direction)
    text = problems(tmp_path, write(tmp_path, "a", label=label, label_grid=moved), channels=3, dimensions=2)
    for part in (
        "3 dimensions, the data set has 2",
        "1 channels, the data set has 3",
        "spacing 1x2x3 and 1x2x3.5",
        "holds 9",
    ):
        assert part in text


def test_missing_files_unlabelled_cases_and_names(tmp_path):
    case = write(tmp_path, "a")
    (tmp_path / "a.nii.gz").unlink()
    assert "no such file" in problems(tmp_path, case)
    assert "the case has no label file; list it under 'exclude'" in problems(
        tmp_path, Case("b", "b", case.labels, ())
    )
    assert "'a b' cannot be used as a file name" in problems(tmp_path, Case("a b", "a", (), ()))
    assert "cannot be named 'gate'" in problems(tmp_path, write(tmp_path, "gate"))


# --- the cache --------------------------------------------------------------------------------------


def indexed(root: Path, cases: list[Case], *, key: str = "k", started_ns: int = 2**62):
    jobs = [job(root, case) for case in cases]
    reads.clear()
    rows, pictures, found = build.build(
        jobs,
        cache=root / "cache.json",
        key=key,
        run=lambda fresh: [build.index_case(j) for j in fresh],
        started_ns=started_ns,
    )
    assert len(pictures) == len(rows)
    return rows, found, list(reads)


def test_unchanged_cases_are_not_read_again(tmp_path):
    cases = [write(tmp_path, "a"), write(tmp_path, "b")]
    first, found, read = indexed(tmp_path, cases)
    assert (found, read) == ([], ["a", "b"])
    again, found, read = indexed(tmp_path, cases)
    assert (again, found, read) == (first, [], [])
    assert indexed(tmp_path, cases, key="other code")[2] == ["a", "b"]
    (tmp_path / "cache.json").write_text("damaged")
    assert indexed(tmp_path, cases)[2] == ["a", "b"]


def test_a_file_with_old_times_put_back_is_read_again(tmp_path):
    """Neither size nor modification time gives the edit away; the change time does."""
    cases = [write(tmp_path, "a"), write(tmp_path, "b")]
    first, _, _ = indexed(tmp_path, cases)
    path = tmp_path / "b_label.nii.gz"
    before = path.stat()
    data = path.read_bytes()
    write(tmp_path, "b", image=np.zeros((4, 5, 6), np.int16))
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again, _, read = indexed(tmp_path, cases)
    assert read == ["b"]
    assert again[0] == first[0]
    assert again[1]["image_sha256"] != first[1]["image_sha256"]


def test_added_removed_and_renamed_cases(tmp_path):
    cases = [write(tmp_path, "a"), write(tmp_path, "b")]
    indexed(tmp_path, cases)
    other = Case("a", "another subject", cases[0].images, cases[0].labels)
    rows, _, read = indexed(tmp_path, [other, write(tmp_path, "c")])
    assert read == ["a", "c"]
    assert [row["subject"] for row in rows] == ["another subject", "c"]


def test_a_file_changed_just_now_is_not_cached(tmp_path):
    """It could change again within a tick of the clock, and its times would not show it."""
    cases = [write(tmp_path, "a")]
    changed = (tmp_path / "a.nii.gz").stat().st_ctime_ns
    indexed(tmp_path, cases, started_ns=changed + cache.RACY_NS // 2)
    assert indexed(tmp_path, cases, started_ns=changed + cache.RACY_NS // 2)[2] == ["a"]


def test_a_faulty_case_is_told_every_time_beside_the_good_ones(tmp_path):
    cases = [write(tmp_path, "a"), write(tmp_path, "b", label=np.full((4, 5, 6), 7, np.uint8))]
    for read_first in (["a", "b"], ["b"]):
        rows, found, read = indexed(tmp_path, cases)
        assert [row["case"] for row in rows] == ["a"]
        assert len(found) == 1
        assert "holds 7" in found[0]
        assert read == read_first


def thumbnails(root: Path, cases: list[Case]) -> list[bytes]:
    """The thumbnails that indexing gives, as bytes."""
    return [build.index_case(job(root, case)).thumbnails.tobytes() for case in cases]


def test_a_cached_case_has_its_thumbnails(tmp_path):
    cases = [write(tmp_path, "a"), write(tmp_path, "b", image=np.ones((4, 5, 6), np.int16))]
    indexed(tmp_path, cases)
    kept = (tmp_path / "cache.npy").read_bytes()
    jobs = [job(tmp_path, case) for case in cases]
    rows, pictures, _ = build.build(
        jobs, cache=tmp_path / "cache.json", key="k", run=lambda fresh: [1 / 0 for _ in fresh]
    )
    assert [picture.tobytes() for picture in pictures] == thumbnails(tmp_path, cases)
    codes = [fingerprints.as_text(fingerprints.fingerprint(picture[0])) for picture in pictures]
    assert codes == [row["fingerprint"] for row in rows]
    assert (tmp_path / "cache.npy").read_bytes() == kept
    assert np.load(tmp_path / "cache.npy").shape == (2, *fingerprints.SHAPE)


@pytest.mark.parametrize("harm", ["missing", "damaged", "of other cases", "cut"])
def test_cases_whose_thumbnails_are_lost_are_read_again(tmp_path, harm):
    cases = [write(tmp_path, "a"), write(tmp_path, "b", image=np.ones((4, 5, 6), np.int16))]
    first, _, _ = indexed(tmp_path, cases)
    path = tmp_path / "cache.npy"
    expected = ["a", "b"]
    if harm == "missing":
        path.unlink()
    elif harm == "damaged":
        path.write_bytes(b"noise")
    elif harm == "cut":
        np.save(path, np.load(path)[:1])
        expected = ["b"]
    else:
        np.save(path, np.load(path)[::-1])
    again, _, read = indexed(tmp_path, cases)
    assert (again, read) == (first, expected)


def test_thumbnails_of_cases_too_fresh_to_be_cached_are_kept_for_the_audit(tmp_path):
    cases = [write(tmp_path, "a"), write(tmp_path, "b")]
    changed = (tmp_path / "a.nii.gz").stat().st_ctime_ns
    indexed(tmp_path, cases, started_ns=changed)
    assert json.loads((tmp_path / "cache.json").read_text())["cases"] == {}
    assert np.load(tmp_path / "cache.npy").shape == (2, *fingerprints.SHAPE)


ODD = os.environ.get("SEGTRACE_ODD_FILES")


@pytest.mark.mirror
@pytest.mark.skipif(ODD is None, reason="SEGTRACE_ODD_FILES does not name the folder of faulty files")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("00_reference_label", ""),
        ("label_empty", "the label is empty: every voxel is background"),
        ("label_shape_off_by_one", "image and label differ: size"),
        ("label_spacing_differs", "image and label differ: spacing"),
        ("label_unexpected_value_7", "the label holds 7; expected 0 (background) and 1, 2 only"),
        ("label_values_0_255", "the label holds 255; expected 0 (background) and 1, 2 only"),
    ],
)
def test_published_faults_are_judged_right(name, expected):
    case = Case("c1", "c1", ("00_reference_image.nii.gz",), (f"{name}.nii.gz",))
    text = problems(Path(str(ODD)), case)
    assert (expected in text) if expected else text == ""
    if expected:
        assert f"{name}.nii.gz" in text


def test_an_unreadable_image_is_told_with_its_file(tmp_path):
    case = write(tmp_path, "a")
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:60])
    text = problems(tmp_path, case)
    assert "a.nii.gz" in text
    assert "damaged" in text


def test_build_collects_problems_of_all_cases(tmp_path):
    seven = np.full((4, 5, 6), 7, np.uint8)
    cases = [write(tmp_path, name, label=seven) for name in "abc"]
    _, found, _ = indexed(tmp_path, cases)
    assert [line.split(" ")[0] for line in found] == ["a", "b", "c"]
