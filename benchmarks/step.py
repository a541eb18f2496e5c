"""Training steps: what a step spends outside the network, and whole steps beside a MONAI loop and nnU-Net v2.

    .venv-peers/bin/python benchmarks/step.py [--mirror FOLDER] [--turns 8] [--threads 2]

segtrace's side is always its engine as it runs (``segtrace.train.loop``), with all that it does between two
steps. A peer takes its steps in turns with the engine's, in the same process.

1. Where the time of a step goes, for the papers' hippocampus recipe (DynUNet, 16 crops of 32³).
2. The same recipe beside a plain MONAI loop: ``CacheDataset`` (arrays in memory), ``DataLoader``, the usual
   dictionary transforms, ``DiceCELoss``, AdamW; the same network, crops, batch and precision.
3. nnU-Net's own hippocampus plan (batch 9 of 40x56x40, PlainConvUNet with deep supervision) beside its trainer,
   ``nnUNetTrainer.train_step(next(dataloader_train))`` with as many augmenting processes as there are threads:
   as shipped on a CPU (float32), and within bfloat16 autocast, which nnU-Net itself leaves off. segtrace trains
   the same network on the same prepared arrays, with Dice and cross-entropy at the same scales and weights and
   with nnU-Net's probabilities of rotation, scaling, flips, noise, gamma and brightness; blurring, lower resolution and
   contrast, which segtrace has not, are nnU-Net's alone. FOLDER holds Task04_Hippocampus.tar.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

import measure
import nnunet_peer
import steps
import synthetic
from segtrace import networks, store
from segtrace.losses import dice_ce
from segtrace.train import loop, step

CPU = torch.device("cpu")
PARTS = ("forward", "loss", "backward", "optimiser")


class Turns(steps.Stopwatch):
    """A stopwatch that lets the peers take a step after each of the engine's."""

    def __init__(self, peers: Mapping[str, Callable[[], object]], *, warm: int, timed: int) -> None:
        super().__init__(CPU, warm=warm, timed=timed)
        self.peers = peers
        self.times: dict[str, list[float]] = {name: [] for name in ("segtrace", *peers)}
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.count, self.begin = 0, 0.0

    def stamp(self) -> None:
        """The engine's step is done; the first ones are not counted."""
        now = time.perf_counter()
        self.count += 1
        if self.count > self.warm:
            self.times["segtrace"].append(1e3 * (now - self.begin))
        else:
            self.seconds = dict.fromkeys(PARTS, 0.0)
        kept = dict(self.seconds)
        for name, peer in self.peers.items():
            start = time.perf_counter()
            with as_peers_are():
                peer()
            if self.count > self.warm:
                self.times[name].append(1e3 * (time.perf_counter() - start))
        self.seconds = kept  # the peers' backward passes are none of the engine's
        if self.count == self.warm + self.timed:
            raise steps.Enough
        self.begin = time.perf_counter()

    def timing(self, manner: str) -> steps.Timing:
        """What the engine's caller asks for; not used here."""
        return steps.Timing(0.0, 0.0, 0.0, manner)


@contextlib.contextmanager
def as_peers_are() -> Iterator[None]:
    """Without the engine's strict determinism, which the peers do not ask for."""
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)


@contextlib.contextmanager
def parts_timed(watch: Turns) -> Iterator[None]:
    """Add up in ``watch.seconds`` what each part of the engine's steps takes."""
    prepare, backward = loop.prepare_learner, Tensor.backward

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            watch.seconds[part] += time.perf_counter() - start
            return result

        return call

    def noted(*arguments: Any, **options: Any) -> step.Learner:
        learner = prepare(*arguments, **options)
        learner.forward = timed("forward", learner.forward)
        learner.loss_of = timed("loss", learner.loss_of)
        learner.optimiser.step = timed("optimiser", learner.optimiser.step)  # type: ignore[method-assign]
        return learner

    with (
        mock.patch.object(loop, "prepare_learner", noted),
        mock.patch.object(Tensor, "backward", timed("backward", backward)),
    ):
        yield


def take(run: dict[str, Any], folder: Path, watch: Turns) -> None:
    """Run the engine until ``watch`` has enough."""
    run = run | {"threads": torch.get_num_threads()}
    shutil.rmtree(folder, ignore_errors=True)
    with parts_timed(watch):
        steps.engine(run, folder, watch)


def shares(name: str, watch: Turns) -> None:
    """Print where the engine's time went."""
    total = sum(watch.times["segtrace"]) / 1e3
    found = {part: 100 * seconds / total for part, seconds in watch.seconds.items()}
    measure.say(
        f"  {name:32s}"
        + ", ".join(f"{part} {share:.1f} %" for part, share in found.items())
        + f"; outside {100 - sum(found.values()):.2f} % (bar 5 %), outside and loss "
        f"{100 - sum(found.values()) + found['loss']:.2f} %"
    )


def arrays(folder: Path, names: list[str]) -> list[dict[str, np.ndarray]]:
    """Prepared cases as MONAI's dictionary transforms take them: channel first."""
    opened = [store.open_case(folder, name) for name in names]
    return [
        {"image": np.array(entry.image), "label": np.array(entry.label)[None]}
        for entry in opened
        if entry.label is not None
    ]


def monai_loop(run: dict[str, Any], network: nn.Module, *, bf16: bool) -> Callable[[], object]:
    """A plain MONAI training loop; each call takes its next step."""
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader
    from monai.losses import DiceCELoss

    crop = run["training"]["crop"]
    keys = ["image", "label"]
    changes = [
        t.RandCropByPosNegLabeld(
            keys, "label", crop["size"], pos=1.0, neg=0.1, num_samples=crop["per_case"], allow_smaller=True
        ),
        t.SpatialPadd(keys, crop["size"], mode="edge"),
        *(t.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
        t.RandRotate90d(keys, prob=0.1, max_k=3),
        t.RandShiftIntensityd("image", offsets=0.1, prob=1.0),
    ]
    names = run["cases"]["train"]
    data = CacheDataset(arrays(Path(run["prepared"]), names), t.Compose(changes), progress=False)
    loader = DataLoader(data, batch_size=run["training"]["cases_per_step"], shuffle=True)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-5)
    network.train()

    def forever() -> Iterator[float]:
        while True:
            for batch in loader:
                optimiser.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = loss_of(network(batch["image"]), batch["label"])
                loss.backward()
                optimiser.step()
                yield loss.item()

    taking = forever()
    return lambda: next(taking)


def network_of(run: dict[str, Any]) -> nn.Module:
    """The run's network."""
    spec = run["network"]
    return networks.create(
        spec["name"],
        in_channels=spec["in_channels"],
        out_channels=spec["out_channels"],
        spatial_dims=spec["spatial_dims"],
        **spec["options"],
    )


def beside_monai(work: Path, turns: int) -> None:
    """Parts 1 and 2."""
    run = synthetic.hippocampus()
    shapes = synthetic.sizes(24, synthetic.HIPPOCAMPUS_SIDES)
    synthetic.write_cases(run, work / "step_cases", shapes, validation=2)
    measure.head("hippocampus recipe, 16 crops of 32³, ms a step", ["segtrace", "MONAI loop"])
    found = {}
    for precision in ("fp32", "bf16"):
        changed = synthetic.with_training(run, precision=precision, validate_every=1000, epochs=1000)
        torch.manual_seed(0)
        peer = monai_loop(changed, network_of(run), bf16=precision == "bf16")
        watch = Turns({"MONAI": peer}, warm=2, timed=turns)
        take(changed, work / "step_run", watch)
        measure.row(precision, watch.times, bar=1.1)
        found[precision] = watch
    measure.say("\nwhere segtrace's step goes")
    for precision, watch in found.items():
        shares(precision, watch)


def deep_loss(logits: Any, labels: Tensor) -> Tensor:
    """Dice and cross-entropy at each scale of the network's outputs, weighted as nnU-Net's trainer does."""
    plain = dice_ce.build()
    outputs = logits if isinstance(logits, list | tuple) else [logits]
    weights = [1 / 2**number for number in range(len(outputs))]
    weights[-1] = 0.0  # as nnU-Net leaves out the coarsest
    total = torch.zeros(())
    for output, weight in zip(outputs, weights, strict=True):
        if weight:
            factors = [n // m for n, m in zip(labels.shape[1:], output.shape[2:], strict=True)]
            fitting = labels[(slice(None), *(slice(factor // 2, None, factor) for factor in factors))]
            total = total + plain(output, fitting) * (weight / sum(weights))
    return total


def same_as_nnunet(
    work: Path, prepared: Mapping[str, tuple[Any, Any]], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """A run on nnU-Net's prepared arrays with its plan's crops and batch, and its trainer's settings."""
    run = synthetic.hippocampus()
    folder = work / "step_nnunet_cases"
    for case, (data, seg) in prepared.items():
        label = np.maximum(seg, 0).astype(np.uint8)
        store.write_case(
            folder, case, image=data.astype(np.float32), label=label, record={"digest": "0" * 16}
        )
    names = sorted(prepared)
    run["cases"], run["prepared"] = {"train": names[:-2], "val": names[-2:]}, str(folder)
    run["training"] |= {
        "epochs": 1000,
        "validate_every": 1000,
        "cases_per_step": plan["batch_size"],
        "crop": {"size": list(plan["patch_size"]), "per_case": 1, "foreground": 0.33, "background": 0.67},
        "optimiser": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.99,
        "nesterov": True,
        "weight_decay": 3e-5,
        "clip_norm": 12.0,
        "augmentation": run["training"]["augmentation"]
        | {
            "flip_p": 0.5,
            "rot90_p": 0.0,
            "rotate_p": 0.2,
            "zoom_p": 0.2,
            "zoom": [0.7, 1.4],
            "label_interpolation": "linear",
            "noise_p": 0.1,
            "gamma_p": 0.3,
            "shift_p": 0.0,
            "scale_p": 0.15,
            "scale": 0.25,
        },
    }
    return run


def beside_nnunet(mirror: Path, work: Path, turns: int) -> None:
    """Part 3."""
    nnunet_peer.set_folders(work)
    volumes = nnunet_peer.hippocampus(mirror, work)
    planned = nnunet_peer.plan(
        "Dataset004_Hippocampus",
        volumes,
        work,
        channels=["MRI"],
        labels={"anterior": 1, "posterior": 2},
        ending=".nii.gz",
    )
    plan = planned.plans["configurations"]["3d_fullres"]
    prepared = nnunet_peer.preprocess(planned, [case for case, _, _ in volumes[:40]], "3d_fullres")
    run = same_as_nnunet(work, prepared, plan)
    processes = torch.get_num_threads()
    trainer = nnunet_peer.trainer(planned, "3d_fullres", processes=processes)
    torch.set_num_threads(processes)

    def shipped() -> None:
        trainer.train_step(next(trainer.dataloader_train))

    def in_bf16() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            shipped()

    def build(*_: Any, **__: Any) -> nn.Module:
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        kind = plan["architecture"]
        found: nn.Module = get_network_from_plans(
            kind["network_class_name"],
            kind["arch_kwargs"],
            kind["_kw_requires_import"],
            1,
            3,
            deep_supervision=True,
        )
        return found

    sides = {
        "bf16": {"nnU-Net, float32 as shipped": shipped, "nnU-Net, bf16 autocast": in_bf16},
        "fp32": {"nnU-Net, float32 as shipped": shipped},
    }
    size = "x".join(map(str, plan["patch_size"]))
    try:
        with (
            mock.patch.object(loop.networks, "create", build),
            mock.patch.object(loop.losses, "create", return_value=deep_loss),
        ):
            for precision, peers in sides.items():
                changed = synthetic.with_training(run, precision=precision)
                watch = Turns(peers, warm=1, timed=turns)
                take(changed, work / "step_run", watch)
                measure.head(
                    f"nnU-Net's hippocampus plan, batch {plan['batch_size']} of {size}, ms a step",
                    [f"segtrace, {precision}", *peers],
                )
                measure.row("", watch.times, bar={"bf16": 2.0, "fp32": 1.0}[precision])
                shares(precision, watch)
    finally:
        for loader in (trainer.dataloader_train, trainer.dataloader_val):
            if hasattr(loader, "_finish"):
                with measure.quiet():
                    loader._finish()


def main() -> None:
    """Run the comparisons and print them."""
    parser = measure.arguments(__doc__, repeats=8)
    parser.add_argument("--mirror", type=Path, help="folder with the published archives")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads")
    parser.add_argument("--work", type=Path, default=Path("/tmp/segtrace-bench"), help="scratch folder")
    chosen = parser.parse_args()
    work: Path = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(chosen.threads)
    measure.say(measure.machine())
    measure.say(f"{chosen.threads} threads; medians of {chosen.repeats} turns (fastest to slowest)")
    os.chdir(work)  # the engine's locks go here
    beside_monai(work, chosen.repeats)
    if chosen.mirror is None:
        measure.say("\nnnU-Net: left out, for want of --mirror (a folder with Task04_Hippocampus.tar)")
    else:
        beside_nnunet(chosen.mirror, work, chosen.repeats)


if __name__ == "__main__":
    main()
