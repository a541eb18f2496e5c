"""Readers: each layout with its traps, on miniatures and, where they are, on the real archives."""

import hashlib
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Picture

from raw_folders import MIRROR, needs_mirror
from segtrace import datasets, images
from segtrace.datasets import _pairs, busi, msd_hippocampus, phantom2d, phantom3d
from segtrace.errors import SegtraceError


def test_an_unknown_reader_names_the_nearest() -> None:
    with pytest.raises(SegtraceError, match="did you mean 'phantom2d'"):
        datasets.reader("phanton2d")


def test_phantoms_are_a_function_of_their_seed_and_growing_moves_nothing(tmp_path: Path) -> None:
    for module, few, many in (
        (phantom2d, {"seed": 3, "subjects": 2, "frames": 2}, {"seed": 3, "subjects": 3, "frames": 3}),
        (phantom3d, {"seed": 3, "subjects": 2, "scans": 1}, {"seed": 3, "subjects": 3, "scans": 2}),
    ):
        roots = [tmp_path / module.__name__ / name for name in ("a", "b", "c")]
        for root, options in zip(roots, (few, few, many), strict=True):
            module.generate(root, options)
        files = sorted(p.relative_to(roots[0]) for p in roots[0].rglob("*.*"))
        assert len(files) == 2 * len(module.cases(roots[0], few))
        for file in files:
            assert (
                (roots[0] / file).read_bytes()
                == (roots[1] / file).read_bytes()
                == (roots[2] / file).read_bytes()
            )


def test_phantoms_hold_what_they_promise(tmp_path: Path) -> None:
    options = {"seed": 0, "subjects": 12, "frames": 3}
    phantom2d.generate(tmp_path / "2", options)
    flat = [
        phantom2d.read_label(tmp_path / "2", c, options)[0] for c in phantom2d.cases(tmp_path / "2", options)
    ]
    counts = [np.bincount(images.to_array(i).ravel(), minlength=3) for i in flat]
    assert any(c[1:].sum() == 0 for c in counts)  # empty
    assert any(0 < c[1] < 400 for c in counts)  # tiny
    assert any(c[2] > 0 for c in counts)
    assert any(c[1] > 0 and c[2] == 0 for c in counts)

    options = {"seed": 0, "subjects": 12, "scans": 2}
    phantom3d.generate(tmp_path / "3", options)
    found = phantom3d.cases(tmp_path / "3", options)
    assert len({case.subject for case in found}) == 12
    assert len(found) == 24
    grids, nodules, touching = [], [], 0
    for case in found:
        image = phantom3d.read_image(tmp_path / "3", case, options)
        label, _ = phantom3d.read_label(tmp_path / "3", case, options)
        assert images.grid_of(image).differences(images.grid_of(label)) == []
        grids.append(images.grid_of(image))
        array = images.to_array(label)[0]
        nodules.append(int((array == 3).sum()))
        touching += bool((np.abs(np.diff(array.astype(int), axis=-1))[...] == 1).any())
    assert all(max(g.spacing_mm) > 1.1 * min(g.spacing_mm) for g in grids)
    assert any(not np.isin(np.abs(np.round(g.direction, 6)), (0, 1)).all() for g in grids)  # oblique
    assert len({tuple(np.round(g.direction, 1)) for g in grids}) > 3  # several orientations
    assert 0 in nodules
    assert any(0 < n < 60 for n in nodules)
    assert touching


@pytest.mark.parametrize(
    ("module", "key", "mean", "label"),
    [
        (phantom2d, "frames", 88.3641, "53b586a69ab3f6199926281e9a9c38ab1e4efdead2f515bbf977bb32ec776961"),
        (phantom3d, "scans", -414.9384, "8330dd88356fd13e328aae69c7432a60fc912420ad7b2fba0d630d39a2aeb950"),
    ],
    ids=["phantom2d", "phantom3d"],
)  # fmt: skip
def test_phantoms_are_the_same_on_every_machine(
    tmp_path: Path, module, key: str, mean: float, label: str
) -> None:
    """Labels to the byte; images to what the last bit of a processor's sine can do to a rounded value."""
    module.generate(tmp_path, {"seed": 0, "subjects": 2, key: 2})
    case = module.cases(tmp_path, {})[3]
    assert hashlib.sha256((tmp_path / case.labels[0]).read_bytes()).hexdigest() == label
    assert images.to_array(module.read_image(tmp_path, case, {})).mean() == pytest.approx(mean, abs=1e-3)


def test_many_phantoms_drawn_by_all_cores_are_those_drawn_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"seed": 1, "subjects": 3, "frames": 2}
    phantom2d.generate(tmp_path / "one", options)
    monkeypatch.setattr(_pairs, "MANY", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    phantom2d.generate(tmp_path / "three", options)
    for file in (tmp_path / "one").rglob("*.png"):
        assert file.read_bytes() == (tmp_path / "three" / file.relative_to(tmp_path / "one")).read_bytes()


def test_options_of_a_generator_are_checked_together(tmp_path: Path) -> None:
    with pytest.raises(
        SegtraceError,
        match=r"(?s)4 problems.*'frame': did you mean 'frames'.*'frames' is missing.*'seed'.*-1.*'subjects'.*'two'",
    ):
        phantom2d.generate(tmp_path, {"seed": -1, "subjects": "two", "frame": 3})  # fmt: skip


def test_a_phantom_without_its_label_is_named(tmp_path: Path) -> None:
    phantom2d.generate(tmp_path, {"seed": 0, "subjects": 2, "frames": 1})
    (tmp_path / "labels/p0000_f00.png").unlink()
    (tmp_path / "images/p0001_f00.png").unlink()
    with pytest.raises(
        SegtraceError, match=r"(?s)2 problems.*labels/p0000_f00\.png: missing.*images/p0001_f00\.png: missing"
    ):
        phantom2d.cases(tmp_path, {})  # fmt: skip


def hippocampus(root: Path) -> Path:
    folder = root / "Task04_Hippocampus"
    entries = []
    for number in (7, 3, 11):  # not sorted, with gaps
        name = f"hippocampus_{number:03d}.nii.gz"
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        for part, kind in (("imagesTr", np.float32), ("labelsTr", np.float32 if number == 3 else np.uint8)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            array = np.zeros((4, 5, 6), kind)
            array[1, 2, 3], array[2, 2, 3] = 1, 2
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / part / name))
            (folder / part / f"._{name}").write_bytes(b"\0\5\x16\7AppleDouble")
    (folder / "dataset.json").write_text(json.dumps({"training": entries, "test": []}))
    return root


def test_hippocampus_layout(tmp_path: Path) -> None:
    root = hippocampus(tmp_path)
    found = msd_hippocampus.cases(root, {})
    assert [case.case for case in found] == ["hippocampus_003", "hippocampus_007", "hippocampus_011"]
    assert [Path(case.images[0]).name for case in found] == [Path(case.labels[0]).name for case in found]
    label, notes = msd_hippocampus.read_label(root, found[0], {})
    assert images.label_array(label, where="").max() == 2
    assert notes == []


def test_hippocampus_lists_all_missing_files(tmp_path: Path) -> None:
    root = hippocampus(tmp_path)
    (root / "Task04_Hippocampus/imagesTr/hippocampus_003.nii.gz").unlink()
    (root / "Task04_Hippocampus/labelsTr/hippocampus_011.nii.gz").unlink()
    with pytest.raises(
        SegtraceError, match=r"(?s)2 problems.*imagesTr/hippocampus_003.*labelsTr/hippocampus_011"
    ):
        msd_hippocampus.cases(root, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": []}, "no list 'training'"),
        ([], "no list 'training'"),
        ({"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/b.nii.gz"}]}, "image and a label of one name"),
        ({"training": ["a.nii.gz"]}, "not an image and a label of one name"),
        ({"training": [{"image": "x/a.nii.gz", "label": "a.nii.gz"}] * 2}, "a.nii.gz is listed twice"),
    ],
)  # fmt: skip
def test_a_list_of_hippocampus_cases_that_is_none(tmp_path: Path, content, message: str) -> None:
    root = hippocampus(tmp_path)
    (root / "Task04_Hippocampus/dataset.json").write_text(json.dumps(content))
    with pytest.raises(SegtraceError, match=message):
        msd_hippocampus.cases(root, {})


def test_a_fractional_hippocampus_label_is_named(tmp_path: Path) -> None:
    root = hippocampus(tmp_path)
    case = msd_hippocampus.cases(root, {})[0]
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 5, 6), 1.25, np.float32)), str(root / case.labels[0]))
    with pytest.raises(
        SegtraceError, match=r"labelsTr/hippocampus_003.*120 voxels are no whole numbers, such as 1\.25"
    ):
        msd_hippocampus.read_label(root, case, {})  # fmt: skip


def ultrasound(root: Path) -> Path:
    random = np.random.default_rng(0)
    for group in busi.CLASSES:
        folder = root / busi.FOLDER / group
        folder.mkdir(parents=True)
        grey = random.integers(0, 255, (20, 24), dtype=np.uint8)
        Picture.fromarray(np.stack([grey] * 3, -1)).save(folder / f"{group} (2).png")
        Picture.fromarray(grey).save(folder / f"{group} (10).png")
        mask = np.zeros((20, 24), np.uint8)
        if group != "normal":
            mask[2:5, 2:6] = 255
        Picture.fromarray(mask).convert("1").save(folder / f"{group} (2)_mask.png")
        Picture.fromarray(np.stack([mask] * 3, -1)).save(folder / f"{group} (10)_mask.png")
    second = np.zeros((40, 48, 4), np.uint8)
    second[..., 3] = 255
    second[20:30, 20:32, :3] = 255
    Picture.fromarray(second, "RGBA").save(root / busi.FOLDER / "benign" / "benign (10)_mask_1.png")
    return root


def test_busi_layout_with_a_second_mask_of_another_size(tmp_path: Path) -> None:
    root = ultrasound(tmp_path)
    found = busi.cases(root, {})
    assert [c.case for c in found[:2]] == ["benign_0002", "benign_0010"]
    assert {c.group for c in found} == set(busi.CLASSES)
    label, notes = busi.read_label(root, found[1], {"unequal_second_mask": "resize"})
    array = images.to_array(label)[0]
    assert array[3, 3] == 1
    assert array[12, 12] == 1
    assert array.sum() == 3 * 4 + 5 * 6
    assert "48x40" in notes[0]
    with pytest.raises(SegtraceError, match=r"benign \(10\)_mask_1\.png: has 48x40 and the first mask 24x20"):
        busi.read_label(root, found[1], {"unequal_second_mask": "error"})
    normal = next(c for c in found if c.group == "normal")
    assert images.to_array(busi.read_label(root, normal, {})[0]).sum() == 0


def test_busi_faults_are_listed_together(tmp_path: Path) -> None:
    root = ultrasound(tmp_path)
    (root / busi.FOLDER / "benign/benign (2).png").unlink()
    (root / busi.FOLDER / "normal/normal (10)_mask.png").unlink()
    (root / busi.FOLDER / "malignant/notes.png").write_bytes(b"x")
    with pytest.raises(
        SegtraceError, match=r"(?s)3 problems.*notes\.png.*normal \(10\)\.png: has no mask.*benign \(2\)_mask"
    ):
        busi.cases(root, {})


def test_a_coloured_or_grey_mask_is_refused(tmp_path: Path) -> None:
    root = ultrasound(tmp_path)
    case = busi.cases(root, {})[0]
    colours = np.zeros((20, 24, 3), np.uint8)
    colours[3, 3] = (255, 0, 0)
    Picture.fromarray(colours).save(root / case.labels[0])
    with pytest.raises(SegtraceError, match="a mask with colours"):
        busi.read_label(root, case, {})
    Picture.fromarray(np.full((20, 24), 96, np.uint8)).save(root / case.labels[0])
    with pytest.raises(SegtraceError, match="grey values"):
        busi.read_label(root, case, {})


def test_a_first_mask_of_another_size_is_always_refused(tmp_path: Path) -> None:
    root = ultrasound(tmp_path)
    case = busi.cases(root, {})[0]
    Picture.fromarray(np.zeros((10, 12), np.uint8)).save(root / case.labels[0])
    with pytest.raises(SegtraceError, match=r"benign \(2\)_mask\.png: has 12x10 and its image 24x20"):
        busi.read_label(root, case, {"unequal_second_mask": "resize"})
    with pytest.raises(SegtraceError, match="unequal_second_mask of busi is 'crop'"):
        busi.read_label(root, case, {"unequal_second_mask": "crop"})


def test_busi_images_become_grey(tmp_path: Path) -> None:
    root = ultrasound(tmp_path)
    case = busi.cases(root, {})[0]
    same = images.to_array(busi.read_image(root, case, {}))
    assert same.shape == (1, 20, 24)
    np.testing.assert_array_equal(same[0], images.read_picture(root / case.images[0])[..., 0])
    Picture.fromarray(np.full((20, 24, 3), (100, 50, 10), np.uint8)).save(root / case.images[0])
    np.testing.assert_allclose(images.to_array(busi.read_image(root, case, {})), 60.39, atol=1e-3)


@needs_mirror
@pytest.mark.mirror
def test_hippocampus_archive(tmp_path: Path) -> None:
    with tarfile.open(MIRROR / "Task04_Hippocampus.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    found = msd_hippocampus.cases(tmp_path, {})
    numbers = [int(case.case[-3:]) for case in found]
    assert len(found) == 260
    assert numbers == sorted(numbers) != list(range(numbers[0], numbers[-1] + 1))  # with gaps
    kinds, maxima, floats = [], [], []
    for case in found:
        image = msd_hippocampus.read_image(tmp_path, case, {})
        label, notes = msd_hippocampus.read_label(tmp_path, case, {})
        assert images.grid_of(image).differences(images.grid_of(label)) == []
        assert image.GetSpacing() == pytest.approx((1, 1, 1))
        assert set(np.unique(images.to_array(label))) == {0, 1, 2}
        assert notes == []
        array = images.to_array(image)
        kinds.append(array.dtype.name)
        maxima.append(float(array.max()))
        if images.read_volume(tmp_path / case.labels[0]).GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64):
            floats.append(case.case[-3:])
    assert (kinds.count("float32"), kinds.count("uint8")) == (205, 55)
    assert min(maxima) == pytest.approx(112, abs=1)
    assert max(maxima) == pytest.approx(1.7e6, rel=0.05)
    assert floats == ["003", "243"]


@needs_mirror
@pytest.mark.mirror
def test_busi_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(MIRROR / "Dataset_BUSI.zip") as archive:
        archive.extractall(tmp_path)
    found = busi.cases(tmp_path, {})
    groups = [case.group for case in found]
    assert [groups.count(g) for g in busi.CLASSES] == [49, 50, 50]
    assert sum(len(case.labels) for case in found) == 151
    options = {"unequal_second_mask": "resize"}
    noted = []
    for case in found:
        image = busi.read_image(tmp_path, case, options)
        label, notes = busi.read_label(tmp_path, case, options)
        noted += notes
        assert image.GetSize() == label.GetSize()
        assert (images.to_array(label).sum() == 0) == (case.group == "normal")
    assert len(noted) == 1
    assert "555x465" in noted[0]
