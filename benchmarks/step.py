"""Time a training step beside a plain MONAI loop and beside nnU-Net v2's own trainer.

    .venv-peers/bin/python benchmarks/step.py [--mirror FOLDER] [--repeats 5] [--cases 40]

Three comparisons, on two threads, on hippocampus volumes from FOLDER (Task04_Hippocampus.tar), or, without
it, on generated volumes of their sizes:

1. what a step spends outside the network's forward and backward pass and the optimiser: making samples, the
   loss's forward, the gradient's norm, looking for values that are not finite;
2. the whole step beside some fifteen lines of MONAI (cached cases, dictionary transforms, DiceCELoss, AdamW): the
   network, patches, samples a step and precision are the same, and at equal input the loss and the gradients;
3. the whole step beside ``nnUNetTrainer.train_step`` on its own plan (batch 9 of 40 x 56 x 40, deep supervision, its
   loss, its loaders with the number of processes that it chooses here), with its network, loss and
   optimiser in segtrace's step. nnU-Net as shipped uses float32 on a CPU; bfloat16 is compared as well. Both sides
   augment with flips, rotation, zoom, noise, brightness and gamma; nnU-Net blurs, changes contrast and simulates low
   resolution besides.

A turn is one step of each side; medians in milliseconds. Whole steps are taken in a process of its own for each side,
since segtrace's training loop sets up its process: strict determinism, and freed memory kept for the next
tensors.
"""

import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import measure
import nnunet_peer
import synthetic
from segtrace import device as devices
from segtrace import losses, networks, store
from segtrace.train import data, sampling, step
from segtrace.train.watch import Watch

Step = Callable[[], Any]
THREADS = 2
#: The papers' training of the hippocampus set, as the configuration has it.
HIPPOCAMPUS: dict[str, Any] = synthetic.hippocampus()["training"]
#: nnU-Net's own probabilities, where both have the change.
LIKE_NNUNET: dict[str, Any] = HIPPOCAMPUS["augmentation"] | {
    "rot90_p": 0.0,
    "shift_p": 0.0,
    "scale_p": 0.15,
    "scale": 0.25,
    "rotate_p": 0.2,
    "zoom_p": 0.2,
    "label_interpolation": "linear",
    "noise_p": 0.1,
    "noise": 0.3,
    "gamma_p": 0.3,
}


# --- data ----------------------------------------------------------------------------------------------


def generated(work: Path, count: int) -> list[tuple[str, Path, Path]]:
    """NIfTI volumes of the hippocampus set's sizes: two smooth structures in noise."""
    import SimpleITK as sitk

    found = []
    random = np.random.default_rng(0)
    for number in range(count):
        shape = (random.integers(24, 48), random.integers(41, 60), random.integers(31, 44))
        z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
        middle = [n / 2 for n in shape]
        distance = ((z - middle[0]) / 9) ** 2 + ((y - middle[1]) / 16) ** 2 + ((x - middle[2]) / 7) ** 2
        label = ((distance < 1).astype(np.uint8) * np.where(y < middle[1], 1, 2)).astype(np.uint8)
        image = 100 + 40 * label + random.normal(0, 15, shape)
        files = []
        for kind, array in (("image", image.astype(np.float32)), ("label", label)):
            files.append(work / "generated" / kind / f"case_{number:03d}.nii.gz")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(files[-1]))
        found.append((f"case_{number:03d}", files[0], files[1]))
    return found


def prepared(cases: Sequence[tuple[str, Path, Path]], folder: Path) -> list[str]:
    """The cases in segtrace's store, scaled by mean and deviation; their names."""
    import SimpleITK as sitk

    for name, image_file, label_file in cases:
        image, label = (sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in (image_file, label_file))
        image = ((image - image.mean()) / image.std()).astype(np.float32)[None]
        store.write_case(folder, name, image=image, label=label.astype(np.uint8), record={"digest": "0" * 16})
    return [name for name, _, _ in cases]


def run_of(folder: Path, names: Sequence[str], training: Mapping[str, Any]) -> dict[str, Any]:
    """As much of a ``run.json`` as a step reads."""
    return {
        "run": "benchmark",
        "seed": 0,
        "prepared": str(folder),
        "cases": {"train": list(names), "val": []},
        "network": {"in_channels": 1, "out_channels": 3, "spatial_dims": 3},
        "training": dict(training),
        "training_name": "benchmark",
    }


# --- segtrace's side -------------------------------------------------------------------------------------


def epochs(run: Mapping[str, Any], cases: data.Cases) -> Iterator[tuple[Any, Tensor, Tensor]]:
    """Batches without end, as the training loop takes them."""
    width, epoch = run["training"]["cases_per_step"], 0
    while True:
        order = sampling.epoch_order(0, epoch, run["cases"]["train"])
        steps = [order[first : first + width] for first in range(0, len(order) - width + 1, width)]
        yield from data.batches(cases, steps, run=run, epoch=epoch)
        epoch += 1


def learner_of(
    network: nn.Module, training: Mapping[str, Any], loss_of: step.Loss | None = None
) -> step.Learner:
    """A learner on the CPU, its weights laid out as the loop does."""
    layout = devices.memory_format(torch.device("cpu"), precision=training["precision"], axes=3)
    return step.learner(
        network.to(memory_format=layout), loss_of or losses.create("dice_ce"), training=training, parts=1
    )


def ours(run: Mapping[str, Any], learner: step.Learner) -> Step:
    """One whole step of segtrace: samples, forward, backward, update, and the look at loss and gradient."""
    devices.set_determinism("strict", threads=THREADS)  # as the training loop does
    devices.keep_freed_memory()
    batches = epochs(run, data.load(run))
    watch = Watch(run, Path(run["prepared"]), torch.device("cpu"))
    learner.network.train()

    def one() -> None:
        samples, images, labels = next(batches)
        loss, norm = step.take(learner, images, labels, rate=run["training"]["learning_rate"])
        watch.see(loss, norm, position={"epoch": 0, "step": 0}, samples=samples, rate=0.0)

    return one


@contextmanager
def stopwatch(learner: step.Learner) -> Iterator[list[float]]:
    """Seconds spent in the network's forward and backward pass and in the optimiser, while the block runs."""
    spent: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            spent.append(time.perf_counter() - start)
            return result

        return call

    kept = learner.forward, learner.optimiser.step, Tensor.backward
    learner.forward, Tensor.backward = timed(learner.forward), timed(Tensor.backward)  # type: ignore[method-assign]
    learner.optimiser.step = timed(learner.optimiser.step)  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        learner.forward, learner.optimiser.step, Tensor.backward = kept  # type: ignore[method-assign]


def outside(run: dict[str, Any], *, repeats: int) -> None:
    measure.head("Outside forward, backward and optimiser (DynUNet, 16 x 32^3)", ["step, ms", "outside, ms"])
    for precision in ("fp32", "bf16"):
        run["training"]["precision"] = precision
        learner = learner_of(dynunet(), run["training"])
        one = ours(run, learner)
        one()
        whole, rest = [], []
        for _ in range(repeats):
            with stopwatch(learner) as spent:
                start = time.perf_counter()
                one()
                whole.append(1e3 * (time.perf_counter() - start))
            rest.append(whole[-1] - 1e3 * sum(spent))
        share = statistics.median(rest) / statistics.median(whole)
        measure.say(
            f"{precision:34s}{measure.shown(whole):>30s}{measure.shown(rest):>30s}    {share:.1%}   (bar 5%)"
        )


# --- MONAI -----------------------------------------------------------------------------------------------


def monai_loop(network: nn.Module, cases: data.Cases, *, precision: str) -> Step:
    """A plain loop as MONAI's tutorials write it: cached cases, dictionary transforms, one volume of 16 crops a step."""
    from monai import data as monai_data
    from monai import losses as monai_losses
    from monai import transforms as mt

    keys = ["image", "label"]
    transform = mt.Compose(
        [
            mt.EnsureTyped(keys),
            mt.RandCropByPosNegLabeld(
                keys, "label", spatial_size=(32, 32, 32), pos=1, neg=0.1, num_samples=16
            ),
            *[mt.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)],
            mt.RandRotate90d(keys, prob=0.1, max_k=3, spatial_axes=(1, 2)),
            mt.RandShiftIntensityd("image", offsets=0.1, prob=1.0),
        ]
    )
    items = [
        {"image": np.array(case.image), "label": np.array(case.label)[None]}
        for case in cases.by_name.values()
    ]
    items = [{**item, **padded(item)} for item in items]
    loader = monai_data.DataLoader(
        monai_data.CacheDataset(items, transform, progress=False), batch_size=1, shuffle=True, num_workers=0
    )
    loss_of = monai_losses.DiceCELoss(to_onehot_y=True, softmax=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-5)
    endless = (batch for _ in iter(int, 1) for batch in loader)
    network.train()

    def one() -> None:
        batch = next(endless)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(network(batch["image"]), batch["label"])
        loss.backward()
        optimiser.step()
        loss.item()

    return one


def padded(item: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sides below 32 filled with edge values, as the recipe does before it crops."""
    room = [(0, 0), *[(0, max(0, 32 - side)) for side in item["image"].shape[1:]]]
    return {key: np.pad(item[key], room, mode="edge") for key in ("image", "label")}


def same_as_monai(network: nn.Module) -> None:
    """Stop unless loss and gradients are equal at equal input."""
    from monai.losses import DiceCELoss

    torch.manual_seed(0)
    images, labels = torch.randn(4, 1, 32, 32, 32), torch.randint(0, 3, (4, 32, 32, 32))
    found = []
    for loss_of, target in (
        (losses.create("dice_ce"), labels),
        (DiceCELoss(to_onehot_y=True, softmax=True), labels[:, None]),
    ):
        network.zero_grad()
        loss = loss_of(network(images), target)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def dynunet() -> nn.Module:
    """The papers' network for the hippocampus; the same weights each time."""
    torch.manual_seed(0)
    return networks.create("dynunet", in_channels=1, out_channels=3, spatial_dims=3)


def our_dynunet(run: dict[str, Any]) -> Step:
    """segtrace's side, in a process of its own."""
    torch.set_num_threads(THREADS)
    return ours(run, learner_of(dynunet(), run["training"]))


def monai_dynunet(run: dict[str, Any]) -> Step:
    """MONAI's side, in a process of its own."""
    torch.set_num_threads(THREADS)
    return monai_loop(dynunet(), data.load(run), precision=run["training"]["precision"])


def beside_monai(run: dict[str, Any], *, repeats: int) -> None:
    measure.head(
        "Whole step, DynUNet, 16 x 32^3 (equal loss and gradients)", ["segtrace, ms", "MONAI loop, ms"]
    )
    same_as_monai(dynunet())
    for precision in ("fp32", "bf16"):
        run["training"]["precision"] = precision
        sides = {"ours": (our_dynunet, (run,)), "theirs": (monai_dynunet, (run,))}
        measure.row(precision, measure.in_processes(sides, repeats=repeats), bar=1.1)


# --- nnU-Net ---------------------------------------------------------------------------------------------


def planned_for(cases: Sequence[tuple[str, Path, Path]], work: Path) -> nnunet_peer.Planned:
    """nnU-Net's own plan of ``cases``, which it has prepared."""
    planned = nnunet_peer.plan_hippocampus("Dataset904_HippocampusStep", cases, work)
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    chosen = planned.plans["configurations"]["3d_fullres"]
    chosen["batch_size"], chosen["patch_size"] = 9, [40, 56, 40]  # as its plan of all 260 cases says
    with measure.quiet():
        plans = planned.preprocessed / "nnUNetPlans.json"
        plans.write_text(json.dumps(planned.plans), encoding="utf-8")
        (planned.preprocessed / "dataset.json").write_text(json.dumps(planned.dataset), encoding="utf-8")
        DefaultPreprocessor(verbose=False).run(planned.name, "3d_fullres", "nnUNetPlans", num_processes=1)
    return planned


def trainer_of(planned: nnunet_peer.Planned, work: Path, *, loaders: bool) -> Any:
    """nnU-Net's trainer on the CPU, with its loaders if asked for."""
    nnunet_peer.set_folders(work)
    os.environ.pop("nnUNet_n_proc_DA", None)  # as shipped
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    with measure.quiet():
        plans = {**copy.deepcopy(planned.plans), "continue_training": False}
        trainer = nnUNetTrainer(plans, "3d_fullres", "all", planned.dataset, torch.device("cpu"))
        trainer.initialize()
        if loaders:
            trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    torch.set_num_threads(THREADS)
    return trainer


def our_step(run: dict[str, Any], planned: nnunet_peer.Planned, work: Path) -> Step:
    """segtrace's side with nnU-Net's network and loss, in a process of its own."""
    trainer = trainer_of(planned, work, loaders=False)
    return ours(run, learner_of(trainer.network, run["training"], supervised(trainer)))


def nnunet_step(planned: nnunet_peer.Planned, work: Path, precision: str) -> Step:
    """``train_step`` on a batch of its own loader; nnU-Net itself never uses autocast on a CPU."""
    trainer = trainer_of(planned, work, loaders=True)
    trainer.network.train()

    def one() -> None:
        batch = next(trainer.dataloader_train)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            trainer.train_step(batch)

    return one


def supervised(trainer: Any) -> step.Loss:
    """nnU-Net's loss over all its outputs, the labels made smaller as its loader does."""

    def loss_of(outputs: Any, labels: Tensor) -> Tensor:
        target = labels[:, None].float()
        sized = [
            target
            if o.shape[2:] == target.shape[2:]
            else functional.interpolate(target, o.shape[2:], mode="nearest-exact")
            for o in outputs
        ]
        loss: Tensor = trainer.loss(outputs, sized)
        return loss

    return loss_of


def same_as_nnunet(trainer: Any) -> None:
    """Stop unless the loss of a batch of nnU-Net's is the same on both sides."""
    batch = next(trainer.dataloader_train)
    with torch.no_grad():
        outputs = trainer.network(batch["data"])
        theirs = trainer.loss(outputs, batch["target"])
        found = supervised(trainer)(outputs, batch["target"][0][:, 0])
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-6)


def beside_nnunet(run: dict[str, Any], planned: nnunet_peer.Planned, work: Path, *, repeats: int) -> None:
    trainer = trainer_of(planned, work, loaders=True)
    same_as_nnunet(trainer)
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            with measure.quiet():
                loader._finish()
    count = sum(p.numel() for p in trainer.network.parameters())
    title = (
        f"Whole step, nnU-Net's network and loss ({count:,} parameters), batch 9 of 40 x 56 x 40 (equal loss)"
    )
    measure.head(title, ["segtrace, ms", "nnU-Net, ms"])
    times: dict[tuple[str, str], list[float]] = {}
    for precision in ("fp32", "bf16"):
        run["training"]["precision"] = precision
        sides = {
            "ours": (our_step, (run, planned, work)),
            "theirs": (nnunet_step, (planned, work, precision)),
        }
        found = measure.in_processes(sides, repeats=repeats)
        times |= {(side, precision): values for side, values in found.items()}
        measure.row(f"both {precision}", found, bar=1.0)
    shipped = {"ours": times["ours", "bf16"], "theirs": times["theirs", "fp32"]}
    measure.row("bf16, and nnU-Net as shipped", shipped, bar=2.0)


def main() -> None:
    """Run the comparisons and print them."""
    parser = measure.arguments(__doc__, repeats=5, check=True)
    parser.add_argument("--mirror", type=Path, help="folder with Task04_Hippocampus.tar")
    parser.add_argument("--cases", type=int, default=40, help="volumes on both sides (40)")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        nnunet_peer.set_folders(work)
        if given.check:
            same_as_monai(dynunet())
            measure.say("step: loss and gradients equal MONAI's")
            return
        there = given.mirror is not None and (given.mirror / nnunet_peer.ARCHIVE).is_file()
        cases = (
            nnunet_peer.hippocampus(given.mirror, work)[: given.cases]
            if there
            else generated(work, given.cases)
        )
        names = prepared(cases, work / "store")
        measure.say(
            f"{measure.machine()}\ntwo threads, {given.repeats} turns, {'real' if there else 'generated'} volumes"
        )
        run = run_of(work / "store", names, HIPPOCAMPUS)
        outside(run, repeats=given.repeats)
        beside_monai(run, repeats=given.repeats)
        large = HIPPOCAMPUS | {
            "cases_per_step": 9,
            "crop": {"size": [40, 56, 40], "per_case": 1, "foreground": 0.33, "background": 0.67},
            "optimiser": "sgd",
            "learning_rate": 1e-2,
            "weight_decay": 3e-5,
            "momentum": 0.99,
            "nesterov": True,
            "clip_norm": 12.0,
            "augmentation": LIKE_NNUNET,
        }
        beside_nnunet(
            run_of(work / "store", names, large), planned_for(cases, work), work, repeats=given.repeats
        )


if __name__ == "__main__":
    main()
