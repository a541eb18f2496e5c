"""The way back: from probabilities on the prepared grid to labels on the native one."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import images, preparation
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.predict import export, restore

CODES = [
    "".join(letters)
    for order in itertools.permutations(["RL", "AP", "SI"])
    for letters in itertools.product(*order)
]
RECIPE = {
    "orientation": "RAS",
    "spacing_mm": None,
    "size": None,
    "image_interpolation": "linear",
    "antialias": False,
    "label_interpolation": "vote",
    "intensity": [],
}
LINE = (1.0, 0.0, 0.0, 1.0)


def oblique(size, spacing, *, code="LPS", degrees=17.0) -> Grid:
    """A grid turned about z, its axes in the order of ``code``."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    axes = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    columns = [turn[:, axes[letter][0]] * axes[letter][1] for letter in code]
    return Grid(size, spacing, (-31.5, 12.25, 7.0), tuple(np.stack(columns, axis=1).ravel().tolist()))


def balls(grid: Grid) -> np.ndarray:
    """Two touching structures in the middle of ``grid``, and a third that ends at the image's edge."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.array_shape], indexing="ij")
    label = np.zeros(grid.array_shape, np.uint8)
    label[x**2 + y**2 + z**2 < 0.5] = 1
    label[(x - 0.35) ** 2 + y**2 + z**2 < 0.25] = 2
    label[z < -0.7] = 3
    return label


def labels_on(probabilities: np.ndarray, prepared: Grid, target: Grid) -> np.ndarray:
    """The most probable labels of probabilities that come in one block."""
    blocks = [(0, torch.from_numpy(probabilities))]
    return restore.labels_on(blocks, prepared=prepared, target=target)


def round_trip(label: np.ndarray, native: Grid, tmp_path: Path, **changes) -> sitk.Image:
    """The file that a perfect network gives: the prepared label as one-hot probabilities, written natively."""
    image = images.from_array(label.astype(np.float32), native)
    done = preparation.prepare_arrays(
        image, images.from_array(label, native), RECIPE | changes, labels=(1, 2, 3)
    )
    one_hot = (np.arange(4).reshape(4, 1, 1, 1)[:4] == done.label[None]).astype(np.float32)
    record = {
        "native_grid": done.native.to_json(),
        "oriented_grid": done.oriented.to_json(),
        "prepared_grid": done.grid.to_json(),
    }
    label = labels_on(one_hot, done.grid, done.oriented)
    export.write_native(tmp_path / "case.nii.gz", label, record)
    return images.read_label_file(tmp_path / "case.nii.gz")


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR", "SLA"])
def test_at_unchanged_spacing_a_perfect_output_comes_back_exactly(code: str, tmp_path: Path) -> None:
    native = oblique((20, 17, 11), (0.8, 0.9, 2.5), code=code)
    label = balls(native)
    found = round_trip(label, native, tmp_path)
    assert np.array_equal(images.label_array(found, where="case"), label)
    assert images.grid_of(found).differences(native) == []


@pytest.mark.parametrize(
    "changes", [{"spacing_mm": [1.5, 1.5, 1.5]}, {"spacing_mm": [0.5, 0.7, 1.0]}, {"size": [16, 24, 16]}]
)
@pytest.mark.parametrize("code", ["LPS", "ASR"])
def test_after_resampling_a_perfect_output_nearly_comes_back(changes, code: str, tmp_path: Path) -> None:
    native = oblique((40, 36, 24), (0.8, 0.9, 1.5), code=code)
    label = balls(native)
    found = images.label_array(round_trip(label, native, tmp_path, **changes), where="case")
    assert [dice(found == value, label == value) >= 0.9 for value in (1, 2, 3)] == [True] * 3


@settings(max_examples=60, deadline=None)
@given(code=st.sampled_from(CODES), start=st.sampled_from(CODES), degrees=st.floats(-40, 40))
def test_reordering_undoes_an_orientation(code: str, start: str, degrees: float) -> None:
    native = oblique((3, 4, 5), (1.0, 2.0, 3.0), code=start, degrees=degrees)
    array = np.arange(60).reshape(native.array_shape)
    turned = sitk.DICOMOrient(images.from_array(array, native), code)
    back = export.reorder(sitk.GetArrayFromImage(turned), images.grid_of(turned), native)
    assert np.array_equal(back, array)


def test_reordering_refuses_grids_that_hold_other_places() -> None:
    native = oblique((3, 4, 5), (1.0, 2.0, 3.0))
    moved = Grid(native.size, native.spacing_mm, (0.0, 12.25, 7.0), native.direction)
    turned = oblique((3, 4, 5), (1.0, 2.0, 3.0), degrees=20.0)
    with pytest.raises(SegtraceError, match=r"not the same voxels: origin"):
        export.reorder(np.zeros(native.array_shape), native, moved)
    with pytest.raises(SegtraceError, match="differ by more than an order of axes"):
        export.reorder(np.zeros(native.array_shape), native, turned)


def test_a_picture_of_another_size_comes_back(tmp_path: Path) -> None:
    native = Grid((50, 30), (1.0, 1.0), (0.0, 0.0), LINE)
    label = np.zeros((30, 50), np.uint8)
    label[5:20, 10:45] = 1
    image = images.from_array(label.astype(np.float32), native)
    recipe = RECIPE | {"orientation": None, "size": [32, 32]}
    done = preparation.prepare_arrays(image, images.from_array(label, native), recipe, labels=(1,))
    record = {
        "native_grid": done.native.to_json(),
        "oriented_grid": done.oriented.to_json(),
        "prepared_grid": done.grid.to_json(),
    }
    one_hot = (np.arange(2).reshape(2, 1, 1) == done.label[None]).astype(np.float32)
    export.write_native(tmp_path / "case.png", labels_on(one_hot, done.grid, done.oriented), record)
    export.write_prepared(tmp_path / "prepared.png", labels_on(one_hot, done.grid, done.grid), record)
    assert dice(images.read_picture(tmp_path / "case.png") == 1, label == 1) > 0.95
    assert np.array_equal(images.read_picture(tmp_path / "prepared.png"), done.label)
