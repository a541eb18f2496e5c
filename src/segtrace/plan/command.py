"""``segtrace plan [EXPERIMENT ...]``: what experiments will take, before anything runs."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.options import above_zero, at_least_one

if TYPE_CHECKING:
    from segtrace.config.models import Config
    from segtrace.plan.estimate import Taken


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("experiments", nargs="*", help="which (default: those of config/config.yaml)")
    parser.add_argument("--budget", help="budget of the runs (default: config/config.yaml)")
    parser.add_argument("--seeds", help="seeds of the runs, joined by commas (default: config/config.yaml)")
    parser.add_argument(
        "--devices",
        type=at_least_one,
        default=1,
        metavar="N",
        help="devices; a training takes one, or as many as its recipe says (default: 1)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "gpu"), help="what they run on (default: gpu where this machine has one)"
    )
    parser.add_argument(
        "--memory",
        type=above_zero,
        metavar="GB",
        help="memory of one GPU, or of the machine for a CPU (default: this one's)",
    )
    parser.add_argument(
        "--rate",
        type=above_zero,
        metavar="GMAC/S",
        help="10⁹ multiply-accumulates a second of one device, in place of what was measured",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE.csv",
        help="plan nothing: write the trainings that were measured in this folder, for plans elsewhere",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the plan; raises :class:`segtrace.errors.SegtraceError` for unknown names."""
    from segtrace.config import load
    from segtrace.errors import SegtraceError
    from segtrace.plan import recorded
    from segtrace.plan.work import Counter

    counter = Counter()
    own = recorded.of_project(counter)
    if arguments.record is not None:
        if not own:
            raise SegtraceError(
                "logs/benchmark/train: no training was measured as a whole in this folder yet"
            )
        counter.save()
        recorded.write(own, arguments.record)
        print(f"{arguments.record}: {len(own)} trainings")
        return
    asked = {"budget": arguments.budget, "seeds": arguments.seeds}
    config = load.main_config(asked | {"experiments": arguments.experiments or None})
    found = plan(config, arguments, known=own or recorded.of_table(), counter=counter)
    counter.save()
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        from segtrace.plan import table

        print("\n".join(table.text_of(found)))


def plan(
    config: "Config", arguments: argparse.Namespace, *, known: list[Any], counter: Any
) -> dict[str, Any]:
    """Rows of the experiments and of their ``total``, ``disk_gb`` by kind, ``memory``, ``sources`` and ``warnings``."""
    from segtrace import gpus
    from segtrace.config import load, runs
    from segtrace.plan import disk, estimate
    from segtrace.plan.work import of_run

    load.settle()
    device = arguments.device or ("gpu" if gpus.visible() else "cpu")
    load.require_experiments(config.experiments)
    by_experiment: dict[str, list[Taken]] = {}
    for name in config.experiments:
        variants = estimate.variants_of(name)
        by_experiment[name] = [
            estimate.taken(
                of_run(run, threads=config.training_threads, counter=counter, variants=variants),
                known,
                device=device,
                rate=arguments.rate,
            )
            for run in runs.runs_of(name, budget=config.budget, seeds=config.seeds)
        ]
    every = estimate.distinct(by_experiment)
    devices = arguments.devices
    disk_gb = disk.needed(every, devices=devices)
    memory = _memory(every, device=device, devices=devices, given=arguments.memory)
    free_gb = disk.free()
    return {
        "budget": config.budget,
        "seeds": config.seeds,
        "device": device,
        "devices": devices,
        "jobs": estimate.planned_jobs(config),
        "experiments": [estimate.row(name, found, devices=devices) for name, found in by_experiment.items()],
        "total": estimate.row("all, shared ones once", every, devices=devices),
        "sources": estimate.reasons(every),
        "measured_on": sorted(
            {f"{one.processor}, {one.threads} threads" for one in known if one.device == device}
        ),
        "disk_gb": disk_gb,
        "disk_free_gb": free_gb,
        "memory": memory,
        "warnings": [
            *estimate.short_of_devices(every, devices=devices),
            *disk.warnings(disk_gb, free_gb=free_gb, memory=memory),
        ],
    }


def _memory(every: "list[Taken]", *, device: str, devices: int, given: float | None) -> dict[str, Any]:
    """The most memory that is needed at once: on a GPU of one training, on the CPU of all that run at once."""
    left = [one for one in every if not one.done and one.memory_gb == one.memory_gb]
    left.sort(key=lambda one: -one.memory_gb)
    at_once = left[: devices if device == "cpu" else 1]
    there = given
    if there is None and device == "cpu":
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    elif there is None:
        import torch

        if torch.cuda.is_available():
            there = torch.cuda.get_device_properties(0).total_memory / 1e9
    return {
        "needed_gb": sum(one.memory_gb for one in at_once),
        "there_gb": there,
        "of": "one GPU" if device == "gpu" else "this machine" if given is None else "the machine",
        "run": ", ".join(str(one.work.run) for one in at_once),
    }
