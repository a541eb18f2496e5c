"""UNeXt's shift is that of its description, and SC-UNeXt's switches are what the paper's formulas say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from segtrace import networks
from segtrace.errors import SegtraceError
from segtrace.networks.unext import shifted


def as_described(x, *, axis):
    """Pad by 2 on all sides, roll the five groups by -2 … 2, cut the padding off."""
    rows, columns = x.shape[1:3]
    padded = functional.pad(x, (0, 0, 2, 2, 2, 2))
    groups = torch.chunk(padded, 5, dim=3)
    rolled = [torch.roll(group, step, dims=axis) for group, step in zip(groups, range(-2, 3), strict=False)]
    return torch.cat(rolled, dim=3)[:, 2 : 2 + rows, 2 : 2 + columns]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(5, 14), st.sampled_from([1, 2]))
def test_a_shift_is_padding_rolling_and_cropping_to_the_bit(rows, columns, channels, axis):
    x = torch.randn(
        2, rows, columns, channels, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    found, expected = shifted(x, axis=axis), as_described(x, axis=axis)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, expected)]
    assert torch.equal(*gradients)


def test_groups_move_as_far_as_the_description_says_and_along_one_axis():
    x = torch.zeros(1, 5, 5, 5)
    x[0, 2, 2] = 1
    assert shifted(x, axis=1).nonzero()[:, 1:].tolist() == [
        [0, 2, 0],
        [1, 2, 1],
        [2, 2, 2],
        [3, 2, 3],
        [4, 2, 4],
    ]
    assert shifted(x, axis=2).nonzero()[:, 1:].tolist() == [
        [2, 0, 0],
        [2, 1, 1],
        [2, 2, 2],
        [2, 3, 3],
        [2, 4, 4],
    ]


def test_weights_are_drawn_as_published():
    torch.manual_seed(0)
    network = networks.create("unext", in_channels=3, out_channels=1)
    block = network.tokens[1].block
    for linear in (block.rows, block.columns):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert not linear.bias.any()
    assert block.depthwise.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert network.tokens[0].embed.weight.std().item() == pytest.approx((2 / (9 * 160)) ** 0.5, rel=0.02)
    bound = (1 / (3 * 9)) ** 0.5  # torch's own for a plain convolution: uniform
    assert bound * 0.95 < network.down[0][0].weight.abs().max().item() <= bound


def sc(**options):
    torch.manual_seed(0)
    return networks.create("sc_unext", in_channels=3, out_channels=1, **options).eval()


def test_without_its_switches_sc_unext_is_unext_small():
    plain = sc(skip=False, fusion=False)
    torch.manual_seed(0)
    unext = networks.create("unext", in_channels=3, out_channels=1, widths=[8, 16, 32, 64, 128]).eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(plain(x), unext(x))


def test_the_skip_multiplies_and_adds_the_raised_feature():
    network = sc(attention=False)
    skip, raised = torch.randn(2, 1, 8, 4, 4)
    assert torch.equal(network.join(skip, raised, level=0), raised * skip + raised)
    attended = sc()
    expected = raised * attended.attention[0](skip) + raised
    assert torch.equal(attended.join(skip, raised, level=0), expected)
    assert torch.equal(sc(skip=False).join(skip, raised, level=0), skip + raised)


def test_the_fusion_sums_the_levels_at_half_size():
    network = sc()
    _, _, decoder = network.forward_features(torch.randn(1, 3, 64, 64))
    expected = decoder[4] + sum(network.pyramid.grow[level](decoder[1 + level]) for level in range(3))
    found = network.fuse(decoder)
    assert found.shape == (1, 8, 32, 32)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["unext", "sc_unext"])
def test_widths_are_five(name):
    with pytest.raises(SegtraceError, match=rf"{name}: widths \[8, 16\] are 2 numbers; it has 5 levels"):
        networks.create(name, in_channels=1, out_channels=2, widths=[8, 16])
