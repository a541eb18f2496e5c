"""Dual self-distillation: every term equals the paper's equations, and every option does what it says."""

import numpy as np
import pytest
import torch

from segtrace import distill, losses, networks
from segtrace.config import runs
from segtrace.distill import dsd
from segtrace.errors import SegtraceError

torch.set_num_threads(1)
K, SIDE = 3, 16


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over axis 1, in float64."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def dice_ce(logits: np.ndarray, target: np.ndarray, *, squared: bool) -> float:
    """Eq. 1 with the smoothing of the published code: mean over batch and classes, mean over voxels."""
    p = softmax(logits)
    g = np.stack([target == k for k in range(logits.shape[1])], axis=1).astype(float)
    axes = tuple(range(2, p.ndim))
    below = (p**2 if squared else p).sum(axes) + g.sum(axes)
    dice = 1 - (2 * (p * g).sum(axes) + 1e-5) / (below + 1e-5)
    return float(dice.mean() - (g * np.log(p)).sum(1).mean())


def kl(teacher: np.ndarray, student: np.ndarray, tau: float) -> float:
    """Eqs. 2 and 4: KL(teacher ‖ student) of softened probabilities, sum over classes, mean over voxels."""
    t, s = softmax(teacher / tau), softmax(student / tau)
    return float((t * np.log(t / s)).sum(1).mean())


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(0)
    network = networks.create("dynunet", in_channels=1, out_channels=K, filters=[4, 6, 8, 10]).double()
    x = torch.randn(2, 1, *(SIDE,) * 3, dtype=torch.float64)
    target = torch.randint(0, K, (2, *(SIDE,) * 3))
    return network, network.forward_features(x), target


def attach(network, *, squared=False, **options):
    torch.manual_seed(1)
    loss_of = losses.create("dice_ce", squared=squared)
    return distill.attach("dsd", network, out_channels=K, spatial_dims=3, loss_of=loss_of, **options).double()


def taps(objective, features):
    """The heads' logits as arrays: E_1 … E_Z, and D_1 … D_Z."""
    _, encoder, decoder = features
    encoders = [h(f).detach().numpy() for h, f in zip(objective.encoder_heads, encoder, strict=True)]
    decoders = [h(f).detach().numpy() for h, f in zip(objective.decoder_heads, decoder, strict=True)]
    return encoders, decoders[::-1]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("share_heads", [False, True])
@pytest.mark.parametrize(
    ("eta", "one", "two", "tau", "tau_squared", "teacher"),
    [
        (1.0, 1.0, 1.0, 3.0, True, "deepest"),
        (1.0, 1.0, 1.0, 3.0, False, "deepest"),
        (0.5, 0.25, 2.0, 1.5, True, "reversed"),
        (1.0, 1.0, 0.5, 2.0, False, "mean"),
    ],
)
def test_the_loss_is_that_of_the_equations(
    batch, eta, one, two, tau, tau_squared, teacher, share_heads, squared
):
    network, features, target = batch
    objective = attach(
        network,
        eta=eta,
        alpha_encoder=one,
        alpha_decoder=two,
        tau=tau,
        tau_squared=tau_squared,
        teacher=teacher,
        share_heads=share_heads,
        squared=squared,
    )
    encoders, decoders = taps(objective, features)
    labels = target.numpy()
    expected = dice_ce(features[0].detach().numpy(), labels, squared=squared)
    expected += eta * sum(dice_ce(out, labels, squared=squared) for out in decoders)
    factor = tau**2 if tau_squared else 1.0
    # The deepest one first: E_Z is the encoder's last, D_1 the decoder's highest resolution.
    for weight, side in ((one, encoders[::-1]), (two, decoders)):
        if teacher == "deepest":
            terms = [kl(side[0], student, tau) for student in side[1:]]
        elif teacher == "reversed":
            terms = [kl(side[-1], student, tau) for student in side[:-1]]
        else:
            mean = np.mean([softmax(out / tau) for out in side], axis=0)
            terms = [float((mean * np.log(mean / softmax(out / tau))).sum(1).mean()) for out in side]
        expected += weight * factor * sum(terms)
    assert float(objective(*features, target).detach()) == pytest.approx(expected, abs=1e-6)


def test_named_special_cases(batch):
    network, features, target = batch
    basic = attach(network, eta=0.0, alpha_encoder=0.0, alpha_decoder=0.0)
    assert not list(basic.parameters())
    assert float(basic(*features, target)) == float(basic.loss_of(features[0], target))
    supervised = attach(network, alpha_encoder=0.0, alpha_decoder=0.0)
    assert not len(supervised.encoder_heads)
    assert len(supervised.decoder_heads) == 3


def test_features_are_distilled_as_vectors(batch):
    network, features, target = batch
    plain = attach(network)
    objective = attach(network, feature_weight=0.5)
    objective.load_state_dict(plain.state_dict(), strict=False)
    _, encoder, decoder = features
    expected = float(plain(*features, target).detach())
    for projections, side in (
        (objective.encoder_projections, encoder[1:]),
        (objective.decoder_projections, decoder[1:]),
    ):
        vectors = []
        for project, feature in zip(projections, side, strict=True):
            mean = feature.detach().numpy().mean(axis=(2, 3, 4))
            vectors.append(mean @ project.weight.detach().numpy().T + project.bias.detach().numpy())
        expected += 0.5 * sum(float(((v - vectors[-1]) ** 2).mean()) for v in vectors[:-1])
    assert float(objective(*features, target).detach()) == pytest.approx(expected, abs=1e-6)
    assert float(objective(*features, target).detach()) == pytest.approx(
        expected, abs=1e-12
    )  # nothing is cut
    shared = {id(p) for p in objective.encoder_projections} & {id(p) for p in objective.decoder_projections}
    assert shared  # taps of equal scale and width


@pytest.mark.parametrize("detach", [False, True])
def test_detaching_holds_for_distilled_features_too(batch, detach):
    network, (logits, encoder, decoder), target = batch
    taught = encoder[-1].detach().requires_grad_()
    objective = attach(
        network, eta=0.0, alpha_encoder=0.0, alpha_decoder=0.0, detach=detach, feature_weight=1.0
    )
    sides = [*(f.detach() for f in encoder[:-1]), taught], [f.detach() for f in decoder]
    objective(logits.detach(), *sides, target).backward()
    assert (taught.grad is None) == detach


def test_a_network_of_few_levels_has_no_features_to_distil():
    network = networks.create("dynunet", in_channels=1, out_channels=K, filters=[4, 6, 8]).double()
    x, target = torch.randn(1, 1, 8, 8, 8, dtype=torch.float64), torch.zeros(1, 8, 8, 8, dtype=torch.long)
    features = network.forward_features(x)
    plain, objective = attach(network), attach(network, feature_weight=1.0)
    objective.load_state_dict(plain.state_dict(), strict=False)
    assert float(objective(*features, target)) == float(plain(*features, target))


def test_deep_supervision_is_the_case_without_distillation(batch):
    network, features, target = batch
    torch.manual_seed(1)
    alone = distill.attach(
        "deep_supervision", network, out_channels=K, spatial_dims=3, loss_of=losses.create("dice_ce"), eta=0.7
    ).double()
    same = attach(network, eta=0.7, alpha_encoder=0.0, alpha_decoder=0.0)
    assert torch.equal(alone(*features, target), same(*features, target))


def test_gradients_are_those_of_the_loss():
    torch.manual_seed(2)
    teacher, student = (torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def distilled(t, s):
        return dsd.divergence(dsd.softened(t, 3.0), dsd.softened(s, 3.0))

    assert torch.autograd.gradcheck(distilled, (teacher, student))


def test_a_detached_teacher_gets_nothing_from_its_students(batch):
    network, features, target = batch
    encoder_of_dsd = {}
    for detach in (False, True):
        objective = attach(network, eta=0.0, alpha_decoder=0.0, detach=detach)
        logits, encoder, decoder = features
        loss = objective(logits.detach(), [f.detach() for f in encoder], decoder, target)
        loss.backward()
        encoder_of_dsd[detach] = [
            max(float(p.grad.abs().max()) if p.grad is not None else 0.0 for p in head.parameters())
            for head in objective.encoder_heads
        ]
    assert encoder_of_dsd[True][-1] == 0.0
    assert encoder_of_dsd[False][-1] > 0.0
    assert min(encoder_of_dsd[True][:-1]) > 0.0


PUBLISHED = [
    # network, options, share_heads, classes, with the heads: Banerjee et al., Tables 3, 4 and 7
    ("unetr", {"in_channels": 1, "size": (32, 32, 32), "feature_size": 16}, False, 3, 92_628_372),
    ("unetr", {"in_channels": 1, "feature_size": 16}, False, 8, 92_797_576),
    ("unetr", {"in_channels": 1, "feature_size": 32}, False, 8, 101_804_360),
    ("unetr", {"in_channels": 4, "size": (128, 128, 128), "feature_size": 16}, False, 4, 102_455_636),
    ("unetr", {"in_channels": 4, "size": (128, 128, 128), "feature_size": 64}, False, 4, 143_153_876),
    ("dynunet", {"in_channels": 1}, True, 3, 5_688_586),
    ("dynunet", {"in_channels": 4}, True, 4, 5_690_684),
    # The paper prints 5.695 M: the heads of the large trunk (channels 32 … 320) on the small one, which
    # cannot run, count 5,695,448. With heads that fit the trunk there are 2,432 fewer.
    ("dynunet", {"in_channels": 1}, True, 8, 5_693_016),
    ("dynunet", {"in_channels": 1, "filters": (32, 64, 128, 256, 320)}, True, 8, 16_672_280),
    # The published program registers one more head that it never uses: 111 parameters, 45,605,410 in all.
    ("vnet", {"in_channels": 1}, False, 3, 45_605_299),
    ("swin_unetr", {"in_channels": 4}, True, 4, 4_080_722),
]


@pytest.mark.parametrize(("name", "options", "share_heads", "classes", "expected"), PUBLISHED)
def test_parameters_with_heads_are_the_published_ones(name, options, share_heads, classes, expected):
    device = "cpu" if name == "swin_unetr" else "meta"  # MONAI's asks a tensor for its value
    with torch.device(device):
        network = networks.create(name, out_channels=classes, **options)
        heads = distill.attach(
            "dsd",
            network,
            out_channels=classes,
            spatial_dims=3,
            loss_of=losses.create("dice_ce"),
            share_heads=share_heads,
        )
    counted = sum(p.numel() for module in (network, heads) for p in module.parameters())
    assert counted == expected


def test_wrong_options_are_named(batch):
    network = batch[0]
    with pytest.raises(SegtraceError, match="no option 'alpha'; did you mean"):
        attach(network, alpha=1)
    with pytest.raises(SegtraceError, match="no teacher 'deep'; it has deepest, mean, reversed"):
        attach(network, teacher="deep")
    with pytest.raises(SegtraceError, match="tau 0 must be above 0"):
        attach(network, tau=0)
    with pytest.raises(SegtraceError, match="no framework 'dds'"):
        distill.module_of("dds")
    planned = {"network": {"name": "unet"}, "training": {"loss": "dice_ce"}, "framework": "dds"}
    with pytest.raises(SegtraceError, match="no framework 'dds'; did you mean 'dsd'"):
        runs.modules_of(planned)  # before anything runs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"feature_weight": "1e-4"}, "feature_weight '1e-4'; it takes a number from 0 on; .* 1.0e-4"),
        ({"alpha_encoder": -1.0}, "alpha_encoder -1.0; it takes a number from 0 on$"),
        ({"tau": float("inf")}, "tau inf; it takes a number"),
        ({"eta": True}, "eta True; it takes a number"),
        ({"detach": "no"}, "detach 'no'; it takes true or false, without quotes"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_before_the_first_step(batch, options, words):
    with pytest.raises(SegtraceError, match=words):
        attach(batch[0], **options)
