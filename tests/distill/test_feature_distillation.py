"""Feature distillation: the published program's values, the equations in float64, every option, private draws."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from segtrace import determinism, distill, losses, networks
from segtrace.distill import _features
from segtrace.distill.feature_distillation import FeatureDistillation
from segtrace.errors import SegtraceError

torch.set_num_threads(1)

# of SelfReg-UNet's program on seeded noise; indices as its own generator drew them
CHOSEN = (
    [49, 53, 5, 33, 65, 62, 51, 38, 61, 45, 74, 27, 64, 17, 36, 82, 12, 32, 68, 18, 39, 79, 9, 42],
    [15, 17, 3, 11, 13, 10, 6, 23, 14, 19, 8, 4, 0, 16, 20, 1, 22, 5, 7, 9, 21, 18, 12, 2],
)


def noise(seed: int, *shape: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(*shape)


def test_the_terms_have_the_published_programs_values():
    student, teacher = noise(1, 2, 96, 16, 16), noise(2, 2, 24, 64, 64)
    options = {"sort": True, "one_way": False, "distance": _features.mean_square}
    assert float(_features.internal(student, **options)) == pytest.approx(2.020784378, abs=2e-6)
    assert float(_features.internal(teacher, **options)) == pytest.approx(1.996239662, abs=2e-6)
    chosen = tuple(torch.tensor(numbers) for numbers in CHOSEN)
    found = _features.cross(student, teacher, channels=chosen, distance=_features.mean_square)
    assert float(found) == pytest.approx(1.063402057, abs=2e-6)


@pytest.mark.parametrize("before", [(12, 8), (7, 9), (6, 10, 5)])
def test_pooling_is_adaptive_average_pooling(before):
    after = [5 if side > 6 else 3 for side in before]
    x = torch.randn(2, 3, *before, dtype=torch.float64)
    pool = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}[len(before)]
    assert torch.allclose(_features.pooled(x, after), pool(x, after), rtol=0, atol=1e-14)
    whole = [side // 2 for side in (8, 12, 4)[: len(before)]]
    even = torch.randn(2, 3, *(2 * side for side in whole), dtype=torch.float64)
    assert torch.allclose(_features.pooled(even, whole), pool(even, whole), rtol=0, atol=1e-14)


# --- the whole objective ------------------------------------------------------------------------------


def features_of(dims=2):
    """(logits, encoder, decoder, target) in float64: two encoder stages, a bottom, and two decoder stages above it."""
    torch.manual_seed(3)
    make = lambda channels, side: torch.randn(2, channels, *(side,) * dims, dtype=torch.float64)  # noqa: E731
    encoder, decoder = [make(5, 8), make(7, 4)], [make(9, 2), make(6, 4), make(4, 8)]
    return make(2, 16), encoder, decoder, torch.randint(0, 2, (2, *(16,) * dims))


def made(dims=2, *, key=12345, decoder=(9, 6, 4), encoder=(5, 7), **options):
    """The objective for a network of such channels."""
    network = torch.nn.Module()
    network.encoder_channels, network.encoder_scales = encoder, (2,) * len(encoder)
    network.decoder_channels, network.decoder_scales = decoder, (2,) * len(decoder)
    loss_of = losses.create("dice_ce")
    objective = distill.attach(
        "feature_distillation", network, out_channels=2, spatial_dims=dims, loss_of=loss_of, **options
    )
    assert isinstance(objective, FeatureDistillation)
    objective.key = key
    return objective


def pool_np(x, size):
    """Adaptive average pooling by its definition."""
    for axis, m in enumerate(size, start=2):
        n = x.shape[axis]
        windows = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        x = np.stack([x.take(range(a, b), axis).mean(axis) for a, b in windows], axis=axis)
    return x


def distance_np(one, other, norm):
    square = (one - other) ** 2
    return square.mean() if norm == "mean" else square.reshape(len(square), -1).sum(1).mean()


def cross_np(student, teacher, chosen, norm):
    size = [min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    s, t = pool_np(student, size), pool_np(teacher, size)
    count = min(s.shape[1], t.shape[1])
    one, other = (range(count), range(count)) if chosen is None else chosen
    return distance_np(s[:, list(one)], t[:, list(other)], norm)


def internal_np(x, sort, norm):
    half = x.shape[1] // 2
    if sort:
        norms = np.sqrt((x**2).sum(axis=tuple(range(2, x.ndim)), keepdims=True))
        score = (x / norms).mean(axis=(0, *range(2, x.ndim)))
        x = x[:, np.argsort(-score, kind="stable")]
    return distance_np(x[:, :half], x[:, half : 2 * half], norm)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channels": "paired", "sort": False},
        {"norm": "sum", "cross_weight": 0.2, "internal_weight": 0.0},
        {"aggregate": "sides", "internal_weight": 0.4},
        {"cross_weight": 0.0, "sort": False, "norm": "sum"},
    ],
    ids=str,
)
def test_the_loss_is_that_of_the_equations(dims, options):
    objective = made(dims, **options)
    logits, encoder, decoder, target = features_of(dims)
    students, taught = [x.numpy() for x in [*encoder, *decoder[:-1]]], decoder[-1].numpy()
    norm, sort = options.get("norm", "mean"), options.get("sort", True)
    draws = [None] * len(students)
    if options.get("channels") != "paired":
        draws = _features.drawn(
            [(s.shape[1], taught.shape[1]) for s in students], key=12345, device=torch.device("cpu")
        )
    crossed = [cross_np(s, taught, c, norm) for s, c in zip(students, draws, strict=True)]
    inner = [internal_np(s, sort, norm) for s in students]
    groups = (inner[:2], inner[2:]) if options.get("aggregate") == "sides" else (inner,)
    internal = sum(np.mean(group) for group in groups)
    expected = float(objective.loss_of(logits, target))
    expected += options.get("cross_weight", 0.015) * np.mean(crossed)
    expected += options.get("internal_weight", 0.015) * internal
    assert float(objective(logits, encoder, decoder, target)) == pytest.approx(expected, rel=1e-12)


def test_gradients_are_those_of_the_loss_and_none_reaches_the_teacher():
    logits, encoder, decoder, target = features_of()
    given = [x.requires_grad_() for x in [*encoder, *decoder]]
    objective = made(cross_weight=0.3, internal_weight=0.2)

    def loss(*parts):
        return objective(logits, parts[:2], parts[2:], target)

    assert torch.autograd.gradcheck(lambda *parts: loss(*parts, decoder[-1].detach()), given[:-1])
    assert torch.autograd.grad(loss(*given), given[-1], allow_unused=True)[0] is None
    objective = made(detach=False, internal_weight=0.0)
    assert torch.autograd.gradcheck(loss, given)
    assert torch.autograd.grad(loss(*given), given[-1])[0].abs().max() > 0


@pytest.mark.parametrize(
    ("features", "taught", "students"), [("stages", 4, 7), ("blocks", 4, 14), ("final", 1, 15)]
)
def test_vm_unet_gives_the_blocks_that_paper_and_program_name(features, taught, students):
    options = {"base": 4, "states": 2, "features": features}
    network = networks.create("vm_unet", in_channels=1, out_channels=1, **options).eval()
    logits, encoder, decoder = network.forward_features(torch.randn(1, 1, 32, 32))
    assert network.decoder_scales[-1] == taught
    assert [x.shape[1] for x in decoder] == list(network.decoder_channels)
    assert [32 // x.shape[2] for x in decoder] == list(network.decoder_scales)
    assert len(encoder) + len(decoder) - 1 == students
    if features == "final":
        assert torch.equal(network.head(decoder[-1]), logits)


@pytest.mark.parametrize("one_way", [False, True])
def test_the_first_half_learns_unless_transfer_is_one_way(one_way):
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    _features.internal(x, sort=False, one_way=one_way, distance=_features.mean_square).backward()
    assert (x.grad[:, :3].abs().max() == 0) == one_way
    assert x.grad[:, 3:].abs().max() > 0


def test_half_precision_is_widened_and_single_channels_have_no_halves():
    logits, encoder, decoder, target = features_of()
    objective = made()
    wide = [[x.bfloat16().float() for x in side] for side in (encoder, decoder)]
    half = [[x.bfloat16() for x in side] for side in (encoder, decoder)]
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(logits.float(), *half, target)
    assert torch.equal(found, objective(logits.float(), *wide, target))
    one = torch.randn(2, 1, 4, 4)
    assert float(_features.internal(one, sort=True, one_way=False, distance=_features.mean_square)) == 0


# --- random numbers -----------------------------------------------------------------------------------


def test_draws_are_functions_of_the_key_alone():
    widths = [(96, 24), (24, 24), (8, 96)]
    draw = lambda key: _features.drawn(widths, key=key, device=torch.device("cpu"))  # noqa: E731
    first = draw(2**127 + 5)
    torch.manual_seed(9)
    np.random.seed(9)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = draw(2**127 + 5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    for pair, same, width in zip(first, again, widths, strict=True):
        for numbers, equal, channels in zip(pair, same, width, strict=True):
            assert torch.equal(numbers, equal)
            assert len(numbers) == min(width) == len(set(numbers.tolist()))
            assert 0 <= int(numbers.min()) <= int(numbers.max()) < channels
    assert not torch.equal(first[1][0], first[1][1])  # student and teacher are drawn apart
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(first, draw(6), strict=True))
    with pytest.raises(SegtraceError, match="128 bits"):
        draw(2**128)


def test_every_pair_of_channels_is_drawn_alike():
    count = np.zeros((6, 4))
    for key in range(3000):
        ((one, other),) = _features.drawn([(6, 4)], key=key, device=torch.device("cpu"))
        count[one.numpy(), other.numpy()] += 1
    assert count.sum() == 12000
    # 500 expected in each cell; five standard deviations of a binomial
    assert np.abs(count - 500).max() < 5 * np.sqrt(3000 * (1 / 6) * (5 / 6))


def test_a_step_calls_nothing_that_strict_refuses():
    network = networks.create("unet", in_channels=1, out_channels=2, widths=[4, 6, 8, 10, 12])
    objective = distill.attach(
        "feature_distillation", network, out_channels=2, spatial_dims=2, loss_of=losses.create("dice_ce")
    )
    images, labels = torch.randn(2, 1, 48, 48), torch.randint(0, 2, (2, 48, 48))

    def step():
        objective(*network.forward_features(images), labels).backward()

    assert determinism.nondeterministic_operations(step) == []
    uneven = [torch.randn(2, 4, side, side, requires_grad=True) for side in (9, 6, 4)]
    logits = torch.randn(2, 2, 48, 48)
    loss = lambda: objective(logits, uneven[:1], uneven[1:], labels).backward()  # noqa: E731
    assert determinism.nondeterministic_operations(loss) == []


def test_options_that_do_not_fit_are_named():
    with pytest.raises(SegtraceError, match="no norm 'l2'; it has mean, sum"):
        made(norm="l2")
    with pytest.raises(SegtraceError, match="both 0: leave the framework out"):
        made(cross_weight=0.0, internal_weight=0.0)
    with pytest.raises(SegtraceError, match="0 encoder and 1 decoder features"):
        made(encoder=(), decoder=(4,))
