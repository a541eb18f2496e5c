"""A tiny run, its cases, and drawn samples: what the tests of training share."""

import copy
from pathlib import Path

import numpy as np

from segtrace import store
from segtrace.config.models import Augmentation, Training
from segtrace.train import sampling

OUTPUTS = ("weights.safetensors", "best_val.safetensors", "history.csv", "run.json")

NONE = Augmentation().model_dump()
ALL = NONE | {
    "flip_p": 0.5,
    "rot90_p": 0.7,
    "shift_p": 0.8,
    "scale_p": 0.8,
    "rotate_p": 0.6,
    "rotate_degrees": [30.0, 20.0, 10.0],
    "zoom_p": 0.6,
    "elastic_p": 0.5,
    "elastic_spacing": 4.0,
    "noise_p": 0.5,
    "gamma_p": 0.5,
}
CROP = {"size": [4, 6, 6], "per_case": 1, "foreground": 1.0, "background": 0.0}

RUN = {
    "run": "tiny/r/p/m/smoke/fold-0_seed-0",
    "dataset": "tiny",
    "seed": 0,
    "threads": 1,
    "determinism": "strict",
    "network": {
        "name": "unet",
        "options": {"widths": [4, 4, 4, 4, 4]},
        "in_channels": 1,
        "out_channels": 2,
        "spatial_dims": 2,
    },
    "framework": None,
    "framework_options": {},
    "method": "m",
    "training_name": "tiny",
    "training": Training.model_validate(
        {
            "epochs": 3,
            "cases_per_step": 2,
            "crop": {"size": [16, 16], "per_case": 2, "foreground": 1.0, "background": 0.5},
            "learning_rate": 0.01,
            "weight_decay": 1e-4,
            "schedule": {"kind": "cosine"},
            "augmentation": {"flip_p": 0.5, "rot90_p": 0.5, "shift_p": 0.5},
            "precision": "bf16",
            "validate_every": 1,
        }
    ).model_dump(exclude={"source", "notes", "threads"}),
    "prepared": "prepared",
    "cases": {"train": ["a", "b", "c", "d", "e"], "val": ["v", "w"]},
    "digests": {},
}


#: A network without batch normalisation.
INSTANCE = {"name": "dynunet", "options": {"filters": [4, 4, 4]}}


def run_with(**changes):
    """The run with other values of its training, or of its own keys."""
    run = copy.deepcopy(RUN)
    for key, value in changes.items():
        part = run["training"] if key in run["training"] else run
        part[key] = part[key] | value if isinstance(part[key], dict) and isinstance(value, dict) else value
    return run


def write_cases(folder):
    """Seven pictures of 24 x 24 with a square lesion."""
    random = np.random.default_rng(0)
    for name in "abcdevw":
        y, x = random.integers(6, 18, 2)
        label = np.zeros((24, 24), np.uint8)
        label[y - 4 : y + 4, x - 4 : x + 4] = 1
        image = (label + random.normal(0, 0.3, label.shape)).astype(np.float32)[None]
        store.write_case(folder, name, image=image, label=label, record={"digest": "0" * 16})


def contents(folder):
    """Every file's bytes by its path."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file()
    }


def drawn(
    shape=(9, 10, 11),
    *,
    foreground=(),
    crop=CROP,
    augmentation=NONE,
    seed=0,
    epoch=0,
    case="a",
    number=0,
    count=None,
):
    """One drawn sample, or all ``count`` where ``number`` is None."""
    label = np.zeros(shape, np.uint8)
    label.ravel()[list(foreground)] = 1
    samples = sampling.draw(
        seed=seed,
        epoch=epoch,
        case=case,
        count=count or number + 1,
        labelled=sampling.Labelled.of(label),
        crop=crop,
        augmentation=augmentation,
    )
    return samples if number is None else samples[number]
