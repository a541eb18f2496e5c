"""``config/datasets``: data sets, their recipes, protocols and gates."""

from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from segtrace import regions as numbering
from segtrace.config.protocol_models import Protocol
from segtrace.config.recipe_models import Recipe
from segtrace.config.types import Fraction, Model, Range, WholeRange


class Source(Model):
    """One published archive."""

    archive: str
    urls: list[str] = []
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    manual: str | None = None
    """For data behind a registration: what to fetch, where, and where to put it."""


class Gate(Model):
    """What a data set must look like, judged by ``index``, ``validate`` and ``split``."""

    cases: WholeRange | None = None
    """Least and greatest number of cases, whole or partial copy."""
    spacing_mm: Range | None = None
    """Range of any axis' spacing."""
    size: WholeRange | None = None
    """Range of any axis' size in voxels."""
    prevalence: dict[int, Range] = {}
    """For each label, the range of the fraction of cases that hold it."""
    empty_masks: Range = (0.0, 0.0)
    """Range of the fraction of cases without any label."""
    intensity: Range | None = None
    """Range of all values of all images."""
    subjects: WholeRange | None = None
    """Least and greatest number of subjects."""
    groups: dict[str, WholeRange] = {}
    """For each class, the least and greatest number of its cases; a class that is not named is a fault."""
    sides: dict[str, WholeRange] = {}
    """The same for the sides on which the owner put the cases."""
    foreground: dict[int, Range] = {}
    """For each label, the range of its mean share of the voxels, over the cases that hold it."""
    sides_differ: Fraction = 0.1
    """``split``: how far a side may differ from all cases in its share of them and in each label's prevalence,
    and by what part of it in mean lesion size. What chance allows (three standard errors) is always allowed."""
    max_components: int | None = None
    """Greatest number of connected components of one label."""
    volume_change: float = 0.1
    """Greatest relative change of a label's volume by preparation, for labels of at least 64 voxels."""
    centroid_shift_voxels: float = 1.0
    """Greatest shift of a label's centroid in world space by preparation, in prepared voxels."""


class Region(Model):
    """A union of labels that is scored beside them."""

    name: str
    labels: list[int]
    nsd_tolerance: NonNegativeFloat | None = None
    """Its tolerance of NSD, in the unit of the labels'; by default the greatest of its labels."""
    source: str = ""
    """Who defines it so."""


#: Recipes of a data set that names none, by its dimensions.
DEFAULT_RECIPES: dict[int, dict[str, Any]] = {
    2: {
        "default": {
            "source": "segtrace's default: 256 x 256, each image scaled to [0, 1]; not a published recipe",
            "size": [256, 256],
            "antialias": True,
            "label_interpolation": "vote",
            "intensity": [{"kind": "minmax"}],
        }
    },
    3: {
        "default": {
            "source": "segtrace's default: RAS, 1.5 mm, each image to mean 0 and deviation 1; not a published recipe",
            "orientation": "RAS",
            "spacing_mm": [1.5, 1.5, 1.5],
            "label_interpolation": "vote",
            "intensity": [{"kind": "zscore"}],
        }
    },
}
#: Protocols of a data set that names none.
DEFAULT_PROTOCOLS: dict[str, Any] = {
    "default": {
        "kind": "grouped_random",
        "source": "segtrace's default: a fifth of the subjects tests, a fifth of the others validates",
        "test_fraction": 0.2,
        "validation_fraction": 0.2,
        "seed": 0,
    }
}


class Dataset(Model):
    """A data set: where it comes from, what is in it, how it is prepared and split."""

    title: str
    reader: str | None = None
    """Module of ``segtrace.datasets``; the data set's own name by default."""
    dimensions: Literal[2, 3]
    modality: str
    licence: str
    licence_url: str = ""
    redistribution: bool = False
    homepage: str = ""
    reference: str = ""
    access: Literal["open", "registration", "embedded", "own"] = "open"
    """``own``: the user's own files, put into data/raw by ``segtrace add-dataset`` or by hand."""
    sources: list[Source] = []
    published_cases: PositiveInt | None = None
    """Labelled cases as published; a mirror or a subset may hold fewer."""
    download_mb: PositiveFloat | None = None
    """Size of all archives together in megabytes, about."""
    labels: dict[int, str]
    regions: dict[int, Region] = {}
    """Number, from 1000 on → a union of labels that is scored as well; regions are no part of the mean of labels."""
    channels: list[str]
    spacing_known: bool = True
    """False for images without a physical scale: distances are then given in pixels only."""
    nsd_tolerance: NonNegativeFloat | dict[int, NonNegativeFloat] = 1.0
    """Distance up to which surfaces agree (NSD), one for all labels or label → its own: in millimetres, or in
    voxels where ``spacing_known`` is false."""
    exclude: dict[str, str] = {}
    """Case → reason. Excluded cases are listed in the report."""
    options: dict[str, Any] = {}
    """Options of the reader or of the generator."""
    batches: int = Field(default=4, ge=1)
    """Number of batches in which ``prepare`` works."""
    gate: Gate = Gate()
    recipes: dict[str, Recipe]
    protocols: dict[str, Protocol]
    """Without recipes or protocols, those of :data:`DEFAULT_RECIPES` and :data:`DEFAULT_PROTOCOLS`."""
    notes: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_its_dimensions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        recipes = DEFAULT_RECIPES[2 if value.get("dimensions") == 2 else 3]
        given = {key: item for key, item in value.items() if item or key not in ("recipes", "protocols")}
        return {"recipes": recipes, "protocols": DEFAULT_PROTOCOLS} | given

    @property
    def nsd_tolerances(self) -> dict[int, float]:
        """Label, then region → the tolerance of its surface Dice."""
        given = self.nsd_tolerance
        own = {label: given[label] if isinstance(given, dict) else given for label in sorted(self.labels)}
        of_regions = {
            number: max(own[label] for label in region.labels)
            if region.nsd_tolerance is None
            else region.nsd_tolerance
            for number, region in sorted(self.regions.items())
        }
        return own | of_regions

    @property
    def scored(self) -> dict[int, str]:
        """Number → name of all that is scored: the labels as configured, then 'region NAME' of each region."""
        return self.labels | {
            number: f"region {region.name}" for number, region in sorted(self.regions.items())
        }

    @property
    def unions(self) -> dict[int, tuple[int, ...]]:
        """Region → its labels, sorted."""
        return {number: tuple(sorted(region.labels)) for number, region in sorted(self.regions.items())}

    @model_validator(mode="after")
    def _regions_are_unions(self) -> "Dataset":
        problems = []
        for number, region in sorted(self.regions.items()):
            where = f"regions.{number} ({region.name})"
            if number in self.labels:
                problems.append(f"{where}: {number} is the label {self.labels[number]!r}")
            if number < numbering.FIRST:
                problems.append(
                    f"{where}: regions are numbered from {numbering.FIRST} on, above every label; got {number}"
                )
            if not region.name.strip():
                problems.append(f"{where}: the name is empty")
            if not region.labels:
                problems.append(f"{where}: it unites no label; give at least one of {sorted(self.labels)}")
            if unknown := sorted(set(region.labels) - set(self.labels)):
                problems.append(f"{where}: no labels {unknown}; the data set has {sorted(self.labels)}")
            if twice := sorted({label for label in region.labels if region.labels.count(label) > 1}):
                problems.append(f"{where}: labels {twice} are given twice")
        names = [region.name for region in self.regions.values()]
        problems += [
            f"regions: two are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _every_label_has_a_tolerance(self) -> "Dataset":
        if isinstance(self.nsd_tolerance, dict) and set(self.nsd_tolerance) != set(self.labels):
            raise ValueError(
                f"nsd_tolerance is given for labels {sorted(self.nsd_tolerance)}; "
                f"the data set has {sorted(self.labels)}"
            )
        return self

    @model_validator(mode="after")
    def _recipes_take_channels_that_there_are(self) -> "Dataset":
        problems = [
            fault
            for name, recipe in self.recipes.items()
            for fault in recipe.problems(name, len(self.channels))
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _gate_names_labels(self) -> "Dataset":
        for key, named in (("prevalence", self.gate.prevalence), ("foreground", self.gate.foreground)):
            unknown = sorted(set(named) - set(self.labels))
            if unknown:
                raise ValueError(f"gate.{key} names labels {unknown}; the data set has {sorted(self.labels)}")
        return self

    @model_validator(mode="after")
    def _targets_have_the_dimensions(self) -> "Dataset":
        for name, recipe in self.recipes.items():
            for key in ("spacing_mm", "size"):
                target = getattr(recipe, key)
                if target is not None and len(target) != self.dimensions:
                    raise ValueError(
                        f"recipes.{name}.{key} is {target}; the data set has {self.dimensions} dimensions"
                    )
        return self

    @model_validator(mode="after")
    def _embedded_is_generated(self) -> "Dataset":
        if self.access == "embedded" and self.sources:
            raise ValueError("an embedded data set is generated: it has no sources")
        return self

    @model_validator(mode="after")
    def _labels_start_at_one(self) -> "Dataset":
        if sorted(self.labels) != list(range(1, len(self.labels) + 1)):
            raise ValueError(f"labels must be 1..n without gaps (0 is background), got {sorted(self.labels)}")
        return self
