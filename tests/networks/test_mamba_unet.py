"""VM-UNet's skeleton and the blocks on it do what their documentation says."""

import pytest
import torch
from torch import nn

from segtrace import networks
from segtrace.errors import SegtraceError
from segtrace.networks._mamba_unet import Expand, Merge
from segtrace.networks.cm_ssm_unet import CmSsmBlock, CrossRegionAttention, SqueezeExcitation
from segtrace.networks.hc_mamba import hybrid
from segtrace.networks.medmamba_unet import SplitBlock, convolutions
from segtrace.networks.unext import to_first, to_last

SMALL = {"base": 8, "encoder_depths": [1, 2, 1, 1], "decoder_depths": [1, 1, 1, 2], "states": 2}


def make(name, **options):
    torch.manual_seed(0)
    return networks.create(name, in_channels=3, out_channels=1, **SMALL | options)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_merging_takes_the_pixels_in_the_order_of_published_weights():
    merge = Merge(3)
    x = noise(2, 4, 6, 3)
    beside = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=3)
    assert torch.equal(merge(x), merge.reduce(merge.norm(beside)))


def test_expanding_deals_a_pixels_outputs_to_a_square_row_by_row():
    expand = Expand(3, 2, factor=4)
    x = noise(2, 3, 5, 3)
    found, wide = expand(x), expand.widen(x)
    assert found.shape == (2, 12, 20, 2)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        start = 2 * (4 * row + column)
        expected = expand.norm(wide[..., start : start + 2])
        assert torch.allclose(found[:, row::4, column::4], expected, atol=1e-6)


@pytest.mark.parametrize("skips", ["code", "figure"])
def test_skips_are_added_where_the_switch_says(skips):
    network = make("vm_unet", skips=skips, features="blocks").eval()
    taken = {}
    for level in (1, 2, 3):
        network.decoder[level].register_forward_pre_hook(
            lambda _, args, level=level: taken.update({level: args[0]})
        )
    _, encoder, decoder = network.forward_features(noise(1, 3, 64, 64))
    outputs = [to_last(encoder[i]) for i in (0, 2, 3)]  # of stages 0 to 2
    raised = [to_last(decoder[i]) for i in (1, 2, 3)]  # of the decoder's stages 0 to 2
    for level in (1, 2, 3):
        expand, below, out = network.expand[level - 1], raised[level - 1], outputs[3 - level]
        given = network.merge[3 - level](out)  # what the stage below begins with
        expected = expand(below + given) if skips == "code" else expand(below) + out
        assert torch.allclose(taken[level], expected, atol=1e-5), level


def test_features_are_of_stages_or_of_all_blocks():
    x = noise(1, 3, 64, 64)
    stages, blocks = make("vm_unet").eval(), make("vm_unet", features="blocks").eval()
    assert stages.encoder_scales == (4, 8, 16)
    assert blocks.encoder_scales == (4, 8, 8, 16)
    assert blocks.decoder_scales == (32, 32, 16, 8, 4, 4)
    logits, encoder, decoder = stages.forward_features(x)
    same, all_encoder, all_decoder = blocks.forward_features(x)
    assert torch.equal(logits, same)
    for few, many, chosen in ((encoder, all_encoder, (0, 2, 3)), (decoder, all_decoder, (0, 1, 2, 3, 5))):
        assert all(torch.equal(feature, many[i]) for feature, i in zip(few, chosen, strict=True))


def test_blocks_are_left_out_more_often_toward_the_middle():
    network = make("vm_unet", drop_path=0.4)
    rates = [
        [block.drop.drop_prob for stage in side for block in stage.blocks]
        for side in (network.encoder, network.decoder)
    ]
    assert rates[0] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert rates[1] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0])


def test_what_is_left_out_follows_torchs_seed():
    network = make("vm_unet", drop_path=0.9).train()
    x = noise(2, 3, 64, 64)
    outputs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        outputs.append(network(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_linear_weights_are_drawn_as_published():
    network = make("cm_ssm_unet", base=32)
    for linear in (network.expand[0].widen, network.encoder[3].blocks[0].mix.widen):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not network.encoder[3].blocks[0].mix.widen.bias.any()
    med = make("medmamba_unet", base=32).encoder[3].blocks[0].local[1]
    assert med.weight.std().item() == pytest.approx((2 / (9 * med.out_channels)) ** 0.5, rel=0.05)


def test_without_its_modules_cm_ssm_unet_is_vm_unet():
    plain = make("cm_ssm_unet", se=False, cmn=False, cra=False).eval()
    x = noise(1, 3, 64, 64)
    assert torch.equal(plain(x), make("vm_unet").eval()(x))


def test_the_scan_is_weighed_by_channel_before_its_normalisation():
    block = CmSsmBlock(4, 0.0, states=2, se_ratio=4, cmn_ratio=0)
    seen = {}
    block.scan.norm.register_forward_pre_hook(lambda _, args: seen.update(normed=args[0]))
    weigh = next(part for part in block.scan.children() if isinstance(part, SqueezeExcitation))
    weigh.register_forward_hook(lambda _, args, out: seen.update(given=args[0], weighed=out))
    block(noise(2, 3, 5, 4))
    assert torch.equal(seen["normed"], seen["weighed"])
    weights = seen["weighed"] / seen["given"]  # one a channel and image, between 0 and 1
    assert torch.allclose(weights, weights[:, :1, :1].expand_as(weights), atol=1e-5)
    assert 0 < weights.min() < weights.max() < 1


def test_channel_mixing_has_a_sum_of_its_own():
    block = CmSsmBlock(4, 0.0, states=2, se_ratio=0, cmn_ratio=2)
    x = noise(2, 3, 5, 4)
    after = x + block.scan(block.norm(x))
    assert torch.equal(block(x), after + block.mix(block.mix_norm(after)))


def test_attention_weighs_rows_and_columns():
    attention = CrossRegionAttention(4, reduction=2).eval()
    x = noise(2, 4, 3, 5)
    weights = attention(x) / x
    outer = weights[:, :, :1] * weights[..., :1] / weights[:, :, :1, :1]
    assert torch.allclose(weights, outer, atol=1e-5)
    assert weights.std(dim=(2, 3)).min() > 0


def test_halves_are_convolved_and_scanned_then_interleaved():
    block = SplitBlock(convolutions(3), 6, 0.0, states=2).eval()
    x = noise(2, 4, 5, 6)
    change = block(x) - x
    local = to_last(block.local(to_first(x[..., :3])))
    assert torch.allclose(change[..., ::2], local, atol=1e-6)
    assert torch.allclose(change[..., 1::2], block.scan(block.norm(x[..., 3:])), atol=1e-6)


def test_dilations_are_a_sawtooth():
    dilated = [layer for layer in hybrid(4, dilations=(1, 2, 3, 1)) if isinstance(layer, nn.Conv2d)][::3]
    assert [layer.dilation for layer in dilated] == [(1, 1), (2, 2), (3, 3), (1, 1)]
    assert hybrid(4, dilations=(1, 2, 3, 1))(noise(2, 4, 9, 7)).shape == (2, 4, 9, 7)


def test_faults_of_options_are_named_together():
    with pytest.raises(SegtraceError) as caught:
        networks.create(
            "vm_unet",
            in_channels=1,
            out_channels=1,
            base=6,
            encoder_depths=[2, 2],
            drop_path=1,
            skips="codes",
            features="all",
        )
    for part in (
        "base is 6; it must be a multiple of 4",
        "encoder_depths is [2, 2]; give the number of blocks of four stages",
        "drop_path is 1; it is a probability",
        "skips is 'codes'; there are: code, figure",
        "features is 'all'; there are: stages, blocks",
    ):
        assert part in str(caught.value)
    with pytest.raises(SegtraceError, match="se_ratio 0; it takes a whole number from 1 on"):
        networks.create("cm_ssm_unet", in_channels=1, out_channels=1, se_ratio=0)
    with pytest.raises(SegtraceError, match=r"dilations \[0\]; it takes a list of whole numbers from 1 on"):
        networks.create("hc_mamba", in_channels=1, out_channels=1, dilations=[0])
