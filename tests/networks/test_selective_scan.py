"""Every form of the selective scan gives what the definition gives, gradients too."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import segtrace
from segtrace import determinism
from segtrace.cost import operations
from segtrace.errors import SegtraceError
from segtrace.networks import _scan_chunked, _scan_doubling, _scan_reference, _selective_scan
from segtrace.networks._selective_scan import selective_scan
from segtrace.networks._ss2d import SS2D

torch.set_num_threads(1)  # small tensors: more threads only wait for each other
BARS = {torch.float32: 1e-5, torch.float64: 1e-10}


def inputs(*sizes: int, kind: torch.dtype = torch.float32, seed: int = 0, decay: float = 1.0) -> list[Tensor]:
    """u, delta, a, b, c, d for ``sizes`` G, B, L, D, N; ``decay`` multiplies a."""
    groups, batch, length, channels, states = sizes
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    found = [
        draw(groups, batch, length, channels),
        functional.softplus(draw(groups, batch, length, channels) - 1),
        -decay * torch.exp(draw(groups, channels, states)),
        draw(groups, batch, length, states),
        draw(groups, batch, length, states),
        draw(groups, channels),
    ]
    return [part.to(kind).requires_grad_() for part in found]


def weights_of(y: Tensor) -> Tensor:
    """What the loss of these tests weighs each output with."""
    random = torch.Generator().manual_seed(9)
    return torch.randn(y.shape, generator=random, dtype=torch.float64).to(y)


def with_gradients(scan, given: list[Tensor]) -> list[Tensor]:
    y = scan(*given)
    return [y, *torch.autograd.grad(y, given, weights_of(y), materialize_grads=True)]


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    bar = BARS[expected[0].dtype]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        torch.testing.assert_close(
            one, other, rtol=bar, atol=bar * max(1.0, float(other.detach().abs().max()))
        )


SIZES = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 50), st.integers(1, 5), st.integers(1, 4)
)


@settings(max_examples=12, deadline=None)
@given(
    sizes=SIZES,
    kind=st.sampled_from(list(BARS)),
    decay=st.sampled_from([1e-3, 1.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_any_length_gives_what_the_definition_gives(sizes, kind, decay, seed) -> None:
    given_here = inputs(*sizes, kind=kind, seed=seed, decay=decay)
    expected = with_gradients(_scan_reference.scan, given_here)
    assert_equal(with_gradients(selective_scan, given_here), expected)
    assert_equal(with_gradients(_scan_doubling.scan, given_here), expected)


@settings(max_examples=12, deadline=None)
@given(sizes=SIZES, steps=st.integers(1, 20), values=st.integers(1, 400))
def test_any_tiling_gives_what_the_definition_gives(sizes, steps, values) -> None:
    """One row or several, one chunk or several a tile, whole or not."""
    u, delta, a, b, c, d = inputs(*sizes, kind=torch.float64)
    expected = with_gradients(
        lambda *five: _scan_reference.scan(*five, torch.zeros_like(d)), [u, delta, a, b, c]
    )
    rows = [part.detach().flatten(0, 1) for part in (u, delta, b, c)]
    decays = a.detach().transpose(1, 2).repeat_interleave(sizes[1], 0)
    plan = _scan_chunked.Tiling.of(rows[0], states=sizes[4], steps=steps, values=values)
    y, starts = _scan_chunked.forward(rows[0], rows[1], decays, *rows[2:], plan)
    weights = torch.randn(u.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).flatten(
        0, 1
    )
    du, ddelta, da, db, dc = _scan_chunked.backward(
        weights, rows[0], rows[1], decays, *rows[2:], starts, plan
    )
    da = da.unflatten(0, sizes[:2]).sum(1).transpose(1, 2)
    found = [
        part.reshape(like.shape) for part, like in zip((y, du, ddelta, da, db, dc), expected, strict=True)
    ]
    assert_equal(found, expected)


@pytest.mark.parametrize("kind", BARS)
@pytest.mark.parametrize("length", [1, 16, 300])
def test_long_sequences_as_networks_have_them(length: int, kind: torch.dtype) -> None:
    given_here = inputs(4, 1, length, 12, 16, kind=kind)
    assert_equal(with_gradients(selective_scan, given_here), with_gradients(_scan_reference.scan, given_here))


def test_gradients_are_those_of_small_differences() -> None:
    assert torch.autograd.gradcheck(selective_scan, inputs(2, 1, 18, 1, 2, kind=torch.float64), nondet_tol=0)


def test_torch_knows_it_as_an_operation() -> None:
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.segtrace.selective_scan.default, tuple(inputs(2, 2, 19, 2, 3)), test_utils=checks
    )


def test_states_are_float32_whatever_autocast_says() -> None:
    given_here = inputs(2, 1, 70, 4, 4)
    plain = with_gradients(selective_scan, given_here)
    with torch.autocast("cpu", torch.bfloat16):
        cast = with_gradients(selective_scan, given_here)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))
    half = [part.detach().bfloat16() for part in given_here]
    assert torch.equal(selective_scan(*half), selective_scan(*(part.float() for part in half)))


def test_nothing_is_called_that_strict_determinism_refuses() -> None:
    def step() -> None:
        u, delta, a, b, c, _ = (part.detach() for part in inputs(2, 2, 70, 4, 4))
        rows = (
            u.flatten(0, 1),
            delta.flatten(0, 1),
            a.mT.repeat_interleave(2, 0),
            b.flatten(0, 1),
            c.flatten(0, 1),
        )
        plan = _scan_chunked.Tiling.of(rows[0], states=4)
        assert plan.side > 1
        y, starts = _scan_chunked.forward(*rows, plan)
        _scan_chunked.backward(y, *rows, starts, plan)

    assert determinism.nondeterministic_operations(step) == []
    assert determinism.slow_operations(step) == []


def test_shapes_that_do_not_fit_are_named() -> None:
    u, delta, a, _, c, d = inputs(2, 1, 5, 3, 4)
    with pytest.raises(
        SegtraceError, match=r"u \[2, 1, 5, 3\], delta .*, b \[2, 1, 5, 3\].*give u and delta as"
    ):
        selective_scan(u, delta, a, u, c, d)


def test_the_scan_states_its_count() -> None:
    with FlopCounterMode(display=False) as counter:
        selective_scan(*(part.detach() for part in inputs(4, 2, 30, 6, 16)))
    assert counter.get_total_flops() == 2 * (9 * 4 * 2 * 30 * 6 * 16 + 4 * 2 * 30 * 6)


# --- the fused kernel of a processor ---------------------------------------------------------------------

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed: its kernel cannot run"
)


@needs_numba
@pytest.mark.parametrize("kind", BARS)
def test_the_compiled_kernel_gives_what_the_definition_gives(monkeypatch, kind) -> None:
    """Lengths below, at and past a tile's; channels of one block and of several; decays that end in zero."""
    from segtrace.networks import _scan_numba

    monkeypatch.setattr(_selective_scan, "FUSED_FROM", 0)
    monkeypatch.setattr(_scan_numba, "CHANNELS", 48)
    for sizes, decay in (
        ((1, 1, 1, 1, 1), 1.0),
        ((2, 2, 37, 5, 3), 1.0),
        ((1, 2, 32, 100, 16), 1e-3),
        ((4, 1, 300, 33, 16), 1.0),
        ((2, 1, 65, 20, 4), 300.0),
    ):
        given_here = inputs(*sizes, kind=kind, decay=decay)
        expected = with_gradients(_scan_reference.scan, given_here)
        assert_equal(with_gradients(selective_scan, given_here), expected)


@needs_numba
def test_the_number_of_threads_changes_no_bit(monkeypatch) -> None:
    from segtrace.networks import _scan_numba

    monkeypatch.setattr(_selective_scan, "FUSED_FROM", 0)
    monkeypatch.setattr(_scan_numba, "CHANNELS", 16)
    given_here = inputs(4, 2, 50, 40, 4)
    alone = with_gradients(selective_scan, given_here)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = with_gradients(selective_scan, given_here)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@needs_numba
def test_not_a_number_and_large_decays_stay_what_they_are(monkeypatch) -> None:
    monkeypatch.setattr(_selective_scan, "FUSED_FROM", 0)
    u, delta, a, b, c, d = (part.detach() for part in inputs(1, 1, 6, 20, 2))
    delta[0, 0, 2, 7], a[0, 3, 1] = torch.nan, -1e30
    torch.testing.assert_close(
        selective_scan(u, delta, a, b, c, d), _scan_reference.scan(u, delta, a, b, c, d), equal_nan=True
    )


def test_only_large_scans_are_worth_compiling() -> None:
    u = torch.empty(4, 1, 64, 256, device="meta")
    assert _selective_scan._fused(u, 16) is None
    assert _selective_scan._fused(torch.empty(4, 1, 63, 256), 16) is None
    found = _selective_scan._fused(torch.empty(4, 1, 64, 256), 16)
    assert (found is None) == (importlib.util.find_spec("numba") is None)


# --- the fused kernel of a GPU ---------------------------------------------------------------------------

INTERPRETED = """
import torch
import test_selective_scan as tests
from segtrace.networks import _scan_reference, _scan_triton
for kind in tests.BARS:
    for sizes, decay in (((2, 2, 37, 5, 3), 1.0), ((1, 1, 1, 20, 16), 1.0), ((2, 1, 20, 33, 4), 300.0)):
        given = tests.inputs(*sizes, kind=kind, decay=decay)
        expected = tests.with_gradients(_scan_reference.scan, given)
        plain = [part.detach() for part in given]
        y, starts = _scan_triton.forward(*plain, steps=16)
        weights = tests.weights_of(y)
        tests.assert_equal([y, *_scan_triton.backward(weights, *plain, starts, steps=16)], expected)
print("equal")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed: its kernel cannot run"
)
def test_the_kernel_interpreted_on_a_cpu_gives_what_the_definition_gives() -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(segtrace.__file__).parents[1])])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-c", INTERPRETED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: the kernel for it cannot run")
@pytest.mark.parametrize("kind", BARS)
@pytest.mark.parametrize("sizes", [(4, 2, 1, 20, 16), (2, 2, 37, 5, 3), (4, 1, 300, 33, 16)])
def test_on_a_gpu_it_gives_what_the_definition_gives_and_the_same_bits_again(sizes, kind) -> None:
    torch.use_deterministic_algorithms(True)
    on_cpu = inputs(*sizes, kind=kind)
    on_gpu = [part.detach().cuda().requires_grad_() for part in on_cpu]
    found, again = (with_gradients(selective_scan, on_gpu) for _ in range(2))
    torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
    assert_equal([part.cpu() for part in found], with_gradients(_scan_reference.scan, on_cpu))


# --- in four directions --------------------------------------------------------------------------------


def test_ss2d_counts_its_layers_and_its_scan() -> None:
    side, channels, width = 8, 32, 64
    tokens, rank = side * side, 2
    layers = channels * 2 * width + 9 * width + 4 * width * (rank + 32) + 4 * rank * width + width * channels
    found = operations.of_network(SS2D(channels), (1, side, side, channels))
    assert found == tokens * layers + 4 * width * tokens * (9 * 16 + 1)


def one_direction(module: SS2D, x: Tensor, direction: int) -> Tensor:
    """The scan of ``x`` (H, W, d) in one direction, token by token, as the documentation says."""
    height, width, channels = x.shape
    order = [(i, j) for i in range(height) for j in range(width)]
    if direction % 2:
        order = [(i, j) for j in range(width) for i in range(height)]
    if direction >= 2:
        order.reverse()
    u = torch.stack([x[place] for place in order])
    rough, b, c = (u @ module.coefficients[direction].T).split(module.sizes, dim=-1)
    delta = functional.softplus(rough @ module.steps[direction].T + module.steps_bias[direction])
    mine = slice(direction * channels, (direction + 1) * channels)
    a = -module.decay_log[mine].exp()
    y = _scan_reference.scan(
        u[None, None], delta[None, None], a[None], b[None, None], c[None, None], module.direct[mine][None]
    )[0, 0]
    placed = torch.empty_like(x)
    for token, place in zip(y, order, strict=True):
        placed[place] = token
    return placed


def test_four_directions_are_put_back_in_place() -> None:
    torch.manual_seed(0)
    module = SS2D(3, states=4)
    x = torch.randn(2, 5, 7, 6)
    with torch.no_grad():
        expected = torch.stack([sum(one_direction(module, one, k) for k in range(4)) for one in x])
        torch.testing.assert_close(module.scans(x), expected, rtol=1e-5, atol=1e-6)


def test_what_stands_between_sees_the_summed_scans() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return x * 2

    torch.manual_seed(0)
    module = SS2D(8, between=Doubled())
    x = torch.randn(2, 4, 6, 8)
    assert module(x).shape == x.shape
    assert module.between.seen.shape == (2, 4, 6, 16)


def test_initial_steps_and_decays_are_the_published_ones() -> None:
    torch.manual_seed(0)
    module = SS2D(32)
    steps = functional.softplus(module.steps_bias.detach())
    assert 0.99e-3 < float(steps.min()) < 2e-3
    assert 5e-2 < float(steps.max()) < 1.01e-1
    torch.testing.assert_close(module.decay_log[7].exp(), torch.arange(1.0, 17.0))
    assert float(module.steps.detach().abs().max()) <= 2**-0.5
    assert float(module.coefficients.detach().abs().max()) <= 64**-0.5
