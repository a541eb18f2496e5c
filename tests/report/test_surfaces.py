"""Surfaces: the right size in millimetres, nothing for nothing, whole after packing."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from segtrace.report import surfaces
from segtrace.report.cases import Scene
from segtrace.report.packing import unpacked


def ball(shape: tuple[int, ...], spacing: tuple[float, ...], *, radius: float) -> np.ndarray:
    """A ball of ``radius`` mm in the middle of a volume (D, H, W)."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    middle = sum(((a + 0.5 - n / 2) * s) ** 2 for a, n, s in zip(axes, shape, spacing, strict=True))
    return (middle <= radius**2).astype(np.uint8)


def scene(reference: np.ndarray, spacing: tuple[float, ...], **predictions: np.ndarray) -> Scene:
    return Scene(np.zeros_like(reference), 0.0, 1.0, spacing, reference, predictions)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((60, 60, 60), (1.0, 1.0, 1.0)), ((16, 60, 50), (4.0, 1.0, 1.25)), ((110, 110, 120), (0.5, 0.5, 0.5))],
)
def test_a_ball_has_its_volume_and_box_in_millimetres(shape, spacing):
    mask = ball(shape, spacing, radius=20.0)
    cell = surfaces.frame_of(scene(mask, spacing)).cell_mm
    (part,) = surfaces.surface(mask, spacing, labels=[1], cell_mm=cell)
    volume = surfaces.volume_mm3(part.vertices, part.triangles)
    assert volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.06)
    middle = np.array([n * s / 2 for n, s in zip(shape, spacing, strict=True)])[::-1]
    slack = max(spacing)
    assert part.vertices.min(axis=0) == pytest.approx(middle - 20, abs=slack)
    assert part.vertices.max(axis=0) == pytest.approx(middle + 20, abs=slack)


def test_a_surface_is_closed():
    (part,) = surfaces.surface(ball((20, 20, 20), (1.0,) * 3, radius=7), (1.0,) * 3, labels=[1], cell_mm=1.0)
    edges = np.sort(part.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_of_an_empty_mask_there_is_no_surface():
    empty = np.zeros((8, 9, 10), np.uint8)
    assert surfaces.surface(empty, (1.0, 1.0, 1.0), labels=[1], cell_mm=1.0) == []
    assert surfaces.views(scene(empty, (1.0, 1.0, 1.0), x=empty), [1]) is None
    solid = ball(empty.shape, (1.0,) * 3, radius=3)
    frame, found = surfaces.views(scene(solid, (1.0,) * 3, x=empty), [1])
    assert found["x"] == []
    made = surfaces.content(found["x"], frame)
    assert made["parts"] == []
    assert len(unpacked(made["vertices"])) == 0
    assert not np.array(pixels(surfaces.still(found["x"], frame))).any()


def test_a_single_voxel_is_not_lost_in_coarse_cells():
    mask = ball((60, 60, 60), (1.0,) * 3, radius=25)
    mask[2, 2, 2] = 2
    parts = surfaces.surface(mask, (1.0,) * 3, labels=[1, 2], cell_mm=3.0)
    assert [part.position for part in parts] == [0, 1]
    assert np.linalg.norm(parts[1].vertices.mean(axis=0) - 2.5) <= 3


def test_packed_surfaces_are_whole_and_bounded():
    spacing = (1.0, 1.0, 1.0)
    rough = (np.random.default_rng(0).random((50, 50, 50)) < 0.3).astype(np.uint8)
    frame, found = surfaces.views(scene(ball((50,) * 3, spacing, radius=20), spacing, x=rough), [1])
    for parts in found.values():
        assert sum(len(part.triangles) for part in parts) <= surfaces.TRIANGLES
        made = surfaces.content(parts, frame)
        places, corners = (
            np.cumsum(unpacked(made[key], "<u2"), dtype=np.uint16) for key in ("vertices", "triangles")
        )
        assert (corners.reshape(-1, 3) == parts[0].triangles).all()
        low, high = np.array(frame.low), np.array(frame.high)
        back = low + places.reshape(3, -1).T / 65535 * (high - low)
        assert np.abs(back - parts[0].vertices).max() <= (high - low).max() / 65535


def test_the_patient_is_seen_from_the_front_with_the_left_side_on_the_right():
    left, back, up = np.eye(3)
    seen = surfaces.projected(np.stack([left, back, up]), turn=0, tilt=0)
    assert seen.tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    from_above = surfaces.projected(up[None], turn=0, tilt=90)
    assert from_above == pytest.approx(np.array([[0, 0, 1]]))


def pixels(address: str) -> Image.Image:
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return Image.open(io.BytesIO(data)).convert("RGBA")


def test_still_picture_shows_the_nearer_label_and_is_the_same_again():
    spacing = (1.0, 1.0, 1.0)
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[10:30, 22:34, 10:30], mask[10:30, 6:18, 10:30] = 1, 2  # label 2 lies in front of 1
    frame, found = surfaces.views(scene(mask, spacing), [1, 2])
    address = surfaces.still(found[""], frame)
    assert address == surfaces.still(found[""], frame)
    drawn = np.array(pixels(address)).astype(int)
    assert drawn.shape == (surfaces.SIDE, surfaces.SIDE, 4)
    assert not drawn[0].any()
    middle = drawn[surfaces.SIDE // 2, surfaces.SIDE // 2]
    assert middle[3] == 255
    assert middle[2] > middle[0]  # blue, the second label's colour, not orange
