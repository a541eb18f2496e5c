"""A project folder with prepared cases and an untrained run, small enough to segment in a blink."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import toy_config
from segtrace import checkpoint, files, layout, networks, store, tables
from segtrace.config import load, runs
from segtrace.geometry import Grid, format_numbers
from segtrace.predict import command

NETWORKS = {
    2: {"name": "unet", "options": {"variant": "transposed", "widths": [2, 2, 4, 4, 4]}},
    3: {"name": "unet3d", "options": {"base": 2}},
}


@dataclass
class Project:
    """One run of three test cases and one validation case; ``dimensions`` is 2 or 3."""

    dimensions: int
    run: layout.RunName

    @property
    def prepared(self) -> Path:
        return layout.prepared(self.run.dataset, self.run.recipe)

    def folder(self, variant: str = "test-last-native-none") -> Path:
        return layout.predictions(self.run, variant)

    def predict(self, variant: str = "test-last-native-none") -> Path:
        command.segment_role(str(self.run), variant, threads=1)
        return self.folder(variant)

    def split(self, rows: list[tuple[str, str]]) -> None:
        entries = [{"case": c, "subject": c, "cluster": c, "fold": 0, "role": role} for c, role in rows]
        tables.write("split", entries, layout.split(self.run.dataset, self.run.protocol))

    def add_cases(self, cases: list[str]) -> None:
        rows = [self._store(case, seed) for seed, case in enumerate(cases)]
        tables.write("prepared", rows, self.prepared / "prepared.csv")

    def _store(self, case: str, seed: int) -> dict[str, Any]:
        n = self.dimensions
        native = Grid((10, 9, 7)[:n], (1.0, 1.5, 2.0)[:n], (3.0, 2.0, 1.0)[:n], tuple(np.eye(n).ravel()))
        grid = Grid((10, 14, 14)[:n], (1.0, 1.0, 1.0)[:n], (3.0, 1.75, 0.5)[:n], native.direction)
        image = np.random.default_rng(seed).standard_normal((1, *grid.array_shape)).astype(np.float32)
        label = np.zeros(grid.array_shape, np.uint8)
        volumes = {"1": 0.0, "2": 0.0}
        record = {
            "case": case,
            "batch": 0,
            "digest": f"{seed:016x}",
            "native_grid": native.to_json(),
            "oriented_grid": native.to_json(),
            "prepared_grid": grid.to_json(),
            "volumes_before_mm3": volumes,
            "volumes_after_mm3": volumes,
            "intensity": [],
        }
        done = store.write_case(self.prepared, case, image=image, label=label, record=record)
        return {
            "case": case,
            "batch": 0,
            "digest": done["digest"],
            "image_sha256": done["image_sha256"],
            "label_sha256": done["label_sha256"],
            "size": format_numbers(grid.size),
            "spacing_mm": format_numbers(grid.spacing_mm),
            "volumes_before_mm3": '{"1": 0.0, "2": 0.0}',
            "volumes_after_mm3": '{"1": 0.0, "2": 0.0}',
        }

    def write_run(self, *, name: layout.RunName | None = None, channels: int = 1, **training: Any) -> None:
        name = name or self.run
        spec = {"in_channels": channels, "out_channels": 3, "spatial_dims": self.dimensions}
        content = {
            "run": str(name),
            "dataset": name.dataset,
            "recipe": name.recipe,
            "labels": {"1": "one", "2": "two"},
            "threads": 1,
            "network": NETWORKS[self.dimensions] | spec,
            "prepared": str(self.prepared),
            "preparation": runs.preparation_of(load.dataset("toy"), load.dataset("toy").recipes["plain"]),
            "training_name": "toy",
            "training": {
                "precision": "fp32",
                "crop": None,
                "inference": {"window": None, "overlap": 0.25, "weighting": "constant", "batch": 2}
                | {"mirror": [], "skip_empty": False},
            }
            | training,
        }
        files.write_json(layout.run(name) / "run.json", content)

    def write_weights(
        self, file: str, *, seed: int, name: layout.RunName | None = None, channels: int = 1
    ) -> None:
        torch.manual_seed(seed)
        kind = NETWORKS[self.dimensions]
        network = networks.create(
            kind["name"],
            in_channels=channels,
            out_channels=3,
            spatial_dims=self.dimensions,
            **kind["options"],
        )
        weights = network.state_dict()
        for (
            key,
            value,
        ) in weights.items():  # greater weights and no bias, so that labels differ from voxel to voxel
            if value.is_floating_point() and "running" not in key:
                weights[key] = value * 0 if key.endswith("bias") else value * 3
        name = name or self.run
        checkpoint.save(layout.run(name) / file, weights, metadata={"run": str(name)})


def make(dimensions: int) -> Project:
    project = Project(dimensions, layout.parse_run("toy/plain/random/unet/smoke/fold-0_seed-0"))
    toy_config.write(dimensions=dimensions, network=NETWORKS[dimensions])
    cases = ["a", "b", "c", "v"]
    project.add_cases(cases)
    project.split([("a", "test"), ("b", "test"), ("c", "test"), ("v", "val")])
    project.write_run()
    project.write_weights("weights.safetensors", seed=1)
    project.write_weights("best_val.safetensors", seed=2)
    return project


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of volumes; the working directory is its root."""
    monkeypatch.chdir(tmp_path)
    return make(3)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of pictures; the working directory is its root."""
    monkeypatch.chdir(tmp_path)
    return make(2)
