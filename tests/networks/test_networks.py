"""Every registered network keeps the contract; published sizes are met."""

import subprocess
import sys

import pytest
import torch
from monai.networks.nets.dynunet import DynUNet as MonaiDynUNet
from monai.networks.nets.swin_unetr import SwinUNETR as MonaiSwinUNETR
from monai.networks.nets.unetr import UNETR as MonaiUNETR  # noqa: N811
from monai.networks.nets.vnet import VNet as MonaiVNet
from torch.nn import functional

from registered_networks import CASES, all_logits, registry
from segtrace import checkpoint, networks
from segtrace.errors import SegtraceError
from segtrace.networks.cotr import sample

torch.set_num_threads(1)  # small tensors: more threads only wait for each other


def make(name, dims, options, *, in_channels=2, out_channels=3):
    torch.manual_seed(0)
    return networks.create(
        name, in_channels=in_channels, out_channels=out_channels, spatial_dims=dims, **options
    )


def picture(network, dims, *, seed=1):
    side = network.divisor * 2
    return torch.randn(2, 2, *(side,) * dims, generator=torch.Generator().manual_seed(seed))


@registry
def test_features_have_the_promised_shapes_and_the_same_logits(name, dims, options):
    network = make(name, dims, options).eval()
    x = picture(network, dims)
    logits, encoder, decoder = network.forward_features(x)
    assert torch.equal(logits, network(x))
    assert logits.shape == (2, 3, *x.shape[2:])
    for features, channels, scales in [
        (encoder, network.encoder_channels, network.encoder_scales),
        (decoder, network.decoder_channels, network.decoder_scales),
    ]:
        shapes = [tuple(f.shape) for f in features]
        factors = [(s,) * dims if isinstance(s, int) else s for s in scales]
        assert shapes == [
            (2, c, *(side // one for side, one in zip(x.shape[2:], s, strict=True)))
            for c, s in zip(channels, factors, strict=True)
        ]
    assert list(network.encoder_scales) == sorted(network.encoder_scales)
    assert list(network.decoder_scales) == sorted(network.decoder_scales, reverse=True)
    # the bottleneck, but for a network whose deepest level is no part of what it gives out
    deepest = network.decoder_scales[0]
    assert network.divisor % (deepest if isinstance(deepest, int) else max(deepest)) == 0


@registry
def test_every_parameter_gets_a_gradient(name, dims, options):
    network = make(name, dims, options)
    sum(part.square().mean() for part in all_logits(network, picture(network, dims))).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


def test_heads_for_training_alone_change_nothing_else():
    tested = []
    for name, dims, options in CASES:
        network = make(name, dims, options).eval()
        if not getattr(network, "auxiliary_weights", ()):
            continue
        x = picture(network, dims)
        logits, encoder, decoder, auxiliary = network.forward_auxiliary(x)
        plain = network.forward_features(x)
        for part, same in zip([logits, *encoder, *decoder], [plain[0], *plain[1], *plain[2]], strict=True):
            assert torch.equal(part, same), name
        assert [part.shape for part in auxiliary] == [logits.shape] * len(network.auxiliary_weights), name
        assert all(not torch.equal(part, logits) for part in auxiliary), name
        assert network.main_weight > 0, name
        assert min(network.auxiliary_weights) > 0, name
        tested.append(name)
    assert "unet_plus_plus" in tested


def test_the_four_heads_of_unet_plus_plus_weigh_the_same():
    with torch.device("meta"):
        supervised = networks.create("unet_plus_plus", in_channels=3, out_channels=1, deep_supervision=True)
        plain = networks.create("unet_plus_plus", in_channels=3, out_channels=1)
    assert (supervised.main_weight, supervised.auxiliary_weights) == (0.25, (0.25, 0.25, 0.25))
    assert (plain.main_weight, plain.auxiliary_weights) == (1, ())


@registry
def test_two_equal_seeds_give_equal_bits(name, dims, options):
    torch.use_deterministic_algorithms(True)
    outputs = []
    for _ in range(2):
        network = make(name, dims, options)
        sum(part.mean() for part in all_logits(network, picture(network, dims))).backward()
        outputs.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@registry
def test_bfloat16_autocast_is_finite_and_close(name, dims, options):
    network = make(name, dims, options).eval()
    x = picture(network, dims)
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x).float()
    assert torch.isfinite(rough).all()
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max().clamp(min=1)


@registry
def test_weights_survive_a_round_trip(name, dims, options, tmp_path):
    network = make(name, dims, options)
    network(picture(network, dims))  # moves the running statistics
    checkpoint.save(tmp_path / "w.safetensors", network.state_dict(), metadata={})
    torch.manual_seed(5)
    other = networks.create(name, in_channels=2, out_channels=3, spatial_dims=dims, **options)
    checkpoint.load_weights(tmp_path / "w.safetensors", other)
    x = picture(network, dims)
    assert torch.equal(network.eval()(x), other.eval()(x))


def count(name, *, in_channels, out_channels, **options):
    with torch.device("meta"):
        network = networks.create(name, in_channels=in_channels, out_channels=out_channels, **options)
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("channels", "filters", "expected"),
    [
        ((1, 3), (16, 32, 64, 128, 256), 5_686_771),
        ((1, 8), (16, 32, 64, 128, 256), 5_686_856),
        ((4, 4), (16, 32, 64, 128, 256), 5_688_132),
        ((1, 8), (32, 64, 128, 256, 320), 16_663_688),
    ],
)
def test_dynunet_has_the_published_number_of_parameters(channels, filters, expected):
    assert count("dynunet", in_channels=channels[0], out_channels=channels[1], filters=filters) == expected


def test_unet3d_has_the_published_number_of_parameters():
    assert count("unet3d", in_channels=3, out_channels=3) == 19_075_523
    assert count("unet3d", in_channels=1, out_channels=8) == 19_074_120
    with torch.device("meta"):
        network = networks.create("unet3d", in_channels=3, out_channels=3)
    counted = sum(
        p.numel()
        for module in network.modules()
        for key, p in module.named_parameters(recurse=False)
        if isinstance(module, torch.nn.Conv3d)
        or (isinstance(module, torch.nn.ConvTranspose3d) and key == "weight")
    )
    assert counted == 19_069_955  # as the paper counts


@pytest.mark.parametrize(
    ("channels", "expected"), [((1, 3), 6_213_878), ((1, 8), 6_215_323), ((4, 4), 6_215_447)]
)
def test_attention_unet3d_has_the_published_number_of_parameters(channels, expected):
    assert count("attention_unet3d", in_channels=channels[0], out_channels=channels[1]) == expected


def test_transbts_has_the_published_number_of_parameters_less_those_never_used():
    unused_encoding, unused_norm = 262_656, 1_024
    expected = 32_987_588 - unused_encoding - unused_norm
    assert count("transbts", in_channels=4, out_channels=4) == expected


@pytest.mark.parametrize(("classes", "expected"), [(3, 41_864_716), (8, 41_868_256), (4, 41_865_424)])
def test_cotr_has_the_published_number_of_parameters_less_its_heads_for_supervision(classes, expected):
    assert count("cotr", in_channels=1, out_channels=classes) == expected - 643 * classes


@pytest.mark.parametrize(
    ("name", "options", "channels", "expected"),
    [
        ("unetr", {"size": (32, 32, 32), "feature_size": 16}, (1, 3), 92_624_115),
        ("unetr", {"feature_size": 16}, (1, 8), 92_783_944),
        ("unetr", {"feature_size": 32}, (1, 8), 101_787_016),
        ("unetr", {"size": (128, 128, 128), "feature_size": 16}, (4, 4), 102_449_732),
        ("unetr", {"size": (128, 128, 128), "feature_size": 64}, (4, 4), 143_142_404),
        ("vnet", {}, (1, 3), 45_601_906),
        ("vnet", {}, (4, 4), 45_611_916),
    ],
)
def test_transformers_and_vnet_have_the_published_number_of_parameters(name, options, channels, expected):
    assert count(name, in_channels=channels[0], out_channels=channels[1], **options) == expected


def test_swin_unetr_has_the_published_number_of_parameters():
    network = networks.create("swin_unetr", in_channels=4, out_channels=4)
    assert sum(p.numel() for p in network.parameters()) == 4_079_386


def test_monais_unused_layer_norms_are_the_only_difference_in_unetr():
    small = {"feature_size": 2, "hidden_size": 12, "num_heads": 2}
    theirs = MonaiUNETR(1, 2, 32, mlp_dim=16, proj_type="perceptron", spatial_dims=2, **small)
    ours = networks.create(
        "unetr",
        in_channels=1,
        out_channels=2,
        spatial_dims=2,
        size=(32, 32),
        feature_size=2,
        hidden_size=12,
        mlp_size=16,
        heads=2,
    )
    extra = set(theirs.state_dict()) - {key.removeprefix("backbone.") for key in ours.state_dict()}
    assert extra == {
        f"vit.blocks.{i}.norm_cross_attn.{part}" for i in range(12) for part in ("weight", "bias")
    }
    for key, value in ours.state_dict().items():
        value.copy_(theirs.state_dict()[key.removeprefix("backbone.")])
    x = torch.randn(1, 1, 32, 32)
    assert torch.equal(theirs.eval()(x), ours.eval()(x))


def test_vnet_and_swin_unetr_are_monais_bit_for_bit():
    x = torch.randn(1, 1, 64, 64)
    for name, theirs_of in (
        ("vnet", lambda: MonaiVNet(2, 1, 2, dropout_dim=2)),
        ("swin_unetr", lambda: MonaiSwinUNETR(1, 2, spatial_dims=2, feature_size=12)),
    ):
        torch.manual_seed(3)
        theirs = theirs_of().eval()
        torch.manual_seed(3)
        ours = networks.create(name, in_channels=1, out_channels=2, spatial_dims=2).eval()
        assert torch.equal(theirs(x), ours(x)), name


def test_the_default_of_dynunet_is_the_published_configuration():
    assert count("dynunet", in_channels=1, out_channels=3) == 5_686_771


def test_cotr_samples_as_torch_does_at_any_place():
    grid = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    places = (torch.rand(2, 50, 3, dtype=torch.float64) * 2.6 - 1.3).requires_grad_()  # some lie outside
    ours = sample(grid, places)
    theirs = functional.grid_sample(grid, places.view(2, 50, 1, 1, 3), align_corners=False)
    torch.testing.assert_close(ours, theirs.flatten(2).transpose(1, 2))
    weights = torch.randn_like(ours)
    found = torch.autograd.grad((ours * weights).sum(), [grid, places])
    expected = torch.autograd.grad((theirs.flatten(2).transpose(1, 2) * weights).sum(), [grid, places])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_dynunet_is_monais_bit_for_bit(dims):
    filters = [4, 8, 12, 16]
    torch.manual_seed(3)
    theirs = MonaiDynUNet(
        dims, 1, 2, [3] * 4, [1, 2, 2, 2], [2] * 3, filters, norm_name="instance", res_block=True
    )
    torch.manual_seed(3)
    ours = networks.create("dynunet", in_channels=1, out_channels=2, spatial_dims=dims, filters=filters)
    x = torch.randn(1, 1, *(16,) * dims)
    assert torch.equal(theirs(x), ours(x))
    assert type(ours(x)) is torch.Tensor  # no MetaTensor


def test_wrong_names_and_options_name_the_nearest():
    with pytest.raises(SegtraceError, match="no network 'dynunett'; did you mean 'dynunet'"):
        networks.create("dynunett", in_channels=1, out_channels=2)
    with pytest.raises(SegtraceError, match="no option 'filter'; did you mean 'filters'"):
        networks.create("dynunet", in_channels=1, out_channels=2, filter=[1])
    with pytest.raises(SegtraceError, match="is 2-D; it was asked for 3-D"):
        networks.create("unet", in_channels=1, out_channels=2, spatial_dims=3)
    with pytest.raises(SegtraceError, match="no variant 'huge'"):
        networks.create("unet", in_channels=1, out_channels=2, variant="huge")
    with pytest.raises(SegtraceError, match="5 levels"):
        networks.create("unet", in_channels=1, out_channels=2, widths=[1, 2])
    with pytest.raises(SegtraceError, match="at least 3"):
        networks.create("dynunet", in_channels=1, out_channels=2, filters=[4, 8])


def test_options_of_transfuse_that_make_no_network_are_refused_all_at_once():
    wrong = {"size": [30, 32], "layers": [1, 1], "base": 1, "heads": 7, "dropout": 1.5}
    with pytest.raises(SegtraceError) as caught:
        networks.create("transfuse", in_channels=1, out_channels=1, **wrong)
    for part in (
        "size [30, 32]; it takes 2 sides",
        "layers [1, 1]; it takes the blocks of 3 stages",
        "base 1; it takes 2 or more",
        "width 384 is no multiple of heads 7",
        "dropout 1.5; it is a probability",
    ):
        assert part in str(caught.value)


def test_listing_the_networks_imports_no_torch():
    code = (
        "import sys; from segtrace import networks; "
        "assert all(networks.describe(n) for n in networks.names()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
