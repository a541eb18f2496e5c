"""Sliding-window prediction: MONAI's numbers, whole images, padding."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from segtrace import networks, sliding, windows
from segtrace.errors import SegtraceError
from segtrace.sliding import predict_logits, predict_planes

torch.set_num_threads(1)  # small tensors: more threads only wait for each other


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return networks.create("dynunet", in_channels=1, out_channels=3, spatial_dims=3, filters=[4, 6, 8]).eval()


@pytest.fixture(scope="module")
def flat():
    torch.manual_seed(0)
    return networks.create("unet", in_channels=2, out_channels=2, widths=[4, 6, 8, 8, 8]).eval()


@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("shape", [(16, 20, 33), (9, 16, 40)])
def test_equals_monai_in_3d(network, shape, overlap, weighting):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(2))
    ours = predict_logits(network, image, window=[16, 16, 16], overlap=overlap, weighting=weighting, batch=3)
    with torch.no_grad():
        theirs = sliding_window_inference(
            image[None], (16, 16, 16), 1, network, overlap=overlap, mode=weighting, padding_mode="replicate"
        )[0]
    assert ours.shape == (3, *shape)
    assert (ours - theirs).abs().max() < 1e-5


def test_equals_monai_in_2d(flat):
    image = torch.randn(2, 50, 37)
    ours = predict_logits(flat, image, window=[32, 32], overlap=0.25, weighting="gaussian")
    with torch.no_grad():
        theirs = sliding_window_inference(image[None], (32, 32), 1, flat, overlap=0.25, mode="gaussian")[0]
    assert (ours - theirs).abs().max() < 1e-5


def test_a_whole_image_is_padded_with_edge_values_and_cut_back(flat):
    image = torch.randn(2, 30, 47)
    found = predict_logits(flat, image.numpy(), window=None)
    padded = torch.nn.functional.pad(image[None], (0, 1, 1, 1), mode="replicate")
    with torch.no_grad():
        assert torch.allclose(found, flat(padded)[0][:, 1:31, :47], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 90), window=st.integers(1, 40), overlap=st.floats(0, 0.9))
def test_windows_cover_every_voxel_and_stay_inside(size, window, overlap):
    size = max(size, window)
    starts = windows.axis_starts(size, window, overlap)
    covered = np.zeros(size, bool)
    for start in starts:
        assert 0 <= start <= size - window
        covered[start : start + window] = True
    assert covered.all()
    assert starts == sorted(set(starts))


def test_the_number_of_windows_at_once_changes_nothing(network):
    image = torch.randn(1, 24, 24, 24)
    one = predict_logits(network, image, window=[16, 16, 16], batch=1)
    many = predict_logits(network, image, window=[16, 16, 16], batch=8)
    assert torch.allclose(one, many, atol=1e-4)


def test_the_mode_of_the_network_is_kept(flat):
    flat.train()
    before = {k: v.clone() for k, v in flat.state_dict().items()}
    predict_logits(flat, torch.randn(2, 32, 32), window=None)
    assert flat.training
    assert all(torch.equal(v, before[k]) for k, v in flat.state_dict().items())
    flat.eval()


def test_bfloat16_comes_back_as_float32(flat):
    assert predict_logits(flat, torch.randn(2, 32, 32), window=None, precision="bf16").dtype == torch.float32


def test_an_unfit_window_is_named(flat):
    with pytest.raises(SegtraceError, match=r"inference window \[32, 20\].*a multiple of 16"):
        predict_logits(flat, torch.randn(2, 32, 32), window=[32, 20])


class Mirrored(torch.nn.Module):
    """A network that averages what another says of all mirrored forms of its input, by its own words."""

    def __init__(self, network: torch.nn.Module, axes: list[int]) -> None:
        super().__init__()
        self.network, self.divisor = network, network.divisor
        self.flips = [
            [axis + 2 for axis, flipped in zip(axes, choice, strict=True) if flipped]
            for choice in itertools.product((False, True), repeat=len(axes))
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        looks = [self.network(x.flip(f)).flip(f) for f in self.flips]
        return torch.stack(looks).mean(dim=0)


@pytest.mark.parametrize("axes", [[1], [0, 2], [2, 1, 0]])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_mirrored_is_the_average_of_flipped_predictions(network, axes, batch):
    image = torch.randn(1, 20, 16, 19)
    ours = predict_logits(network, image, window=[16, 16, 16], batch=batch, mirror=axes)
    plain = predict_logits(Mirrored(network, axes), image, window=[16, 16, 16])
    assert (ours - plain).abs().max() < 1e-5
    assert (ours - predict_logits(network, image, window=[16, 16, 16])).abs().max() > 1e-2


def test_mirrored_in_one_piece_is_the_average_over_flipped_images(flat):
    image = torch.randn(2, 32, 48)
    ours = predict_logits(flat, image, window=None, mirror=[0, 1])
    looks = [predict_logits(flat, image.flip(f), window=None).flip(f) for f in ([], [1], [2], [1, 2])]
    assert (ours - torch.stack(looks).mean(0)).abs().max() < 1e-5


@pytest.mark.parametrize("mirror", [[2], [0, 0], [-1]])
def test_axes_that_the_image_does_not_have_are_named(flat, mirror):
    with pytest.raises(SegtraceError, match=r"inference mirror \[.*the axes of this image are 0 to 1"):
        predict_logits(flat, torch.randn(2, 32, 32), window=None, mirror=mirror)


def planes_of(nets, image, **options):
    """The blocks of ``predict_planes`` put together, and where each began."""
    blocks = [(first, block.clone()) for first, block in predict_planes(nets, image, **options)]
    assert [first for first, _ in blocks] == list(
        itertools.accumulate([block.shape[2] for _, block in blocks[:-1]], initial=0)
    )
    return torch.cat([block for _, block in blocks], dim=2), len(blocks)


@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(53, 20, 17), (9, 16, 40), (20, 9, 16)])
def test_the_slab_form_is_the_whole_form(network, shape, overlap, weighting, monkeypatch):
    monkeypatch.setattr(sliding, "BLOCK_VALUES", 6 * shape[1] * shape[2])
    image = torch.randn(1, *shape)
    options = {"window": [16, 16, 16], "overlap": overlap, "weighting": weighting, "batch": 3}
    whole = predict_logits(network, image, **options)
    found, blocks = planes_of([network], image, **options)
    assert found.shape == (1, *whole.shape)
    assert (found[0] - whole).abs().max() < 1e-6
    assert blocks > 1 or shape[0] == 9


def test_the_slab_form_in_2d_with_mirroring_and_skipping(flat):
    image = torch.randn(2, 130, 37)
    image[:, 40:100] = 0.5
    options = {"window": [32, 32], "overlap": 0.5, "mirror": [1], "skip_empty": True}
    whole = predict_logits(flat, image, **options)
    found, blocks = planes_of([flat], image, **options)
    assert (found[0] - whole).abs().max() < 1e-5 * sliding.CERTAIN
    assert torch.equal(found[0].argmax(0), whole.argmax(0))
    assert blocks > 2


def test_several_networks_are_each_as_alone(network, flat):
    torch.manual_seed(5)
    other = networks.create("dynunet", in_channels=1, out_channels=3, spatial_dims=3, filters=[4, 6, 8])
    image = torch.randn(1, 40, 16, 20)
    both, _ = planes_of([network, other], image, window=[16, 16, 16])
    for number, net in enumerate((network, other)):
        assert torch.equal(both[number], planes_of([net], image, window=[16, 16, 16])[0][0])
    assert other.training


def test_the_slab_is_no_higher_than_needed(network, monkeypatch):
    heights = []
    add = sliding._add
    monkeypatch.setattr(
        sliding, "_add", lambda slab, *a, **k: (heights.append(slab.shape[1]), add(slab, *a, **k))[1]
    )
    planes_of([network], torch.randn(1, 160, 32, 32), window=[16, 16, 16], overlap=0.25, batch=1)
    assert set(heights) == {16}


class Counting(torch.nn.Module):
    """A network that says label 1 of every voxel, and counts the windows that it sees."""

    divisor, seen = 1, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return torch.stack([torch.zeros_like(x[:, 0]), torch.ones_like(x[:, 0])], dim=1)


@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
def test_empty_windows_are_background_with_certainty_and_are_not_run(weighting):
    net = Counting()
    image = torch.zeros(2, 16, 16, 64)
    image[1, :, :, 20:30] = torch.randn(16, 16, 10)
    options = {"window": [16, 16, 16], "overlap": 0.5, "weighting": weighting}
    found = predict_logits(net, image, **options, skip_empty=True)
    assert net.seen == 3  # of seven: those that begin at 8, 16 and 24
    share = torch.softmax(found, dim=0)
    assert (share[0, ..., :16] == 1).all()
    assert (share[0, ..., 32:] == 1).all()
    assert (found[1, ..., 16:32] == 1).all()
    assert (found[0, ..., 16:32] == 0).all()
    assert (predict_logits(net, image, **options).argmax(0) == 1).all()  # not asked for, nothing is skipped
    assert net.seen == 3 + 7


def test_an_image_without_anything_is_background(network):
    found = predict_logits(network, torch.ones(1, 40, 16, 16), window=[16, 16, 16], skip_empty=True)
    assert found.shape == (3, 40, 16, 16)
    assert (torch.softmax(found, dim=0)[0] == 1).all()


def test_skipped_windows_make_no_step_higher_than_two_rows_of_windows():
    from segtrace.windows import make_plan

    image = torch.zeros(1, 320, 32, 32)
    image[:, :20] = torch.randn(1, 20, 32, 32)
    for pixels in (image, torch.zeros_like(image)):
        plan = make_plan(
            [torch.nn.Identity()],
            pixels,
            window=[32, 32, 32],
            overlap=0.5,
            weighting="gaussian",
            batch=4,
            device="cpu",
            precision="fp32",
            mirror=(),
            skip_empty=True,
        )
        assert max(step.end - step.first for step in plan.steps) <= 48
        assert sum(len(step.run) + len(step.skipped) for step in plan.steps) == len(plan.starts[0])
