"""The parts of the table of a GPU; `gpu.py` says what each shows."""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import determinism as proofs
import steps
import synthetic
from gpu_setting import Late, Row, Setting, at_most, tf32
from segtrace import determinism, losses, networks, sliding
from segtrace import device as devices
from segtrace.errors import SegtraceError
from segtrace.train import loop
from steps import Enough

# --- one step ------------------------------------------------------------------------------------------


def show(timing: steps.Timing) -> str:
    """A timing in words."""
    memory = f", {timing.memory_gib:.2f} GiB" if timing.memory_gib else ""
    return f"{timing.ms:.2f} ms (median {timing.median_ms:.2f}{memory}; {timing.manner})"


PRECISIONS = {"fp32": ("fp32", False), "TF32": ("fp32", True), "bf16": ("bf16", True)}


def step_rows(at: Setting) -> Iterator[Row]:
    """The hippocampus step: engine against constant tensors, in all ways but the compiled ones."""
    kinds = [(mode, name, False) for mode in ("strict", "fast") for name in PRECISIONS]
    kinds += [("strict", "TF32", True), ("strict", "bf16", True)]
    if at.dry:
        kinds = [("strict", "TF32", False), ("fast", "bf16", True)]
    for mode, name, graphs in kinds:
        precision, allowed = PRECISIONS[name]
        run = synthetic.with_training(at.run, determinism=mode, precision=precision, cuda_graphs=graphs)
        with tf32(allowed):
            real = steps.engine(run, at.folder / "step", at.watch())
            constant = steps.engine(run, at.folder / "step", at.watch(), constant=True)
            alone = steps.bare(run, at.watch(), shape=steps.shape_of(run))
        title = f"{mode}, {name}, {'CUDA graphs' if graphs else 'eager'}"
        at.times[title] = real.ms
        ratio = real.ms / alone.ms
        yield Row(
            "steps",
            title,
            f"engine {show(real)}; its loop on one constant batch {constant.ms:.2f} ms; the step alone "
            f"{alone.ms:.2f} ms; ratio {ratio:.2f}",
            "engine / step alone ≤ 1.15",
            ratio <= 1.15,
            numbers={"engine": vars(real), "constant": vars(constant), "alone": vars(alone)},
        )
    for name in ("TF32", "bf16"):
        one, other = (at.times.get(f"{mode}, {name}, eager") for mode in ("strict", "fast"))
        if one and other:
            yield Row("steps", f"cost of strict, {name}, eager", f"{one / other:.2f} times fast")
    if at.device.type == "cuda":
        count, where = steps.host_waits(at.run, at.folder / "step", at.device)
        yield Row(
            "steps",
            "the host waits for the GPU",
            f"{count} times in 25 steps{f', first at {where}' if where else ''}",
            "none",
            count == 0,
        )


def large_rows(at: Setting) -> Iterator[Row]:
    """The step alone where kernels, not their launches, take the time."""
    three = at.run["network"] | {"in_channels": 4, "out_channels": 4, "spatial_dims": 3}
    three["options"] = {"filters": [32, 64, 128, 256, 320, 320]}
    two = three | {"in_channels": 3, "out_channels": 2, "spatial_dims": 2}
    two["options"] = {"filters": [32, 64, 128, 256, 512, 512, 512]}
    sizes = {
        "3-D, 2 x 4 x 128³": (three, (2, 4, 128, 128, 128)),
        "2-D, 12 x 3 x 512²": (two, (12, 3, 512, 512)),
    }
    if at.dry:
        three["options"], two["options"] = {"filters": [4, 8, 8]}, {"filters": [4, 8, 8]}
        sizes = {"3-D": (three, (1, 4, 16, 16, 16)), "2-D": (two, (1, 3, 32, 32))}
    for title, (network, shape) in sizes.items():
        found = {}
        for mode in ("strict", "fast"):
            for name in ("TF32", "bf16"):
                run = synthetic.with_training(at.run, determinism=mode, precision=PRECISIONS[name][0])
                run["network"] = network
                run["training"]["crop"] |= {"size": list(shape[2:]), "per_case": shape[0]}
                timing = steps.bare(run, at.watch(), shape=shape)
                found[mode, name] = timing.ms
                yield Row("large", f"{title}, {mode}, {name}", show(timing), numbers=vars(timing))
        for name in ("TF32", "bf16"):
            cost = found["strict", name] / found["fast", name]
            yield Row("large", f"{title}, cost of strict, {name}", f"{cost:.2f} times fast")


def compile_rows(at: Setting) -> Iterator[Row]:
    """The hippocampus step under torch.compile; compiling takes long, so each mode has a third of what is left."""
    modes = (
        ("default",) if at.dry and at.device.type == "cpu" else ("default", "reduce-overhead", "max-autotune")
    )
    share = at.left / len(modes)
    for mode in modes:
        run = synthetic.with_training(at.run, determinism="fast", compile=None if at.dry else mode)
        started = time.monotonic()
        try:
            with at_most(share):
                timing = steps.engine(run, at.folder / "step", at.watch())
        except Late:
            yield Row("compile", f"fast, TF32, compile: {mode}", f"not done in {share:.0f} s")
            continue
        begin = time.monotonic() - started
        yield Row(
            "compile",
            f"fast, TF32, compile: {mode}",
            f"{show(timing)}; {begin:.0f} s in all",
            numbers=vars(timing),
        )


# --- equal bits ----------------------------------------------------------------------------------------


def registry_rows(at: Setting) -> Iterator[Row]:
    """Two strict steps of every network with every loss, from one seed."""
    devices.set_determinism("strict", threads=at.run["threads"])
    names = ["dynunet"] if at.dry else networks.names()
    good, bad = 0, []
    for name in names:
        for dims in (2, 3):
            try:
                networks.create(name, in_channels=1, out_channels=3, spatial_dims=dims)
            except SegtraceError:
                continue  # the network has no such dimensions
            for loss in losses.names():
                title = f"{name} {dims}-D with {loss}"
                try:
                    same = strict_pair(at, name, dims, loss)
                except Exception as error:
                    advice = determinism.advice(error)
                    bad.append(f"{title}: {advice or str(error).splitlines()[0]}")
                    continue
                if same:
                    good += 1
                else:
                    bad.append(f"{title}: two equal steps differ")
    yield Row(
        "registry",
        "network x loss, strict",
        f"{good} work with equal bits" + "".join(f"; {text}" for text in bad),
        "all",
        not bad,
        must=True,
    )


def strict_pair(at: Setting, name: str, dims: int, loss: str) -> bool:
    """Whether two strict steps of a network and loss, from one seed, give equal gradients."""
    steps.fresh(at.device)
    pair = []
    for _ in range(2):
        torch.manual_seed(0)
        options = {"filters": [4, 8, 8]} if at.dry else {}
        network = networks.create(name, in_channels=1, out_channels=3, spatial_dims=dims, **options).to(
            at.device
        )
        side = 2 * int(getattr(network, "divisor", 16))
        images, labels = steps.batch_of((2, 1, *(side,) * dims), 3, at.device)
        torch.manual_seed(1)
        losses.create(loss)(network(images), labels).backward()
        pair.append([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    return all(torch.equal(a, b) for a, b in zip(*pair, strict=True))


def resume_rows(at: Setting) -> Iterator[Row]:
    """A strict training, repeated, and killed and resumed."""
    for title, precision, graphs in (("TF32", "fp32", False), ("bf16, CUDA graphs", "bf16", True)):
        if at.dry and graphs:
            break
        epochs = 2 if at.dry else 15
        run = synthetic.with_training(
            at.run, precision=precision, cuda_graphs=graphs, epochs=epochs, validate_every=max(1, epochs // 3)
        )
        run["cases"] = {role: names[: 60 if role == "train" else 4] for role, names in run["cases"].items()}
        said: list[str] = []
        with tempfile.TemporaryDirectory(dir=at.folder) as made:
            good = proofs.proof(title, run, Path(made), kills=1, repeats=1, seed=5, say=said.append)
        killed = next((line for line in said if line.startswith("| 1 |")), "not killed")
        yield Row(
            "resume",
            f"strict, {title}: repeated, and killed and resumed",
            f"{'equal' if good else 'NOT EQUAL'}, bit by bit ({killed.strip('| ')})",
            "equal",
            good,
            must=True,
            numbers={"text": said},
        )


# --- prediction ----------------------------------------------------------------------------------------


def sliding_rows(at: Setting) -> Iterator[Row]:
    """A volume in 8 classes by sliding window, against MONAI's."""
    from monai.inferers import sliding_window_inference

    side, window = (48, 32) if at.dry else (256, 96)
    widths = [4, 8, 8] if at.dry else [16, 32, 64, 128, 256]
    devices.set_determinism("fast", threads=at.run["threads"])
    torch.manual_seed(0)
    network = networks.create("dynunet", in_channels=1, out_channels=8, spatial_dims=3, filters=widths)
    network = network.to(at.device).eval()
    image = torch.randn(1, side, side, side, generator=torch.Generator().manual_seed(0)).to(at.device)
    windows = [window] * 3

    def ours(precision: str) -> torch.Tensor:
        options: dict[str, Any] = {
            "overlap": 0.5,
            "weighting": "gaussian",
            "batch": 4,
            "precision": precision,
        }
        return sliding.predict_logits(network, image, window=windows, device=at.device, **options)

    def peer() -> torch.Tensor:
        with torch.inference_mode():
            found = sliding_window_inference(
                image[None], windows, 4, network, overlap=0.5, mode="gaussian", padding_mode="replicate"
            )
        assert isinstance(found, torch.Tensor)
        return found[0]

    with tf32(False):  # equality is of float32
        off = float((ours("fp32") - peer()).abs().max())
    yield Row(
        "sliding",
        f"{side}³, 8 classes: greatest difference from MONAI's",
        f"{off:.1e}",
        "≤ 1e-5",
        off <= 1e-5,
    )
    mine, theirs = measured(at, lambda: ours("fp32")), measured(at, peer)
    text = f"{mine[0]:.2f} s and {mine[1]:.2f} GiB; MONAI {theirs[0]:.2f} s and {theirs[1]:.2f} GiB"
    yield Row("sliding", f"{side}³, 8 classes, TF32", text, "≤ MONAI's time", mine[0] <= theirs[0])
    rough = measured(at, lambda: ours("bf16"))
    yield Row("sliding", f"{side}³, 8 classes, bf16", f"{rough[0]:.2f} s and {rough[1]:.2f} GiB")


def measured(at: Setting, call: Callable[[], torch.Tensor]) -> tuple[float, float]:
    """Median seconds of three calls, and the most memory beyond what lies there before, in GiB."""
    call()
    steps.fresh(at.device)
    before = torch.cuda.memory_allocated(at.device) if at.device.type == "cuda" else 0
    found = []
    for _ in range(1 if at.dry else 3):
        at.synchronise()
        started = time.perf_counter()
        call()
        at.synchronise()
        found.append(time.perf_counter() - started)
    most = torch.cuda.max_memory_allocated(at.device) - before if at.device.type == "cuda" else 0
    return statistics.median(found), most / 2**30


# --- the whole recipe ----------------------------------------------------------------------------------


class Limited:
    """Takes the place of the engine's progress bar: notes the first step's end, and ends the training when time is up."""

    def __init__(self, end: float) -> None:
        self.end, self.first, self.steps = end, 0.0, 0

    def advance(self, steps: int = 1, *, units: int = 0, note: str = "") -> None:
        """A step is done."""
        del units, note
        self.steps += steps
        now = time.monotonic()
        self.first = self.first or now
        if now > self.end:
            raise Enough


def recipe_rows(at: Setting) -> Iterator[Row]:
    """The paper's training by the quicker of its strict ways; all of it, or as much as there is time for."""
    ways = {False: "strict, TF32, eager", True: "strict, TF32, CUDA graphs"}
    graphs = min(ways, key=lambda way: at.times.get(ways[way], 1e9))
    run = synthetic.with_training(at.run, cuda_graphs=graphs)
    training, count = run["training"], len(run["cases"]["train"])
    # what is left, but for some time to compile; enough for at least one validation
    bar = Limited(time.monotonic() + (2 if at.dry else max(at.left - 100, 45)))

    @contextlib.contextmanager
    def shown(*_: Any, **__: Any) -> Iterator[Limited]:
        yield bar

    steps.fresh(at.device)
    started = time.monotonic()
    with mock.patch.object(loop, "progress", shown), contextlib.suppress(Enough):
        loop.train(run, folder=at.folder / "recipe")
    at.synchronise()
    total, begin = time.monotonic() - started, bar.first - started
    whole = training["epochs"] * count
    estimate = begin + (total - begin) * whole / bar.steps
    part = "all of it" if bar.steps == whole else f"from {bar.steps / count:.0f} epochs in {total:.0f} s"
    yield Row(
        "recipe",
        f"hippocampus, {training['epochs']} epochs x {count} volumes x {training['crop']['per_case']} crops, validated on "
        f"{len(run['cases']['val'])} every {training['validate_every']} epochs; {ways[graphs]}",
        f"{estimate / 60:.2f} min ({part}; {begin:.1f} s before the first step is done)",
        "≤ 6 min",
        estimate <= 360,
        numbers={"seconds": total, "steps": bar.steps, "before_the_first": begin},
    )
