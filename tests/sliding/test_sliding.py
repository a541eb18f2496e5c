"""Sliding-window prediction: MONAI's numbers, whole images, padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from segtrace import networks, sliding
from segtrace.errors import SegtraceError
from segtrace.sliding import predict_logits

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
    starts = sliding._starts(size, window, overlap)
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
