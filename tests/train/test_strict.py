"""Strict mode works for every registered network and loss: no step calls what has no deterministic form on a GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from registered_networks import all_logits, registry
from segtrace import determinism, device, losses, networks
from segtrace.errors import SegtraceError

# networks that go up bilinearly or trilinearly in every form, and those forms of the U-Net that do
INTERPOLATING = {
    "attention_unet3d",
    "cotr",
    "emis",
    "lv_unet",
    "malunet",
    "sc_unext",
    "transfuse",
    "unet_plus_plus",
    "unext",
    "utnet_v2",
}
INTERPOLATING_VARIANTS = {"bilinear", "nested"}


@pytest.fixture(autouse=True)
def settings():
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    flags = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)  # small tensors: more threads only wait for each other
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = flags


def step_of(name: str, dims: int, options: dict, loss: str, on: str = "cpu") -> Callable[[], list[Tensor]]:
    """One training step of a registered network and loss; it gives the gradients."""
    torch.manual_seed(0)
    network = networks.create(name, in_channels=2, out_channels=3, spatial_dims=dims, **options).to(on)
    side = network.divisor * 2
    random = torch.Generator().manual_seed(1)
    images = torch.randn(2, 2, *(side,) * dims, generator=random).to(on)
    labels = torch.randint(0, 3, (2, *(side,) * dims), generator=random).to(on)

    def step() -> list[Tensor]:
        network.zero_grad(set_to_none=True)
        sum(losses.create(loss)(logits, labels) for logits in all_logits(network, images)).backward()
        found = [parameter.grad for parameter in network.parameters()]
        assert all(gradient is not None for gradient in found)
        return found

    return step


# a loss sees logits alone, whatever network they are of: each network once and each loss once say what all pairs would
@registry
def test_a_step_calls_nothing_that_strict_refuses(name: str, dims: int, options: dict) -> None:
    assert determinism.nondeterministic_operations(step_of(name, dims, options, "dice_ce")) == []


@pytest.mark.parametrize("loss", losses.names())
def test_a_loss_calls_nothing_that_strict_refuses(loss: str) -> None:
    assert (
        determinism.nondeterministic_operations(step_of("unet", 2, {"widths": [4, 6, 8, 10, 12]}, loss)) == []
    )


@registry
def test_only_bilinear_networks_are_slowed(name: str, dims: int, options: dict) -> None:
    network = networks.create(name, in_channels=2, out_channels=3, spatial_dims=dims, **options)
    images = torch.randn(1, 2, *(network.divisor * 2,) * dims)
    slow = determinism.slow_operations(lambda: network(images).square().mean().backward())
    assert [text.split(":")[0] for text in slow] == (
        ["interpolate of mode bilinear or trilinear"]
        if name in INTERPOLATING or options.get("variant") in INTERPOLATING_VARIANTS
        else []
    )


def test_sums_at_given_places_are_slowed() -> None:
    x, places = torch.randn(2, 3, 4, requires_grad=True), torch.zeros(2, 1, 4, dtype=torch.long)
    (found,) = determinism.slow_operations(lambda: x.gather(1, places).sum().backward())
    assert found.startswith("gather (its backward) or scatter_add: use a product with the one-hot target")
    assert determinism.slow_operations(lambda: (x * (places == 0)).sum().backward()) == []


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU: strict mode is refused and slowed there alone"
)
@registry
def test_a_strict_step_on_a_gpu_gives_the_same_bits(name: str, dims: int, options: dict) -> None:
    device.set_determinism("strict", threads=1)
    for loss in losses.names():
        first, second = (step_of(name, dims, options, loss, "cuda")() for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), loss


# --- the test can fail --------------------------------------------------------------------------------

Q = torch.zeros(1, 8, 8, dtype=torch.long)
REFUSED: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "AvgPool3d": (3, nn.AvgPool3d(2)),
    "AdaptiveAvgPool2d": (2, nn.AdaptiveAvgPool2d(2)),
    "AdaptiveAvgPool3d": (3, nn.AdaptiveAvgPool3d(2)),
    "AdaptiveMaxPool": (2, nn.AdaptiveMaxPool2d(2)),
    "FractionalMaxPool": (3, nn.FractionalMaxPool3d(2, output_size=3)),
    "MaxUnpool": (2, lambda x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2)),
    "interpolate of mode linear or bicubic": (2, nn.Upsample(scale_factor=2, mode="bicubic")),
    "ReflectionPad": (3, nn.ReflectionPad3d(1)),
    "NLLLoss or cross_entropy": (2, lambda x: functional.cross_entropy(x, Q)),
    "CTCLoss": (
        2,
        lambda x: functional.ctc_loss(x.reshape(8, 1, 16).log_softmax(2), Q[0, :1, :2] + 1, (8,), (2,)),
    ),
    "EmbeddingBag of mode max": (2, lambda x: functional.embedding_bag(Q[0], x[0, 0], mode="max")),
    "cumsum of fractions": (2, lambda x: x.cumsum(2)),
    "grid_sample": (2, lambda x: functional.grid_sample(x, torch.zeros(1, 4, 4, 2), align_corners=False)),
    "put_": (2, lambda x: x.clone().put_(torch.tensor([0]), torch.ones(1))),
    "histc": (2, lambda x: x.sum() + torch.histc(x.detach())[0]),
    "bincount with weights": (2, lambda x: x.sum() + torch.bincount(Q[0, 0], x.detach()[0, 0, 0])[0]),
    "median with indices": (2, lambda x: x.median(2)[0]),
    "kthvalue": (2, lambda x: x.kthvalue(2, 2)[0]),
    "scatter_reduce of a product": (
        2,
        lambda x: x[0, 0].flatten().scatter_reduce(0, Q.flatten(), x[0, 1].flatten(), "prod"),
    ),
}


def of(call: Callable[[Tensor], Tensor], dims: int) -> Callable[[], None]:
    x = torch.randn(1, 2, *(8,) * dims, generator=torch.Generator().manual_seed(0), requires_grad=True)
    return lambda: call(x).sum().backward()


@pytest.mark.parametrize("operation", determinism.FORBIDDEN, ids=lambda o: o.name)
def test_each_refused_operation_is_named_with_what_to_use_instead(operation: determinism.Operation) -> None:
    dims, call = REFUSED[operation.name]
    assert determinism.nondeterministic_operations(of(call, dims)) == [
        f"{operation.name}: use {operation.instead}"
    ]


def test_a_network_that_pools_adaptively_is_named() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(3))
    x = torch.randn(1, 1, 8, 8, 8)
    (found,) = determinism.nondeterministic_operations(lambda: network(x).sum().backward())
    assert found.startswith("AdaptiveAvgPool3d: use x.mean(dim)")


@pytest.mark.parametrize(
    ("dims", "call"),
    [
        (2, nn.AdaptiveAvgPool2d(1)),  # torch takes the mean
        (3, nn.AdaptiveAvgPool3d(1)),
        (2, nn.AvgPool2d(2)),
        (3, nn.MaxPool3d(2)),
        (3, nn.ReplicationPad3d(1)),
        (3, nn.Upsample(scale_factor=2)),
        (2, lambda x: x.sum() + Q.cumsum(1).sum() + torch.bincount(Q[0, 0])[0]),
        (2, lambda x: functional.embedding_bag(Q[0], x[0, 0], mode="sum")),
        (2, lambda x: x[0, 0].flatten().scatter_reduce(0, Q.flatten(), x[0, 1].flatten(), "sum")),
    ],
)
def test_neighbours_of_refused_operations_are_not_named(dims: int, call: Callable[[Tensor], Tensor]) -> None:
    assert determinism.nondeterministic_operations(of(call, dims)) == []


def test_looking_leaves_torch_as_it_was_also_after_a_failure() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pytest.raises(ZeroDivisionError):
        determinism.nondeterministic_operations(lambda: 1 / 0)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)


def test_torchs_own_error_is_explained() -> None:
    said = "{} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'."
    found = determinism.advice(RuntimeError(said.format("adaptive_avg_pool3d_backward_cuda")))
    assert found is not None
    assert found.startswith("AdaptiveAvgPool3d has no deterministic form on a GPU; use x.mean(dim)")
    unknown = determinism.advice(RuntimeError(said.format("new_kernel_cuda")))
    assert unknown is not None
    assert unknown.startswith("new_kernel_cuda has no deterministic form")
    assert determinism.advice(RuntimeError("CUDA error: unspecified launch failure")) is None


# --- the two modes -------------------------------------------------------------------------------------


def test_strict_refuses_and_fast_allows_and_each_undoes_the_other() -> None:
    for _ in range(2):
        device.set_determinism("fast", threads=1)
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
        assert torch.backends.cuda.matmul.allow_tf32
        device.set_determinism("strict", threads=2)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.backends.cudnn.benchmark
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_num_threads() == 2
    torch.use_deterministic_algorithms(False)
    device.be_deterministic(threads=1)
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.raises(SegtraceError, match="determinism is 'loose'; there are: strict, fast"):
        device.set_determinism("loose", threads=1)
