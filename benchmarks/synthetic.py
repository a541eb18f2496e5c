"""Runs and prepared cases made from a seed, for measurements: neither data nor configuration is needed.

A run is what `run.json` holds. `hippocampus.json` beside this file is the papers' hippocampus training as `config/`
resolves it; a test holds the two equal. Its cases here have the sizes of that data set's, and contents that cost
a network the same time. When the configuration has changed:

    python benchmarks/synthetic.py      # writes hippocampus.json anew, from the project's root
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import store
from segtrace.background import classes_of
from segtrace.geometry import Grid

RUN = "msd_hippocampus/dsd/dsd/nnunet_small/paper/fold-0_seed-0"
RESOLVED = Path(__file__).with_name("hippocampus.json")
#: Smallest and largest sides (D, H, W) of the hippocampus volumes, and how many the papers train and validate on.
HIPPOCAMPUS_SIDES = ((24, 40, 31), (47, 59, 43))
HIPPOCAMPUS_CASES = (170, 30)


def hippocampus() -> dict[str, Any]:
    """The papers' hippocampus training; its cases are not named yet."""
    run: dict[str, Any] = json.loads(RESOLVED.read_text(encoding="utf-8"))
    return run


def small(*, spatial_dims: int, **training: Any) -> dict[str, Any]:
    """A run of some seconds on a CPU core: the hippocampus recipe's keys with small values, and ``training``'s.

    It has all that a state must bring back: moments of the optimiser, a schedule, validation, a best epoch.
    """
    run = hippocampus() | {"run": f"small/{spatial_dims}d/p/m/b/fold-0_seed-0", "threads": 1}
    run["training_name"] = "small"
    widths = [4, 8, 8] if spatial_dims == 3 else [8, 16, 16]
    run["network"] |= {"options": {"filters": widths}, "spatial_dims": spatial_dims}
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


def with_training(run: dict[str, Any], *, determinism: str = "strict", **training: Any) -> dict[str, Any]:
    """A copy of ``run`` with keys of its training recipe replaced."""
    changed = copy.deepcopy(run) | {"determinism": determinism}
    changed["training"] |= training
    return changed


def sizes(count: int, sides: tuple[Sequence[int], Sequence[int]], *, seed: int = 0) -> list[tuple[int, ...]]:
    """``count`` sizes (D, H, W) or (H, W), drawn evenly between two."""
    random = np.random.default_rng([seed, 1])
    return [tuple(int(random.integers(a, b + 1)) for a, b in zip(*sides, strict=True)) for _ in range(count)]


def write_cases(
    run: dict[str, Any], folder: Path, shapes: Sequence[Sequence[int]], *, validation: int, seed: int = 0
) -> None:
    """Write cases of ``shapes`` into ``folder`` and name them in ``run``; the last ones are for validation.

    Each holds one ball a label, brighter by its label, in noise.
    """
    names = [f"c{number:03d}" for number in range(len(shapes))]
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        random = np.random.default_rng([seed, 2, number])
        axes = np.ogrid[tuple(slice(0, n) for n in shape)]
        label = np.zeros(shape, np.uint8)
        for value in range(1, classes_of(run)):
            middle = [random.uniform(0.3, 0.7) * n for n in shape]
            distance = sum((axis - m) ** 2 for axis, m in zip(axes, middle, strict=True))
            label[distance < (min(shape) / 5) ** 2] = value
        channels = run["network"]["in_channels"]
        image = (label + random.normal(0, 0.4, (channels, *shape))).astype(np.float32)
        record = {"digest": "0" * 16, "prepared_grid": grid_of(shape).to_json()}
        store.write_case(folder, name, image=image, label=label, record=record)
    kept = len(names) - validation
    run["cases"] = {"train": names[:kept], "val": names[kept:]}
    run["prepared"] = str(folder)


def grid_of(shape: Sequence[int]) -> Grid:
    """The grid of an array of this shape, of voxels of a millimetre."""
    axes = len(shape)
    return Grid(tuple(shape[::-1]), (1.0,) * axes, (0.0,) * axes, tuple(np.eye(axes).ravel()))


def packed(folder: Path, *, spatial_dims: int = 2, **training: Any) -> dict[str, Any]:
    """What `gpu_experiments.py` packs of two small trainings, which differ in their seed; cases go to ``folder``."""
    run = small(spatial_dims=spatial_dims, **training)
    run["network"] |= {"in_channels": 1, "out_channels": 3}
    write_cases(run, folder, [(32,) * 2 if spatial_dims == 2 else (16,) * 3] * 7, validation=1)
    entry = {
        "experiment": "toy",
        "run": run,
        "judged": run["cases"]["val"],
        "checkpoint": "last",
        "spacing_known": False,
        "tolerances": {"1": 1.0, "2": 1.0},
        "regions": {},
        "names": {"1": "one", "2": "two"},
    }
    other = entry | {"run": run | {"run": run["run"].replace("seed-0", "seed-1"), "seed": 1}}
    return {"budget": "b", "images": "rounded to 8 bits", "short": True, "entries": [entry, other]}


def resolved() -> dict[str, Any]:
    """What `config/` says of the hippocampus training now; two CPU threads, strict."""
    from segtrace import layout
    from segtrace.config import runs

    found = runs.resolve(layout.parse_run(RUN), threads=2)
    return json.loads(json.dumps(found))


if __name__ == "__main__":
    RESOLVED.write_text(json.dumps(resolved(), indent=2) + "\n", encoding="utf-8")
