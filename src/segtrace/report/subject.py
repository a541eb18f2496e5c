"""What a page is about: an experiment with all the configuration that its readers need."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from segtrace import layout
from segtrace.config import models


@dataclass(frozen=True)
class Subject:
    """An experiment, resolved: its data, methods, budget, runs and variant."""

    name: str
    experiment: models.Experiment
    dataset: models.Dataset
    recipe: models.Recipe
    protocol: models.Protocol
    methods: Mapping[str, models.Method]
    budget_name: str
    budget: models.Budget
    seeds: tuple[int, ...]
    runs: tuple[layout.RunName, ...]
    variant: layout.Variant
    absent: Mapping[str, str] = field(default_factory=dict)
    """Methods of the experiment of which a run is not there → why. They are in none of the other fields."""

    @property
    def labels(self) -> dict[int, str]:
        """Label value → name; 0 is their mean, where there are several. Regions follow, by their numbers."""
        several = {0: "mean of labels"} if len(self.dataset.labels) > 1 else {}
        return several | dict(sorted(self.dataset.scored.items()))

    @property
    def main_label(self) -> int:
        """The label by which cases are ranked: the mean, or the only one."""
        return next(iter(self.labels))

    @property
    def folds(self) -> list[int]:
        """The folds of the runs."""
        return sorted({run.fold for run in self.runs})

    @property
    def distance(self) -> str:
        """The distance to show first: millimetres where the images have a physical scale."""
        return "hd95_mm" if self.dataset.spacing_known else "hd95_voxel"
