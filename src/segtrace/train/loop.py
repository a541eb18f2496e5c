"""The training loop: one resolved run in, a checkpoint folder out.

Same run, threads and processor kind give the same bytes. All randomness is a function of (seed, epoch,
case, draw) or of (seed, step), so that a training that is killed anywhere and started again ends with
the same files as one that was never interrupted.
"""

import csv
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segtrace import checkpoint, losses, networks
from segtrace import device as devices
from segtrace.digests import digest
from segtrace.errors import SegtraceError, raise_all
from segtrace.files import atomic, hold, read_json, write_json
from segtrace.progress import progress
from segtrace.sliding import predict_logits
from segtrace.train import data, resume, sampling
from segtrace.train.schedule import learning_rate

#: Columns of ``history.csv``; the table's schema has the same.
HISTORY = ("epoch", "step", "learning_rate", "loss", "val_dice")
#: On a GPU, the loss is looked at every so many steps, so that the device is not made to wait each step.
GPU_CHECK_STEPS = 50


def train(
    run: dict[str, Any], *, folder: Path, save_seconds: float = 60.0, save_steps: int | None = None
) -> None:
    """Train ``run`` (the content of ``run.json``) into ``folder``.

    Writes ``weights.safetensors`` (after the last epoch), ``best_val.safetensors`` (best mean foreground
    Dice on the validation cases; the earlier one of equals), ``history.csv``, and last ``run.json``. States to
    resume from go to ``folder/resume`` every ``save_seconds``, or every ``save_steps`` steps, and are removed at the
    end; when they are written changes no result. Another process that trains the same folder is waited
    for; what it finished is not trained again.

    Raises :class:`SegtraceError` for unfit data, a non-finite loss or gradient, or too little memory.
    """
    with hold(folder, what=f"train {run['run']}"):
        if is_complete(run, folder):
            print(f"{folder}: this run is already trained; nothing to do", flush=True)
            resume.discard(folder)
            return
        devices.be_deterministic(threads=run["threads"])
        with devices.lease(threads=run["threads"], what="training") as device:
            try:
                _train(run, folder, device, save_seconds=save_seconds, save_steps=save_steps)
            except torch.OutOfMemoryError as error:
                raise SegtraceError(
                    f"{run['run']}: out of memory on {device} ({error}); lower training.cases_per_step, "
                    f"training.crop.per_case or training.crop.size in config/training/{run['training_name']}.yaml"
                ) from None


def is_complete(run: Mapping[str, Any], folder: Path) -> bool:
    """Whether ``folder`` holds the finished and undamaged training of ``run``, on whatever machine."""
    try:
        found = read_json(folder / "run.json")
    except SegtraceError:
        return False
    same = {k: v for k, v in found.items() if k != "machine"} == {
        k: v for k, v in run.items() if k != "machine"
    }
    files = (folder / "weights.safetensors", folder / "best_val.safetensors")
    return same and (folder / "history.csv").is_file() and all(map(checkpoint.is_intact, files))


def _train(
    run: dict[str, Any], folder: Path, device: torch.device, *, save_seconds: float, save_steps: int | None
) -> None:
    if run["framework"] is not None:
        raise SegtraceError(
            f"{run['run']}: there is no framework {run['framework']!r}; set framework: null in the method"
        )
    run = run | {"machine": devices.kind(device)}
    identity, seed, training = digest(run), run["seed"], run["training"]
    cases = data.load(run)
    names, epochs, width = run["cases"]["train"], training["epochs"], training["cases_per_step"]
    steps_per_epoch = math.ceil(len(names) / width)

    torch.manual_seed(
        sampling.torch_seed("network", seed)
    )  # a stream of its own: equal weights in any framework
    network = _create(run).to(device)
    _check_sizes(run, network)
    # measured on a CPU with bfloat16 units: a quarter faster in 2-D, a tenth in 3-D; no gain in float32 or on GPUs
    layout = torch.contiguous_format
    if device.type == "cpu" and training["precision"] == "bf16":
        layout = torch.channels_last if run["network"]["spatial_dims"] == 2 else torch.channels_last_3d
    network = network.to(memory_format=layout)
    loss_of = losses.create(training["loss"], **training["loss_options"])
    optimiser = _optimiser(network, training)

    position: dict[str, Any] = {
        "epoch": 0,
        "index": 0,
        "step": 0,
        "history": [],
        "best_epoch": 0,
        "best_dice": None,
    }
    best: dict[str, Tensor] | None = None
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    resumed = resume.load(folder, identity=identity, network=network, optimiser=optimiser)
    if resumed is not None:
        position, best, loss_sum = resumed[0], resumed[1], resumed[2].to(device)
        print(f"resuming at epoch {position['epoch'] + 1}, step {position['step'] + 1}", flush=True)

    def save() -> float:
        state = {
            "network": network,
            "optimiser": optimiser,
            "best": best,
            "loss_sum": loss_sum,
            "position": position,
        }
        resume.save(folder, identity=identity, **state)
        return time.monotonic()

    watch = _Watch(run, folder, device)
    saved = time.monotonic()
    with progress(f"train {run['run']}", epochs * steps_per_epoch) as bar:
        bar.advance(position["step"])
        while position["epoch"] < epochs:
            epoch = position["epoch"]
            order = sampling.epoch_order(seed, epoch, names)
            started, first = time.monotonic(), position["index"]
            while position["index"] < steps_per_epoch:
                chosen = order[position["index"] * width : (position["index"] + 1) * width]
                rate = learning_rate(training, epoch=epoch, step=position["step"])
                for group in optimiser.param_groups:
                    group["lr"] = rate
                torch.manual_seed(
                    sampling.torch_seed("step", seed, position["step"])
                )  # for layers such as dropout
                images, labels = data.batch(cases, chosen, run=run, epoch=epoch)
                network.train()
                with torch.autocast(device.type, torch.bfloat16, enabled=training["precision"] == "bf16"):
                    logits = network(images.to(device, memory_format=layout, non_blocking=True))
                loss = loss_of(logits, labels.to(device, non_blocking=True))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                norm = _gradient_norm(network, training["clip_norm"])
                watch.see(loss.detach(), norm, position=position, cases=chosen, rate=rate)
                optimiser.step()
                loss_sum += loss.detach()
                position["index"] += 1
                position["step"] += 1
                bar.advance(
                    note=_note(epoch, epochs, watch.last_loss, (position["index"] - first) * width, started)
                )
                due = (
                    position["step"] % save_steps == 0
                    if save_steps
                    else time.monotonic() - saved > save_seconds
                )
                if due:
                    watch.check()
                    saved = save()
            watch.check()
            row = {
                "epoch": epoch + 1,
                "step": position["step"],
                "learning_rate": learning_rate(training, epoch=epoch, step=position["step"] - 1),
                "loss": float(loss_sum) / steps_per_epoch,
                "val_dice": None,
            }
            if (epoch + 1) % training["validate_every"] == 0 or epoch + 1 == epochs:
                row["val_dice"] = validate(network, cases, run=run, device=device)
                dice = row["val_dice"]
                if dice is not None and (position["best_dice"] is None or dice > position["best_dice"]):
                    position["best_dice"], position["best_epoch"] = dice, epoch + 1
                    best = {
                        name: value.detach().cpu().clone() for name, value in network.state_dict().items()
                    }
            position["history"].append(row)
            position["epoch"], position["index"] = epoch + 1, 0
            loss_sum = torch.zeros_like(loss_sum)
            if (time.monotonic() - saved > save_seconds) or save_steps:
                saved = save()
    _finish(run, folder, network, best, position)


def _create(run: Mapping[str, Any]) -> nn.Module:
    """The run's network."""
    spec = run["network"]
    return networks.create(
        spec["name"],
        in_channels=spec["in_channels"],
        out_channels=spec["out_channels"],
        spatial_dims=spec["spatial_dims"],
        **spec["options"],
    )


def _check_sizes(run: Mapping[str, Any], network: nn.Module) -> None:
    """Refuse a crop or a window that the network cannot take, before the first step."""
    training, divisor = run["training"], int(getattr(network, "divisor", 1))
    sides = {
        "crop.size": (training["crop"] or {}).get("size"),
        "inference.window": training["inference"]["window"],
    }
    raise_all(
        [
            f"training.{key} is {size}: {run['network']['name']} takes {run['network']['spatial_dims']} sides, "
            f"each a multiple of {divisor}"
            for key, size in sides.items()
            if size is not None
            and (len(size) != run["network"]["spatial_dims"] or any(n % divisor for n in size))
        ],
        heading=f"{run['run']}: cannot train",
        remedy=f"Mend config/training/{run['training_name']}.yaml or the budget.",
    )


def _optimiser(network: nn.Module, training: Mapping[str, Any]) -> torch.optim.Optimizer:
    rate, decay = training["learning_rate"], training["weight_decay"]
    if training["optimiser"] == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=rate, momentum=training["momentum"], weight_decay=decay, fused=True
        )
    kind = torch.optim.AdamW if training["optimiser"] == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=rate, weight_decay=decay, fused=True)


def _gradient_norm(network: nn.Module, limit: float | None) -> Tensor:
    """The norm of all gradients together; where there is a ``limit``, they are scaled down to it."""
    parameters = [p for p in network.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters])
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


class _Watch:
    """Stops at the first loss or gradient that is not finite; looks at it every step on a CPU, rarely on a GPU."""

    def __init__(self, run: Mapping[str, Any], folder: Path, device: torch.device) -> None:
        self.run, self.folder = run, folder
        self.every = 1 if device.type == "cpu" else GPU_CHECK_STEPS
        self.last_loss = math.nan
        self._seen: list[tuple[Tensor, Tensor, int, int, list[str], float]] = []

    def see(
        self, loss: Tensor, norm: Tensor, *, position: Mapping[str, Any], cases: list[str], rate: float
    ) -> None:
        self._seen.append((loss, norm, position["epoch"], position["step"], cases, rate))
        if len(self._seen) >= self.every:
            self.check()

    def check(self) -> None:
        """Look at every step since the last check."""
        if not self._seen:
            return
        values = torch.stack(
            [torch.stack([loss.double(), norm.double()]) for loss, norm, *_ in self._seen]
        ).tolist()
        for (loss, norm), (_, _, epoch, step, cases, rate) in zip(values, self._seen, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise SegtraceError(
                    f"{self.run['run']}: stopped, loss {loss} and gradient norm {norm} at epoch {epoch + 1}, step {step + 1}\n"
                    f"  cases: {', '.join(cases)}\n"
                    f"  learning rate: {rate}; precision: {self.run['training']['precision']}\n"
                    f"  last good state: {resume.newest(self.folder) or 'none yet'}\n"
                    f"Look at these cases in {self.run['prepared']}; if they are sound, lower training.learning_rate or "
                    f"set training.clip_norm in config/training/{self.run['training_name']}.yaml."
                )
        self.last_loss = values[-1][0]
        self._seen.clear()


def _note(epoch: int, epochs: int, loss: float, cases: int, started: float) -> str:
    rate = cases / max(time.monotonic() - started, 1e-9)
    return f"epoch {epoch + 1}/{epochs}, loss {loss:.3f}, {rate:.1f} cases/s"


def validate(
    network: nn.Module, cases: Mapping[str, data.LoadedCase], *, run: Mapping[str, Any], device: torch.device
) -> float | None:
    """Mean Dice over validation cases and foreground labels, on the prepared grid; None without any.

    A label that is in neither the reference nor the prediction of a case is left out of the mean.
    """
    training, classes = run["training"], run["network"]["out_channels"]
    inference, crop = training["inference"], training["crop"]
    found = []
    for name in run["cases"]["val"]:
        logits = predict_logits(
            network,
            cases[name].image,
            window=inference["window"] or (crop["size"] if crop else None),
            overlap=inference["overlap"],
            weighting=inference["weighting"],
            batch=inference["batch"],
            device=device,
            precision=training["precision"],
        )
        reference = torch.tensor(cases[name].label).to(device).long()
        pairs = torch.bincount((reference * classes + logits.argmax(0)).flatten(), minlength=classes**2)
        counts = pairs.view(classes, classes).tolist()
        for label in range(1, classes):
            both = sum(counts[label]) + sum(row[label] for row in counts)
            if both:
                found.append(2 * counts[label][label] / both)
    return math.fsum(found) / len(found) if found else None


def _finish(
    run: Mapping[str, Any],
    folder: Path,
    network: nn.Module,
    best: dict[str, Tensor] | None,
    position: dict[str, Any],
) -> None:
    """Write the outputs, ``run.json`` last: it says that the others are complete."""
    about = {"run": run["run"], "identity": digest(run)}
    last = {"epoch": position["epoch"], "step": position["step"]}
    best_epoch = position["best_epoch"] if best is not None else position["epoch"]
    weights = network.state_dict()
    checkpoint.save(folder / "best_val.safetensors", best or weights, metadata=about | {"epoch": best_epoch})
    checkpoint.save(folder / "weights.safetensors", weights, metadata=about | last)
    with atomic(folder / "history.csv") as handle:
        writer = csv.DictWriter(handle, HISTORY, lineterminator="\n")
        writer.writeheader()
        writer.writerows(position["history"])
    write_json(folder / "run.json", dict(run))
    resume.discard(folder)
