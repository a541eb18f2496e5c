"""A project folder with volumes as published, a split, and predictions, all written directly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import toy_config
from segtrace import files, images, layout, store, tables
from segtrace.geometry import Grid, format_numbers
from segtrace.score import command

FLAT = (1.0, 0.0, 0.0, 1.0)
UPRIGHT = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
GRIDS = {
    2: Grid((8, 6), (1.0, 1.0), (0.0, 0.0), FLAT),
    3: Grid((8, 6, 5), (1.0, 1.5, 2.0), (10.0, -4.0, 3.0), UPRIGHT),
}
TEST = "test-last-native-none"


@dataclass
class Project:
    """A data set "toy" whose reader takes each case's label file as it is; labels 1 and 2."""

    dimensions: int
    run: layout.RunName = field(
        default_factory=lambda: layout.parse_run("toy/plain/random/unet/smoke/fold-0_seed-3")
    )

    @property
    def grid(self) -> Grid:
        return GRIDS[self.dimensions]

    @property
    def ending(self) -> str:
        return ".nii.gz" if self.dimensions == 3 else ".png"

    @property
    def folder(self) -> Path:
        return layout.predictions(self.run, TEST)

    def write_config(self, *, spacing_known: bool) -> None:
        toy_config.write(dimensions=self.dimensions, spacing_known=spacing_known)

    def write_references(self, labels: Mapping[str, np.ndarray], *, roles: Mapping[str, str]) -> None:
        rows = []
        for case, array in labels.items():
            name = case + self.ending
            images.write_label(layout.raw("toy") / name, array, self.grid)
            sha256 = files.sha256_file(layout.raw("toy") / name)
            rows.append(self._row(case, name, sha256))
        tables.write("cases", rows, layout.cases("toy"))
        split = [
            {"case": case, "subject": case, "cluster": case, "fold": 0, "role": roles[case]}
            for case in labels
        ]
        tables.write("split", split, layout.split("toy", "random"))

    def _row(self, case: str, name: str, sha256: str) -> dict[str, object]:
        grid = self.grid
        return {
            "dataset": "toy",
            "case": case,
            "subject": case,
            "group": "",
            "side": "",
            "images": json.dumps([name]),
            "labels": json.dumps([name]),
            "image_sha256": sha256,
            "label_sha256": sha256,
            "pixels_sha256": sha256,
            "fingerprint": "0" * 16,
            "duplicate_group": case,
            "digest": sha256[:16],
            "dimensions": self.dimensions,
            "channels": 1,
            "dtype": "uint8",
            "size": format_numbers(grid.size),
            "spacing_mm": format_numbers(grid.spacing_mm),
            "origin_mm": format_numbers(grid.origin_mm),
            "direction": format_numbers(grid.direction),
            "intensity_min": 0.0,
            "intensity_max": 1.0,
            "voxels": "{}",
            "components": "{}",
            "centroids_mm": "{}",
            "notes": "",
        }

    def write_prepared(self, labels: Mapping[str, np.ndarray], grid: Grid) -> None:
        folder, rows = layout.prepared("toy", "plain"), []
        for number, (case, label) in enumerate(labels.items()):
            record = {"case": case, "digest": f"{number:016x}", "prepared_grid": grid.to_json()}
            image = np.zeros((1, *label.shape), np.float32)
            done = store.write_case(folder, case, image=image, label=label, record=record)
            rows.append(
                {
                    "case": case,
                    "batch": 0,
                    "digest": done["digest"],
                    "image_sha256": done["image_sha256"],
                    "label_sha256": done["label_sha256"],
                    "size": format_numbers(grid.size),
                    "spacing_mm": format_numbers(grid.spacing_mm),
                    "volumes_before_mm3": "{}",
                    "volumes_after_mm3": "{}",
                }
            )
        tables.write("prepared", rows, folder / "prepared.csv")

    def write_predictions(
        self, labels: Mapping[str, np.ndarray], *, grid: Grid | None = None, variant: str = TEST
    ) -> None:
        folder, rows = layout.predictions(self.run, variant), []
        for case, array in labels.items():
            images.write_label(folder / (case + self.ending), array, grid or self.grid)
            sha256 = files.sha256_file(folder / (case + self.ending))
            rows.append({"case": case, "file": case + self.ending, "sha256": sha256, "digest": "0" * 16})
        tables.write("predictions", rows, folder / "predictions.csv")

    def score(self, variant: str = TEST, *, workers: int = 1) -> pd.DataFrame:
        command.run(SimpleNamespace(run=str(self.run), variant=variant, workers=workers))
        return tables.read("scores", layout.scores(self.run, variant)).set_index(["case", "label"])


def make(dimensions: int, monkeypatch: pytest.MonkeyPatch, root: Path) -> Project:
    from segtrace import datasets

    def read_label(root, case, options):
        return images.read_label_file(root / case.labels[0]), []

    monkeypatch.chdir(root)
    monkeypatch.setattr(
        datasets, "reader", lambda name: {"toy": SimpleNamespace(read_label=read_label)}[name]
    )
    project = Project(dimensions)
    project.write_config(spacing_known=dimensions == 3)
    return project


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of volumes; the working directory is its root."""
    return make(3, monkeypatch, tmp_path)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of pictures without a physical scale; the working directory is its root."""
    return make(2, monkeypatch, tmp_path)
