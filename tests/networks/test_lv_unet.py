"""LV-UNet's slope follows its training, is stored with the weights, and at 1 the network merges."""

import math

import pytest
import torch
from torch import nn

from segtrace import checkpoint, networks
from segtrace.errors import SegtraceError
from segtrace.networks.lv_unet import Block, merged

torch.set_num_threads(1)


def make(**options):
    torch.manual_seed(0)
    return networks.create("lv_unet", in_channels=3, out_channels=1, **options)


def unsettled(network):
    """The network in evaluation mode, its normalisations drawn so that none of their parts is 0 or 1."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.weight, part.running_var):
                nn.init.uniform_(value, 0.5, 1.5)
            for value in (part.bias, part.running_mean):
                nn.init.normal_(value, std=0.3)
        if isinstance(part, Block):  # drawn so small at first that inputs would hardly be seen in the logits
            nn.init.normal_(part.depthwise[0].weight, std=0.5)
    return network.eval()


def test_merged_it_gives_the_same_logits_at_the_end_of_deep_training():
    network = make()
    network.set_progress(1.0)
    small = merged(unsettled(network))
    x = torch.randn(2, 3, 128, 256)
    with torch.inference_mode():
        expected, found = network(x), small(x)
    assert expected.std() > 0.05
    assert (expected - found).abs().max() <= 1e-4
    assert sum(p.numel() for p in small.parameters()) == 513_585


def test_a_slope_below_one_would_merge_into_another_network_and_is_refused():
    network = make()
    network.set_progress(299 / 300)  # where the published program ends
    assert float(network.slope) == pytest.approx(0.9948, abs=1e-4)
    with pytest.raises(SegtraceError, match=r"slope of its activation is 0\.9948"):
        merged(unsettled(network))
    x = torch.randn(1, 3, 128, 128)
    before = network(x)
    network.set_progress(1.0)
    assert not torch.allclose(before, network(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_activation_between_the_convolutions_is_a_leaky_relu_of_the_schedules_slope(share):
    network = make()
    network.set_progress(share)
    slope = 1 - math.cos(math.pi / 2 * share)
    assert float(network.slope) == pytest.approx(slope, abs=1e-7)
    block = Block(4, 6, down=True, merged=False).eval()
    x = torch.randn(2, 4, 8, 8)
    between = nn.functional.leaky_relu(block.first(x), slope)
    expected = block.depthwise(nn.functional.max_pool2d(block.second(between), 2).relu())
    assert torch.allclose(block(x, network.slope), expected, atol=1e-6)


def test_without_deep_training_the_slope_stays_zero():
    network = make(deep_training=False)
    network.set_progress(1.0)
    assert float(network.slope) == 0


def test_a_checkpoint_holds_the_slope(tmp_path):
    network = make()
    network.set_progress(0.5)
    checkpoint.save(tmp_path / "w.safetensors", network.state_dict(), metadata={})
    other = make()
    checkpoint.load_weights(tmp_path / "w.safetensors", other)
    assert float(other.slope) == pytest.approx(1 - math.cos(math.pi / 4))
    assert not any("slope" in key for key in make(merged=True).state_dict())
