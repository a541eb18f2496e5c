"""Runs and prepared cases made from a seed, for measurements: no data set and no configuration is needed.

A run here is what `run.json` holds. `HIPPOCAMPUS` is the papers' hippocampus training, as
`config/` resolves it (a test holds them equal); its cases have the sizes of that data set, and contents
that cost a network the same time.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import store

HIPPOCAMPUS: dict[str, Any] = {
    "run": "msd_hippocampus/dsd/dsd/nnunet_small/paper/fold-0_seed-0",
    "dataset": "msd_hippocampus",
    "recipe": "dsd",
    "protocol": "dsd",
    "method": "nnunet_small",
    "budget": "paper",
    "fold": 0,
    "seed": 0,
    "threads": 2,
    "determinism": "strict",
    "labels": {"1": "anterior", "2": "posterior"},
    "network": {
        "name": "dynunet",
        "options": {"filters": [16, 32, 64, 128, 256]},
        "in_channels": 1,
        "out_channels": 3,
        "spatial_dims": 3,
    },
    "framework": None,
    "framework_options": {},
    "training_name": "dsd_hippocampus",
    "training": {
        "epochs": 300,
        "cases_per_step": 1,
        "crop": {"size": [32, 32, 32], "per_case": 16, "foreground": 1.0, "background": 0.1},
        "optimiser": "adamw",
        "learning_rate": 1e-4,
        "weight_decay": 1e-5,
        "momentum": 0.9,
        "schedule": {
            "kind": "constant",
            "step_epochs": None,
            "gamma": 0.5,
            "power": 0.9,
            "minimum": 0.0,
            "warmup_steps": 0,
        },
        "clip_norm": None,
        "augmentation": {
            "flip_p": 0.5,
            "rot90_p": 0.1,
            "shift_p": 1.0,
            "shift": 0.1,
            "scale_p": 0.0,
            "scale": 0.1,
        },
        "loss": "dice_ce",
        "loss_options": {},
        "precision": "fp32",
        "validate_every": 10,
        "inference": {"window": None, "overlap": 0.25, "weighting": "constant", "batch": 8},
    },
    "prepared": "data/prepared/msd_hippocampus/dsd",
}
#: Smallest and largest sides (D, H, W) of the hippocampus volumes.
HIPPOCAMPUS_SIDES = ((24, 40, 31), (47, 59, 43))
HIPPOCAMPUS_CASES = {"train": 170, "val": 20}


def small(*, spatial_dims: int, **training: Any) -> dict[str, Any]:
    """A run of a few seconds on a CPU core: 12 cases, the hippocampus recipe's keys with small values.

    It has all that a state must bring back: moments of the optimiser, a schedule, validation, a best epoch.
    """
    run = copy.deepcopy(HIPPOCAMPUS) | {"run": f"small/{spatial_dims}d/p/m/b/fold-0_seed-0", "threads": 1}
    run["training_name"] = "small"
    run["network"] |= {
        "options": {"filters": [4, 8, 8] if spatial_dims == 3 else [8, 16, 16]},
        "spatial_dims": spatial_dims,
    }
    run["training"] |= {
        "epochs": 12,
        "cases_per_step": 2,
        "crop": {"size": [16] * spatial_dims, "per_case": 2, "foreground": 1.0, "background": 0.5},
        "learning_rate": 0.01,
        "clip_norm": 1.0,
        "validate_every": 3,
        **training,
    }
    run["training"]["schedule"] |= {"kind": "cosine", "warmup_steps": 5}
    return run


def sizes(count: int, sides: tuple[Sequence[int], Sequence[int]], *, seed: int = 0) -> list[tuple[int, ...]]:
    """``count`` sizes (D, H, W) or (H, W), drawn evenly between two."""
    random = np.random.default_rng([seed, 1])
    return [tuple(int(random.integers(a, b + 1)) for a, b in zip(*sides, strict=True)) for _ in range(count)]


def write_cases(run: dict[str, Any], folder: Path, shapes: Sequence[Sequence[int]], *, seed: int = 0) -> None:
    """Write cases of ``shapes`` into ``folder`` and name them in ``run``: the last tenth, at least one, for validation.

    Each holds one ball a label, brighter by its label, in noise.
    """
    names = [f"c{number:03d}" for number in range(len(shapes))]
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        random = np.random.default_rng([seed, 2, number])
        axes = np.ogrid[tuple(slice(0, n) for n in shape)]
        label = np.zeros(shape, np.uint8)
        for value in range(1, run["network"]["out_channels"]):
            middle = [random.uniform(0.3, 0.7) * n for n in shape]
            distance = sum((axis - m) ** 2 for axis, m in zip(axes, middle, strict=True))
            label[distance < (min(shape) / 5) ** 2] = value
        channels = run["network"]["in_channels"]
        image = (label + random.normal(0, 0.4, (channels, *shape))).astype(np.float32)
        store.write_case(folder, name, image=image, label=label, record={"digest": "0" * 16})
    kept = len(names) - max(1, len(names) // 10)
    run["cases"] = {"train": names[:kept], "val": names[kept:]}
    run["prepared"] = str(folder)
