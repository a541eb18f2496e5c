"""MSD Task01: four channels in the published order, and faults of one file."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from miniatures import msd_brats as miniature
from miniatures import nifti, noise
from segtrace import images
from segtrace.config import load
from segtrace.datasets import msd_brats
from segtrace.errors import SegtraceError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    miniature.build(tmp_path)
    with tarfile.open(tmp_path / "Task01_BrainTumour.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_channels_keep_their_order_and_values(root: Path) -> None:
    case = msd_brats.cases(root, {})[0]
    assert case.case == "BRATS_003"
    array = images.to_array(msd_brats.read_image(root, case, {}))
    assert array.shape == (4, *miniature.SHAPE)
    for channel in range(4):
        expected = noise(*miniature.SHAPE, seed=30 + channel).astype(np.float32) * (channel + 1)
        np.testing.assert_array_equal(array[channel], expected)
    assert load.dataset("msd_brats").channels == ["FLAIR", "T1w", "T1gd", "T2w"]
    label, notes = msd_brats.read_label(root, case, {})
    assert notes == []
    assert images.grid_of(label).size == tuple(reversed(miniature.SHAPE))


def test_a_label_of_four_channels_and_a_damaged_image_are_named(root: Path) -> None:
    case = msd_brats.cases(root, {})[0]
    (root / case.labels[0]).write_bytes(miniature.four_channels(0))
    with pytest.raises(SegtraceError, match=r"labelsTr/BRATS_003.nii.gz: 4 channels; a label map has one"):
        msd_brats.read_label(root, case, {})
    (root / case.images[0]).write_bytes(miniature.four_channels(0)[:-500])
    with pytest.raises(SegtraceError, match=r"imagesTr/BRATS_003.nii.gz: damaged gzip"):
        msd_brats.read_image(root, case, {})
    (root / case.images[0]).write_bytes(nifti(np.zeros(miniature.SHAPE, np.uint8)))
    assert (
        msd_brats.read_image(root, case, {}).GetNumberOfComponentsPerPixel() == 1
    )  # the index counts channels


def test_five_dimensions_are_refused(root: Path) -> None:
    case = msd_brats.cases(root, {})[0]
    parts = sitk.JoinSeries([sitk.JoinSeries([sitk.Image(4, 4, 4, sitk.sitkUInt8)] * 2)] * 2)
    (root / case.images[0]).unlink()
    sitk.WriteImage(parts, str(root / case.images[0]))
    with pytest.raises(SegtraceError, match=r"imagesTr/BRATS_003.*dimension"):
        msd_brats.read_image(root, case, {})
