"""EMIS: the counts of its reading with self-distillation's heads, and attention that stays small."""

import pytest
import torch

from segtrace import networks
from segtrace.errors import SegtraceError
from segtrace.networks.emis import Attention, Fusion, _resized

PARTS = {
    "unet": ({"attention": False, "fusion": None}, False),
    "attention": ({"fusion": None}, False),
    "distillation": ({"attention": False, "fusion": None}, True),
    "fusion": ({"attention": False}, False),
    "emis": ({}, True),
}


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("unet", 64, 25_815_233),
        ("attention", 64, 26_688_041),
        ("distillation", 64, 25_816_132),
        ("fusion", 64, 27_851_969),
        ("emis", 64, 28_725_676),
        ("unet", 32, 6_457_441),
        ("attention", 32, 6_676_249),
        ("distillation", 32, 6_457_892),
        ("fusion", 32, 6_967_905),
        ("emis", 32, 7_187_164),
    ],
)
def test_network_and_heads_of_self_distillation_count_what_the_reading_counts(name, base, expected):
    options, distils = PARTS[name]
    with torch.device("meta"):
        network = networks.create("emis", in_channels=3, out_channels=1, base=base, **options)
    found = sum(p.numel() for p in network.parameters())
    heads = sum(channels + 1 for channels in network.decoder_channels[1:])  # 1×1 to one class, inner levels
    assert found + (heads if distils else 0) == expected


def test_attention_to_all_places_is_that_of_its_formula():
    torch.manual_seed(0)
    attention = Attention(16, places=16)
    torch.nn.init.ones_(attention.gamma)
    x = torch.randn(2, 16, 5, 7)
    query, key, value = (layer(x).flatten(2) for layer in (attention.query, attention.key, attention.value))
    weights = torch.softmax(torch.einsum("ncp,ncq->npq", query, key) / 2**0.5, dim=2)
    expected = x + torch.einsum("npq,ncq->ncp", weights, value).view(x.shape)
    assert torch.allclose(attention(x), expected, atol=1e-5)


def test_attention_starts_as_the_identity():
    attention, x = Attention(8, places=16), torch.randn(1, 8, 6, 6)
    assert torch.equal(attention(x), x)


@pytest.mark.parametrize("size", [(256, 256), (48, 528), (16, 33)])
def test_keys_and_values_come_from_at_most_16_by_16_places(size):
    seen = []
    attention = Attention(2, places=16)
    attention.key.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[2:])))
    attention(torch.zeros(1, 2, *size))
    assert max(seen[0]) <= 16
    assert min(seen[0]) > 8


def test_narrowing_before_doubling_gives_what_narrowing_after_it_gives():
    torch.manual_seed(0)
    network = networks.create("emis", in_channels=1, out_channels=2, base=4)
    x = torch.randn(1, 64, 3, 4)
    before, after = _resized(network.narrow[0](x), (6, 8)), network.narrow[0](_resized(x, (6, 8)))
    assert torch.allclose(before, after, atol=1e-6)


def test_the_fused_bottom_is_that_of_its_formula():
    torch.manual_seed(0)
    fusion = Fusion([2, 3], 4, kind="sum")
    shallow, deep, bottom = torch.randn(1, 2, 16, 16), torch.randn(1, 3, 8, 8), torch.randn(1, 4, 4, 4)
    pooled = [
        shallow.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)),
        deep.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)),
    ]
    total = bottom + fusion.project[0](pooled[0]) + fusion.project[1](pooled[1])
    assert torch.allclose(fusion(bottom, [shallow, deep]), fusion.mix(total), atol=1e-5)


def test_an_unknown_fusion_is_told():
    with pytest.raises(SegtraceError, match="fusion is 'concat'; there are: sum, three_scales, or null"):
        networks.create("emis", in_channels=1, out_channels=2, fusion="concat")
