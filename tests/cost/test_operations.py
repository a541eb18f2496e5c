"""Multiply-accumulates: hand counts, published counts, and operations that state their own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import flop_counter

from registered_networks import registry
from segtrace import networks
from segtrace.cost import operations
from segtrace.errors import SegtraceError


def spec(name: str, *, channels: int = 3, classes: int = 1, dims: int = 2, **options) -> dict:
    return {
        "name": name,
        "in_channels": channels,
        "out_channels": classes,
        "spatial_dims": dims,
        "options": options,
    }


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1, stride=2), (2, 3, 16, 16), 2 * 8 * 8 * 8 * 3 * 9),
        (nn.Conv2d(6, 12, 3, padding=1, groups=3), (1, 6, 8, 8), 8 * 8 * 12 * 2 * 9),
        (nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6), (1, 6, 8, 8), 8 * 8 * 6 * 9),
        # each position of the input meets the whole kernel, whatever the stride
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (1, 8, 10, 10), 10 * 10 * 8 * 4 * 4),
        (nn.ConvTranspose3d(4, 6, 3, stride=2, padding=1, groups=2), (1, 4, 5, 5, 5), 5**3 * 4 * 3 * 27),
        (nn.Linear(7, 5), (4, 11, 7), 4 * 11 * 7 * 5),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 4, 8, 8), 0),
        (nn.Sequential(nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2)), (1, 4, 8, 8), 0),
    ],
)
def test_layers_are_counted_as_by_hand(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert operations.of_network(layer, shape) == expected


class Products(nn.Module):
    """Attention and einsum, which counters of layers overlook, and a weight that no layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        """(N, heads, T, 6) to the same."""
        seen = functional.scaled_dot_product_attention(x, x, x)
        return torch.einsum("nhtc,cd->nhtd", seen, self.weight)


def test_attention_and_einsum_are_counted() -> None:
    heads, tokens, width = 2, 10, 6
    attention = 2 * heads * tokens * tokens * width
    assert operations.of_network(Products(), (1, heads, tokens, width)) == attention + heads * tokens * 36


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("transposed", 12.07), ("wide", 48.23), ("bilinear", 40.19), ("nested", 14.10), ("nearest", 65.52)],
)
def test_unets_meet_the_published_counts(variant: str, expected: float) -> None:
    """12.07 is of convolutions alone; the others hold what their tools count of normalisations and poolings."""
    found = operations.of_spec(spec("unet", variant=variant), (256, 256)) / 1e9
    assert found == pytest.approx(expected, rel=0.0005 if variant == "transposed" else 0.012)
    assert found <= expected + 0.005


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("attention_unet", {}, 66.63),
        ("unet_plus_plus", {}, 34.90),
        ("resunet_plus_plus", {}, 15.81),
        ("unext", {}, 0.573),
        ("unext", {"widths": [8, 16, 32, 64, 128]}, 0.104),
    ],
)
def test_other_networks_are_a_little_below_the_counts_of_their_programs(
    name: str, options: dict, expected: float
) -> None:
    """Those were made by a tool that adds normalisations and poolings, up to 5 % of the smallest network."""
    found = operations.of_spec(spec(name, **options), (256, 256)) / 1e9
    assert 0.95 * expected < found < expected


def test_what_fvcore_counts_more_of_a_unet_is_its_batch_normalisation() -> None:
    """48.23 of the published program with transposed convolutions: two a value of each normalisation."""
    network = networks.create("unet", in_channels=3, out_channels=1, variant="wide").to("meta")
    values = [0]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _m, _i, y: values.__setitem__(0, values[0] + y.numel()))
    found = operations.of_network(network, (1, 3, 256, 256)) + 2 * values[0]
    assert f"{found / 1e9:.2f}" == "48.23"


@registry
def test_every_network_can_be_counted(name: str, dims: int, options: dict) -> None:
    asked = spec(name, channels=2, classes=3, dims=dims, **options)
    network = operations.build(asked)
    assert all(parameter.is_meta for parameter in network.parameters())
    shape = operations.fitting(network, (33,) * dims)
    one, two = (operations.of_network(network, (batch, 2, *shape)) for batch in (1, 2))
    assert 0 < one < two == 2 * one
    assert operations.of_spec(asked, (33,) * dims) == one
    stated = [m for m in network.modules() if hasattr(m, operations.STATED)]
    # half the classes' convolution is gone with half the classes: the head is counted
    fewer = operations.of_spec(asked | {"out_channels": 1}, (33,) * dims)
    assert stated or fewer < one


def test_counting_leaves_torchs_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    operations.of_spec(spec("swin_unetr", channels=1, depths=[1] * 4, heads=[1, 1, 2, 2], window=2), (64, 64))
    assert torch.equal(torch.rand(3), expected)


class Scan(nn.Module):
    """A recurrence by elementwise products, which no formula of torch knows: it states its own count."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def multiply_accumulates(self, x: Tensor) -> int:
        """Two products a value."""
        return 2 * x.numel()

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        return torch.cumsum(self.inner(x) * x, dim=-1)


def test_a_modules_own_count_stands_for_all_within_it() -> None:
    linear = nn.Linear(6, 6)
    x = (5, 6)
    assert operations.of_network(linear, x) == 180
    assert operations.of_network(nn.Sequential(linear, Scan(nn.Linear(6, 6))), x) == 180 + 60
    assert operations.of_network(nn.Sequential(Scan(Scan(nn.Linear(6, 6))), linear), x) == 60 + 180


@torch.library.custom_op("segtrace_tests::scan", mutates_args=())
def scan(x: Tensor, state: int) -> Tensor:
    """A recurrence in a kernel of its own."""
    return torch.cumsum(x, dim=-1) * state


@scan.register_fake
def _(x: Tensor, state: int) -> Tensor:
    del state
    return torch.empty_like(x)


@flop_counter.register_flop_formula(torch.ops.segtrace_tests.scan)
def _scan_flops(x_shape, state, *_, **__) -> int:
    return 2 * 3 * state * torch.Size(x_shape).numel()


class Recurrent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return scan(x, 4)


def test_a_custom_operation_states_its_count_to_torch() -> None:
    assert operations.of_network(nn.Sequential(nn.Linear(6, 6), Recurrent()), (5, 6)) == 180 + 3 * 4 * 30


class Curious(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.max())


def test_a_network_that_reads_values_is_refused() -> None:
    with pytest.raises(SegtraceError, match=r"multiply-accumulates of Curious for .* cannot be counted"):
        operations.of_network(Curious(), (1, 2))
