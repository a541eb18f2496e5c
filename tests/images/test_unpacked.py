"""A small compressed volume is read from an unpacked copy: the same image as from the file itself."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segtrace import headers_nifti, images
from segtrace.errors import SegtraceError


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_copy_and_file_give_one_image(kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    image = sitk.GetImageFromArray((random.random((5, 6, 7)) * 200).astype(kind))
    image.SetSpacing((0.7, 1.1, 3.3))
    image.SetOrigin((-11.3, 7.7, 101.9))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(image, str(path))
    places: list[str] = []
    read = sitk.ReadImage

    def noted(place: str, **options: str) -> sitk.Image:
        places.append(place)
        return read(place, **options)

    monkeypatch.setattr(sitk, "ReadImage", noted)
    found = []
    for limit in (1 << 20, 400):  # the whole content, and less than all
        monkeypatch.setattr(headers_nifti, "PLAIN_BYTES", limit)
        found.append(images.read_volume(path))
    assert places[0] != str(path)
    assert places[1] == str(path)
    assert images.grid_of(found[0]) == images.grid_of(found[1])
    assert found[0].GetPixelID() == found[1].GetPixelID()
    np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, found))


def test_errors_name_the_file_and_no_copy_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7), np.float32)), str(path))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SegtraceError, match=r"a\.nii\.gz"):
        images.read_volume(path)
    assert not list((tmp_path / "copies").iterdir())
