"""Pictures: the right slice, contours where they belong, physical shape."""

import base64
import io

import numpy as np
from PIL import Image

from segtrace import images, overlays
from segtrace.geometry import Grid
from segtrace.overlays import contours, displayed, most_labelled, window


def decoded(picture: overlays.Picture) -> np.ndarray:
    data = base64.b64decode(picture.png.removeprefix("data:image/png;base64,"))
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def painted(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=-1)


def test_slice_with_most_reference_is_shown():
    mask = np.zeros((5, 6, 7), np.uint8)
    mask[1, 2, 3] = 1
    mask[3, 2:4, 3:5] = 2
    assert [most_labelled(mask, axis=axis) for axis in range(3)] == [3, 2, 3]
    assert most_labelled(np.zeros((5, 6, 7), np.uint8), axis=2) == 3


def test_contours_separate_touching_labels_and_are_open_at_the_border():
    mask = np.zeros((20, 20), np.uint8)
    mask[:, :10], mask[:, 10:] = 1, 2
    edge = contours(mask)
    assert edge[:, 8:12].all()
    assert not edge[:, :8].any()
    assert not edge[:, 12:].any()


def test_window_holds_the_labels_and_at_least_half_of_each_side():
    mask = np.zeros((100, 40), bool)
    mask[2:4, 30:40] = True
    part = window(mask)
    assert mask[part].sum() == mask.sum()
    assert [p.stop - p.start for p in part] == [50, 20]
    assert window(np.zeros((9, 8), bool)) == (slice(0, 9), slice(0, 8))


def test_display_stretches_grey_and_keeps_colour():
    grey = displayed(np.linspace(-1000, 1000, 600, dtype=np.float32).reshape(1, 20, 30))
    assert (grey.shape, grey.min(), grey.max()) == ((20, 30), 0, 255)
    assert displayed(np.random.default_rng(0).random((3, 20, 30), np.float32)).shape == (20, 30, 3)
    assert displayed(np.full((1, 4, 4), 7, np.float32)).max() == 0


def test_planes_have_physical_shape_and_both_contours():
    # 10 slices of 4 mm, 40 x 40 pixels of 1 mm: every plane is 40 mm x 40 mm.
    grid = Grid((40, 40, 10), (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    image = images.from_array(np.random.default_rng(0).random((10, 40, 40), np.float32), grid)
    masks = np.zeros((2, 10, 40, 40), np.uint8)
    masks[0, 2:8, 10:30, 10:30] = 1
    masks[1, 2:8, 14:34, 10:30] = 1
    shown = list(overlays.pictures_of(image, *(images.from_array(mask, grid) for mask in masks)))
    assert [picture.plane for picture in shown] == ["axial", "coronal", "sagittal"]
    for picture in shown:
        assert abs(picture.width - picture.height) <= 1
        drawn = decoded(picture)
        assert drawn.shape == (picture.height, picture.width, 3)
        for colour in (overlays.REFERENCE_COLOUR, overlays.PREDICTION_COLOUR):
            assert painted(drawn, colour).sum() > 50
    rows = [
        np.nonzero(painted(decoded(shown[0]), c))[0].mean()
        for c in (overlays.REFERENCE_COLOUR, overlays.PREDICTION_COLOUR)
    ]
    assert rows[1] > rows[0]  # the prediction lies 4 mm further back, which is down


def test_flipped_volume_gives_the_same_picture():
    draw = np.random.default_rng(1)
    array = draw.random((6, 20, 16)).astype(np.float32)
    mask = np.zeros((6, 20, 16), np.uint8)
    mask[1:4, 3:9, 2:8] = 1
    straight = Grid((16, 20, 6), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    flipped = Grid((16, 20, 6), (1.0, 1.0, 2.0), (15.0, 19.0, 0.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    one = [images.from_array(a, straight) for a in (array, mask, mask)]
    other = [images.from_array(np.ascontiguousarray(a[:, ::-1, ::-1]), flipped) for a in (array, mask, mask)]
    assert [p.png for p in overlays.pictures_of(*one)] == [p.png for p in overlays.pictures_of(*other)]
