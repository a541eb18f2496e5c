"""The configuration's types. Each file under ``config/`` is one of these; unknown keys are refused."""

from collections.abc import Container
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from segtrace.config.corruption_models import Corruptions
from segtrace.config.data_models import Dataset as Dataset
from segtrace.config.data_models import Gate as Gate
from segtrace.config.data_models import Source as Source
from segtrace.config.pretrained_models import Mapping as Mapping
from segtrace.config.pretrained_models import Pretrained as Pretrained
from segtrace.config.protocol_models import Protocol as Protocol
from segtrace.config.published_models import Claim as Claim
from segtrace.config.published_models import Paper as Paper
from segtrace.config.published_models import Published as Published
from segtrace.config.recipe_models import Intensity as Intensity
from segtrace.config.recipe_models import Recipe as Recipe
from segtrace.config.training_models import Augmentation as Augmentation
from segtrace.config.training_models import Crop as Crop
from segtrace.config.training_models import Inference as Inference
from segtrace.config.training_models import Schedule as Schedule
from segtrace.config.training_models import Training as Training
from segtrace.config.types import Model as Model
from segtrace.config.types import distinct


class Budget(Model):
    """How much of a published training is run. Part of a run's identity."""

    title: str
    published: bool = False
    """True for ``paper`` alone: nothing is changed."""
    training: dict[str, Any] = {}
    """Keys of a training recipe that this budget replaces, for every recipe."""
    by_training: dict[str, dict[str, Any]] = {}
    """The same for one training recipe by name; it wins over ``training``."""

    @model_validator(mode="after")
    def _published_changes_nothing(self) -> "Budget":
        if self.published and (self.training or self.by_training):
            raise ValueError("a published budget changes nothing: leave out training and by_training")
        return self


class Method(Model):
    """A network with its options, and the framework it is trained in."""

    title: str
    network: str
    options: dict[str, Any] = {}
    framework: str | None = None
    framework_options: dict[str, Any] = {}
    pretrained: list[Pretrained] = []
    """Files that the first weights come from, in this order; none where all are drawn."""
    source: str = ""
    parameters: dict[str, int] = {}
    """Data set → published or pinned number of parameters, checked by a test."""
    notes: list[str] = []


class Experiment(Model):
    """One table: data × methods × training × protocol."""

    title: str
    paper: str = ""
    dataset: str
    recipe: str
    protocol: str
    training: str
    trainings: dict[str, str] = {}
    """Method → its own training recipe, where a paper trains its networks differently."""
    methods: Annotated[list[str], AfterValidator(distinct)]
    """May be empty where there are published values: a table of which nothing can be trained here yet."""
    folds: Annotated[list[NonNegativeInt], Field(min_length=1), AfterValidator(distinct)] | Literal["all"] = [
        0
    ]
    role: Literal["test", "val"] = "test"
    grid: Literal["native", "prepared"] = "native"
    checkpoint: Literal["last", "best_val"] = "last"
    aggregation: Literal["per_case", "per_batch", "pooled", "per_fold"] = "per_case"
    """What is set beside published values; the tables hold every aggregation."""
    batch: PositiveInt = 8
    """Images of a batch of ``per_batch``."""
    corruptions: Corruptions = {}
    """Kind → strengths: the test cases are segmented again under each, without training anew (docs/predict.md)."""
    published: Published | None = None
    notes: list[str] = []

    def training_of(self, method: str) -> str:
        """The name of a method's training recipe."""
        return self.trainings.get(method, self.training)

    def without(self, methods: Container[str]) -> "Experiment":
        """The experiment of the other methods alone; published rows of these stand without a recomputed value."""
        published = self.published
        if published is not None:
            rows = [
                row.model_copy(update={"method": None}) if row.method in methods else row
                for row in published.rows
            ]
            macs = {name: sizes for name, sizes in published.counts_macs.items() if name not in methods}
            published = published.model_copy(update={"rows": rows, "counts_macs": macs})
        changes = {
            "methods": [name for name in self.methods if name not in methods],
            "trainings": {name: recipe for name, recipe in self.trainings.items() if name not in methods},
            "published": published,
        }
        return self.model_copy(update=changes)

    @property
    def recipes(self) -> list[str]:
        """The names of all training recipes, ``training`` first."""
        return list(dict.fromkeys([self.training, *self.trainings.values()]))

    @model_validator(mode="after")
    def _something_to_show(self) -> "Experiment":
        if not self.methods and self.published is None:
            raise ValueError("methods: name at least one, or give published values")
        strange = sorted(set(self.trainings) - set(self.methods))
        if strange:
            raise ValueError(f"trainings name methods that the experiment lacks: {', '.join(strange)}")
        if self.published is not None:
            named = [row.method for row in self.published.rows if row.method is not None]
            unknown = sorted(set(named) - set(self.methods))
            if unknown:
                raise ValueError(
                    f"published rows name methods that the experiment lacks: {', '.join(unknown)}"
                )
        return self


#: Methods of a data set's default experiment, by its dimensions: such as train within minutes on two cores.
DEFAULT_METHODS = {2: ["unet_tiny", "dynunet_tiny_2d"], 3: ["unet3d_tiny", "dynunet_tiny_3d"]}


def default_experiment(name: str, data: Dataset) -> Experiment:
    """What ``experiments=NAME`` means where NAME is a data set alone: its first recipe and protocol, two small networks."""
    return Experiment(
        title=f"{data.title}: default experiment",
        dataset=name,
        recipe=next(iter(data.recipes)),
        protocol=next(iter(data.protocols)),
        training=f"generic_{data.dimensions}d",
        methods=DEFAULT_METHODS[data.dimensions],
    )


class Config(Model):
    """``config/config.yaml``: what to run."""

    experiments: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    budget: str = "smoke"
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1), AfterValidator(distinct)] = [0]
    training_threads: int = Field(default=2, ge=1)
    """CPU threads of a training: part of a run's identity, whatever ``--cores`` says."""
    determinism: Literal["strict", "fast"] = "strict"
    """``strict``: the same bits every time. ``fast``: whatever is quickest on a GPU. Part of a run's identity."""
    mirror: str | None = None
    """Folder with archives under their published names; read before any address."""
    tracking: Annotated[list[Literal["tensorboard", "dvclive"]], AfterValidator(distinct)] = []
    """How trainings can be watched beside their history; no part of a run's identity."""
    jobs_per_gpu: int = Field(default=1, ge=1)
    """How many trainings or predictions may share a GPU; no part of a run's identity."""
