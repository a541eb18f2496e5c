"""The configuration of a data set ``toy`` with one recipe, protocol, method and experiment."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from segtrace import layout


def write(*, dimensions: int, network: dict[str, Any] | None = None, spacing_known: bool = True) -> None:
    """Write ``config/`` below the working directory; ``network`` is the method's name and options."""
    dataset = {
        "title": "toy",
        "dimensions": dimensions,
        "modality": "none",
        "licence": "none",
        "access": "embedded",
        "labels": {1: "one", 2: "two"},
        "channels": ["grey"],
        "spacing_known": spacing_known,
        "recipes": {"plain": {}},
        "protocols": {"random": {"kind": "grouped_random", "test_fraction": 0.5, "validation_fraction": 0.1}},
    }
    chosen = network or {"name": "unet", "options": {"variant": "transposed"}}
    experiment = {"dataset": "toy", "recipe": "plain", "protocol": "random", "training": "toy"}
    contents = {
        "config": {"experiments": ["toy"], "budget": "smoke", "seeds": [0], "training_threads": 1},
        "datasets/toy": dataset,
        "methods/unet": {"title": "toy", "network": chosen["name"], "options": chosen["options"]},
        "training/toy": {"epochs": 1, "cases_per_step": 1, "learning_rate": 0.01, "loss": "dice_ce"},
        "budgets/smoke": {"title": "toy"},
        "experiments/toy": {"title": "toy", "methods": ["unet"], **experiment},
    }
    for name, content in contents.items():
        path = Path("config") / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))


def pictures(name: str, cases: dict[str, tuple[np.ndarray, np.ndarray]], **changes: Any) -> None:
    """A data set like ``toy`` but for ``changes``, with the raw files of its cases: image and mask."""
    content = yaml.safe_load(Path("config/datasets/toy.yaml").read_text()) | {"reader": "phantom2d"} | changes
    Path(f"config/datasets/{name}.yaml").write_text(yaml.safe_dump(content))
    for case, arrays in cases.items():
        for kind, array in zip(("images", "labels"), arrays, strict=True):
            path = layout.raw(name) / kind / f"{case}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(array)).save(path)
