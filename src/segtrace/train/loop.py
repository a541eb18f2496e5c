"""The training loop: one resolved run in, a checkpoint folder out.

Same run, threads and processor kind give the same bytes. All randomness is a function of (seed, epoch,
case, draw) or of (seed, step), so that a training that is killed anywhere and started again ends with
the same files as one that was never interrupted.
"""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segtrace import checkpoint
from segtrace import device as devices
from segtrace.digests import digest
from segtrace.errors import SegtraceError
from segtrace.files import atomic, read_json, write_json
from segtrace.progress import Progress, progress
from segtrace.train import (
    attempts,
    data,
    interruption,
    launch,
    resume,
    sampling,
    step,
    tracking,
)
from segtrace.train import world as worlds
from segtrace.train.learner import check_whole_images, prepare_learner, sides_of
from segtrace.train.randomness import key_of, torch_seed
from segtrace.train.schedule import learning_rate
from segtrace.train.validation import validate
from segtrace.train.watch import Watch
from segtrace.train.world import World

#: Columns of ``history.csv``; the table's schema has the same.
HISTORY = ("epoch", "step", "learning_rate", "loss", "val_dice")


def train(
    run: dict[str, Any],
    *,
    folder: Path,
    attempt: int = 1,
    gpus: int | None = None,
    save_seconds: float = 60.0,
    save_steps: int | None = None,
) -> None:
    """Train ``run`` (the content of ``run.json``) into ``folder``.

    Writes ``weights.safetensors`` (after the last epoch), ``best_val.safetensors`` (best mean foreground
    Dice on the validation cases; the earlier one of equals), ``history.csv``, and last ``run.json``. States to
    resume from go to ``folder/resume`` every ``save_seconds``, or every ``save_steps`` steps, and are removed at the
    end; when they are written changes no result. Another process that trains the same folder is waited
    for; what it finished is not trained again. ``attempt`` counts from 1: a later one goes on where an earlier one
    was killed or ran out of memory, and refuses to repeat any other failure. ``gpus`` is how many a scheduler gave
    this job, where one did; with 0 it trains on the CPU.

    A run of several ``devices`` is trained by as many processes, which are started here unless this is one of them
    (:mod:`segtrace.train.launch`).

    Raises :class:`SegtraceError` for unfit data, a non-finite loss or gradient, or too little memory; and
    :class:`SystemExit`, after a state is written, where SIGTERM or SIGUSR1 asked the process to end.
    """
    count = run.get("devices", 1)
    if count > 1 and not worlds.is_one_of_several():
        launch.launch(
            run, folder, attempt=attempt, gpus=gpus, save_seconds=save_seconds, save_steps=save_steps
        )
        return
    with (
        launch.explained(),
        worlds.joined(count) as world,
        worlds.held(world, folder, what=f"train {run['run']}"),
    ):
        if world.told([world.is_first and is_complete(run, folder)])[0]:
            print(f"{folder}: this run is already trained; nothing to do", flush=True)
            if world.is_first:
                resume.discard(folder)
            return
        devices.set_determinism(run["determinism"], threads=run["threads"])
        devices.keep_freed_memory()
        with (
            worlds.device(world, threads=run["threads"], granted=gpus) as device,
            interruption.noticed() as asked_to_end,
            attempts.told(run, folder, attempt),
        ):
            parts = world.told([attempts.parts(run, folder)])[0]
            saving = {"seconds": save_seconds, "steps": save_steps, "asked_to_end": asked_to_end}
            _train(run, folder, device, world=world, parts=parts, saving=saving)


def is_complete(run: Mapping[str, Any], folder: Path) -> bool:
    """Whether ``folder`` holds the finished and undamaged training of ``run``, on whatever machine."""
    try:
        found = read_json(folder / "run.json")
    except SegtraceError:
        return False
    same = _asked(found) == _asked(run)
    files = (folder / "weights.safetensors", folder / "best_val.safetensors")
    return same and (folder / "history.csv").is_file() and all(map(checkpoint.is_intact, files))


def _asked(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was asked to be, without what training adds to ``run.json``."""
    return {key: value for key, value in run.items() if key not in ("machine", "first_weights")}


def _train(
    run: dict[str, Any],
    folder: Path,
    device: torch.device,
    *,
    world: World,
    parts: int,
    saving: Mapping[str, Any],
) -> None:
    cases = data.load(run, device=device, sharers=world.local_size)
    learner = prepare_learner(run, device, parts=parts, sides=sides_of(run, cases), world=world)
    check_whole_images(run, cases, learner.network)
    run = run | {"machine": devices.kind(device) | {"forward": learner.manner} | world.kind}
    if learner.first_weights is not None:
        run["first_weights"] = learner.first_weights
    identity = digest(run)
    state = resume.State(_beginning(), torch.zeros((), dtype=torch.float64, device=device))
    if resume.load_together(folder, identity=identity, learner=learner, state=state):
        at = state.position
        print(f"resuming at epoch {at['epoch'] + 1}, step {at['step'] + 1}", flush=True)
    step.join(learner)
    saver = resume.Saver(folder, identity, learner, state, **saving)
    watch = Watch(run, folder, device)
    total, done = run["training"]["epochs"] * _steps_per_epoch(run), state.position["step"]
    shown: dict[str, Any] = {"unit": "images", "memory": lambda: devices.memory_in_use(device)}
    history = state.position["history"]
    kinds = tracking.asked() if world.is_first else []
    with (
        tracking.tracker(kinds, run["run"], history=history) as tracked,
        progress(f"train {run['run']}", total, done=done, **shown) as bar,
    ):
        while state.position["epoch"] < run["training"]["epochs"]:
            _epoch(run, cases, learner, state, watch=watch, saver=saver, bar=bar)
            _end_epoch(run, cases, learner, state)
            tracked.epoch(state.position["history"][-1])
            saver.save_if_due(epoch_ended=True)
    if parts != run["training"]["accumulate"]:
        run["machine"]["parts"] = parts  # memory did not do for the recipe's own
    if world.is_first:
        _finish(run, folder, learner, state)
    world.told([0])  # the others wait until all is written


def _beginning() -> dict[str, Any]:
    """The position before the first step."""
    return {"epoch": 0, "index": 0, "step": 0, "history": [], "best_epoch": 0, "best_dice": None}


def _steps_per_epoch(run: Mapping[str, Any]) -> int:
    return math.ceil(len(run["cases"]["train"]) / run["training"]["cases_per_step"])


def _epoch(
    run: Mapping[str, Any],
    cases: data.Cases,
    learner: step.Learner,
    state: resume.State,
    *,
    watch: Watch,
    saver: resume.Saver,
    bar: Progress,
) -> None:
    """The rest of the epoch at which the state stands."""
    training, seed, at = run["training"], run["seed"], state.position
    epoch, width, count = at["epoch"], training["cases_per_step"], _steps_per_epoch(run)
    order = sampling.epoch_order(seed, epoch, run["cases"]["train"])
    steps = [order[first : first + width] for first in range(at["index"] * width, len(order), width)]
    _tell_progress(learner.network, epoch=epoch, epochs=training["epochs"])
    learner.network.train()
    if learner.objective is not None:
        learner.objective.train()
    world = learner.world

    def share(samples: int) -> list[int]:
        return [place for piece in world.pieces(samples, learner.parts) for place in piece.samples]

    for samples, images, labels in data.batches(cases, steps, run=run, epoch=epoch, share=share):
        rate = learning_rate(training, epoch=epoch, step=at["step"], steps_per_epoch=count)
        # for layers such as dropout
        torch.manual_seed(torch_seed("step", seed, at["step"], *([world.rank] if world.rank else [])))
        if learner.objective is not None and hasattr(learner.objective, "key"):  # what a framework draws from
            learner.objective.key = key_of("distill", seed, at["step"])
        try:
            pieces = world.pieces(len(samples), learner.parts)
            loss, norm = step.take(learner, images, labels, rate=rate, pieces=pieces)
        except Exception as error:
            chosen = ", ".join(sorted({sample["case"] for sample in samples}))
            error.add_note(f"in {run['run']}, epoch {epoch + 1}, step {at['step'] + 1}, cases {chosen}")
            raise
        watch.see(loss, norm, position=at, samples=samples, rate=rate)
        state.loss_sum += loss
        at["index"] += 1
        at["step"] += 1
        known = (
            "" if math.isnan(watch.last_loss) else f", loss {watch.last_loss:.3f}"
        )  # on a GPU, not at once
        note = f"epoch {epoch + 1}/{training['epochs']}{known}"
        bar.advance(units=len(samples), note=note)
        saver.save_if_due(first=watch.check)
    watch.check()


def _tell_progress(network: nn.Module, *, epoch: int, epochs: int) -> None:
    """Tell a network that changes over the training how far it is; ``epoch`` counts from 0. Most have no such method."""
    tell = getattr(network, "set_progress", None)
    if tell is not None:
        tell((epoch + 1) / epochs)


def _end_epoch(run: Mapping[str, Any], cases: data.Cases, learner: step.Learner, state: resume.State) -> None:
    """The epoch's row of the history, with a validation where one is due."""
    training, at, count = run["training"], state.position, _steps_per_epoch(run)
    epoch, last = at["epoch"] + 1, at["step"] - 1
    row = {
        "epoch": epoch,
        "step": at["step"],
        "learning_rate": learning_rate(training, epoch=at["epoch"], step=last, steps_per_epoch=count),
        "loss": float(state.loss_sum) / count,
        "val_dice": None,
    }
    if epoch % training["validate_every"] == 0 or epoch == training["epochs"]:
        dice = row["val_dice"] = validate(
            learner.trained, cases, run=run, device=learner.device, world=learner.world
        )
        if dice is not None and (at["best_dice"] is None or dice > at["best_dice"]):
            at["best_dice"], at["best_epoch"] = dice, epoch
            weights = learner.trained.state_dict()
            state.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
    at["history"].append(row)
    at["epoch"], at["index"] = epoch, 0
    state.loss_sum.zero_()


def _finish(run: Mapping[str, Any], folder: Path, learner: step.Learner, state: resume.State) -> None:
    """Write the outputs, ``run.json`` last: it says that the others are complete."""
    at, weights = state.position, learner.trained.state_dict()
    about = {"run": run["run"], "identity": digest(run)}
    if learner.objective is not None:
        about["heads"] = sum(value.numel() for value in learner.objective.parameters())
    best_epoch = at["best_epoch"] if state.best is not None else at["epoch"]
    best = about | {"epoch": best_epoch}
    checkpoint.save(folder / "best_val.safetensors", state.best or weights, metadata=best)
    last = about | {"epoch": at["epoch"], "step": at["step"]}
    checkpoint.save(folder / "weights.safetensors", weights, metadata=last)
    with atomic(folder / "history.csv") as handle:
        writer = csv.DictWriter(handle, HISTORY, lineterminator="\n")
        writer.writeheader()
        writer.writerows(at["history"])
    write_json(folder / "run.json", dict(run))
    resume.discard(folder)
