"""Corrupted images, by hand: their units, their determinism, and the place of what is at another scale."""

import numpy as np
import pytest
import torch
import yaml

import toy_config
from segtrace import layout
from segtrace.config import load, runs
from segtrace.corruption import corrupted
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.predict import restore

FLAT = Grid((40, 30), (0.5, 2.0), (3.0, -1.0), (1.0, 0.0, 0.0, 1.0))
DEEP = Grid((12, 10, 8), (1.0, 1.5, 3.0), (1.0, 2.0, 3.0), (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
GRIDS = pytest.mark.parametrize("grid", [FLAT, DEEP], ids=["2-D", "3-D"])


def image(grid, seed=0, channels=2):
    draw = np.random.default_rng(seed)
    return draw.normal(5, 3, (channels, *grid.array_shape)).astype(np.float32)


@GRIDS
def test_none_is_the_image_itself(grid):
    clean = image(grid)
    assert corrupted(clean, grid, "none", case="a") == (clean, grid)


def test_noise_has_a_share_of_the_deviation_and_is_of_case_and_strength_alone():
    clean = np.zeros((2, 200, 300), np.float32)
    clean[0, :, ::2], clean[1, :, ::2] = 2, 200  # deviations of 1 and 100; nothing lies beyond 0 and 2
    grid = Grid((300, 200), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    made, same = corrupted(clean, grid, "noise_0.1", case="a")
    assert same == grid
    inside = [made[channel][clean[channel] == 0] for channel in (0, 1)]
    for values, deviation in zip(inside, (0.1, 10.0), strict=True):  # half of it is cut off at 0
        assert np.sqrt(2 * np.mean(values.astype(float) ** 2)) == pytest.approx(deviation, rel=0.03)
        assert (values == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.corrcoef(inside[0], inside[1])[0, 1]) < 0.02  # a channel has noise of its own
    again, _ = corrupted(clean.copy(), grid, "noise_0.1", case="a")
    assert again.tobytes() == made.tobytes()
    for name, case in (("noise_0.2", "a"), ("noise_0.1", "b")):
        other, _ = corrupted(clean, grid, name, case=case)
        assert np.corrcoef(inside[0], other[0][clean[0] == 0])[0, 1] < 0.05


@GRIDS
def test_contrast_is_about_the_mean_and_stays_in_range(grid):
    clean = image(grid)
    low, _ = corrupted(clean, grid, "contrast_0.5", case="a")
    for one, other in zip(clean, low, strict=True):
        np.testing.assert_allclose(other, one.mean() + 0.5 * (one - one.mean()), atol=1e-5)
    high, _ = corrupted(clean, grid, "contrast_3", case="a")
    for one, other in zip(clean, high, strict=True):
        assert (other.min(), other.max()) == (one.min(), one.max())


def test_blur_is_in_voxels_along_every_axis():
    for axes in (2, 3):
        side = 41
        grid = Grid((side,) * axes, (1.0, 5.0, 9.0)[:axes], (0.0,) * axes, tuple(np.eye(axes).ravel()))
        clean = np.zeros((1, *grid.array_shape), np.float32)
        clean[(0, *([side // 2] * axes))] = 1
        made, _ = corrupted(clean, grid, "blur_2", case="a")
        places = np.arange(side) - side // 2
        for axis in range(axes):
            along = made[0].sum(axis=tuple(other for other in range(axes) if other != axis))
            assert np.sqrt((along * places**2).sum()) == pytest.approx(2, rel=0.01)
    flat, _ = corrupted(
        np.full((1, 9, 9), 7, np.float32),
        Grid((9, 9), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)),
        "blur_3",
        case="a",
    )
    assert (flat == 7).all()


@GRIDS
@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2])
def test_another_scale_covers_the_same_field_of_view(grid, factor):
    made, scaled = corrupted(image(grid), grid, f"scale_{factor:g}", case="a")
    assert made.shape == (2, *scaled.array_shape)
    assert scaled.size == tuple(round(n * factor) for n in grid.size)
    corners = [grid.world(np.full(grid.dimensions, -0.5)), grid.world(np.array(grid.array_shape) - 0.5)]
    again = [scaled.world(np.full(grid.dimensions, -0.5)), scaled.world(np.array(scaled.array_shape) - 0.5)]
    np.testing.assert_allclose(again, corners, atol=1e-9)
    assert scaled.direction == grid.direction


@GRIDS
def test_a_ramp_keeps_its_values_in_place_at_another_scale(grid):
    ramp = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid.array_shape), indexing="ij"))
    for name in ("scale_0.5", "scale_2"):
        made, scaled = corrupted(ramp, grid, name, case="a")
        inside = tuple(slice(2, -2) for _ in grid.array_shape)
        for axis, values in enumerate(made):
            count = scaled.array_shape[axis]
            old = (np.arange(count) + 0.5) * grid.array_shape[axis] / count - 0.5
            expected = np.expand_dims(old, [other for other in range(grid.dimensions) if other != axis])
            found = values[inside]
            np.testing.assert_allclose(found, np.broadcast_to(expected, values.shape)[inside], atol=0.12)


def test_what_is_found_at_another_scale_is_put_back_where_it_is():
    """A perfect network at half and at double scale finds the disc where it lies."""
    grid = Grid((64, 48), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    rows, columns = np.mgrid[:48, :64]
    disc = ((rows - 20) ** 2 + (columns - 37) ** 2 < 12**2).astype(np.float32)
    for name, least in (("scale_0.5", 0.96), ("scale_2", 0.99)):
        made, scaled = corrupted(disc[None], grid, name, case="a")
        shares = torch.from_numpy(np.concatenate([1 - made, made]))
        labels = restore.labels_on([(0, shares)], prepared=scaled, target=grid)
        assert 2 * (labels * disc).sum() / (labels.sum() + disc.sum()) > least


@pytest.mark.parametrize(
    "name", ["smear_2", "noise", "noise_", "noise_-1", "noise_0.10", "noise_1e3", "noise_01"]
)
def test_names_that_there_are_not_are_refused(name):
    with pytest.raises(SegtraceError, match="no corruption"):
        layout.parse_corruption(name)


def test_names_go_there_and_back():
    for kind, strength in (("noise", 0.05), ("blur", 4), ("contrast", 1.5), ("scale", 0.123456)):
        name = layout.corruption_name(kind, strength)
        assert layout.parse_corruption(name) == (kind, strength)
        assert layout.parse_variant(f"test-last-native-{name}").corruption == name
    for strength in (1e-7, 0.1234567, -1.0):
        with pytest.raises(SegtraceError, match="at most six digits"):
            layout.corruption_name("noise", strength)


def experiment(tmp_path, monkeypatch, corruptions):
    monkeypatch.chdir(tmp_path)
    toy_config.write(dimensions=2)
    path = tmp_path / "config/experiments/toy.yaml"
    path.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text()) | {"corruptions": corruptions}, sort_keys=False)
    )
    return load.experiment("toy")


def test_an_experiment_names_its_variants(tmp_path, monkeypatch):
    found = experiment(tmp_path, monkeypatch, {"scale": [0.5, 1.5], "noise": [0.1]})
    assert [str(variant) for variant in runs.corrupted_variants(found)] == [
        "test-last-native-scale_0.5",
        "test-last-native-scale_1.5",
        "test-last-native-noise_0.1",
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"smear": [1]}, "corruptions"),
        ({"noise": []}, "at least 1 item"),
        ({"noise": [0.1, 0.1]}, "0.1 is given twice"),
        ({"blur": [0]}, "blur of 0: a strength lies above 0 and up to 100"),
        (
            {"scale": [8], "contrast": [1]},
            "scale of 8: a strength lies above 0.1 and up to 4; contrast of 1 is the clean",
        ),
        ({"noise": [1e-6]}, "a strength is a number of at most six digits"),
    ],
)
def test_corruptions_that_mean_nothing_are_refused(tmp_path, monkeypatch, given, told):
    with pytest.raises(SegtraceError, match="corruptions") as error:
        experiment(tmp_path, monkeypatch, given)
    assert told in str(error.value)
