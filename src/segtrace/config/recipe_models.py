"""``recipes`` of a data set: how its cases become arrays."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from segtrace.config.types import Model


class Intensity(Model):
    """One step of an intensity recipe, applied to each channel of a case."""

    kind: Literal["window", "minmax", "zscore", "standardise"]
    low: float | None = None
    high: float | None = None
    """``window``: clip to [low, high], then scale to [0, 1]."""
    nonzero: bool = False
    """``zscore``: mean and deviation over non-zero voxels; zeros stay zero."""
    together: bool = False
    """``minmax``: by the least and greatest value of all channels, not of each."""
    mean: list[float] | None = None
    deviation: list[PositiveFloat] | None = None
    """``standardise``: subtract these means and divide by these deviations; one each for all channels, or one a
    channel."""

    @model_validator(mode="after")
    def _window_has_ends(self) -> "Intensity":
        if self.kind == "window" and (self.low is None or self.high is None or self.low >= self.high):
            raise ValueError(f"a window needs low < high, got low {self.low} and high {self.high}")
        return self

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> "Intensity":
        owners = {"low": "window", "high": "window", "nonzero": "zscore", "together": "minmax"}
        owners |= {"mean": "standardise", "deviation": "standardise"}
        given = [key for key in owners if getattr(self, key) is not None and getattr(self, key) is not False]
        strange = [key for key in given if owners[key] != self.kind]
        if strange:
            raise ValueError(f"a step of kind {self.kind} has no use for {', '.join(strange)}")
        if self.kind == "standardise" and not (self.mean and self.deviation):
            raise ValueError("a step of kind standardise needs mean and deviation")
        return self


class Recipe(Model):
    """How a data set's cases become arrays."""

    source: str = ""
    orientation: str | None = None
    """Axis code such as RAS for volumes; none for images."""
    spacing_mm: list[PositiveFloat] | None = None
    """Target spacing in (x, y, z) or (x, y); none keeps each case's own."""
    size: list[PositiveInt] | None = None
    """Target size in (x, y[, z]) voxels; the field of view is kept, so spacing follows."""
    image_interpolation: Literal["linear", "bspline"] = "linear"
    antialias: bool = False
    """Smooth an image along axes that become more than 1.5 times coarser; most published pipelines do not."""
    label_interpolation: Literal["nearest", "vote"] = "nearest"
    """``nearest``, or ``vote``: each label's mask resampled linearly, the largest wins."""
    channels: Annotated[list[NonNegativeInt], Field(min_length=1)] | None = None
    """The network's channels as numbers, from 0, of the data set's, in this order; one may be given again. None
    takes all as they are."""
    intensity: list[Intensity] = []
    faults: list[str] = []
    """What is wrong in the published input pipeline that this recipe follows: tables then call it as published."""

    def channel_count(self, stored: int) -> int:
        """Channels of a prepared image whose file holds ``stored``."""
        return stored if self.channels is None else len(self.channels)

    @property
    def input(self) -> Literal["clean", "as_published"]:
        """What tables call the network's input: ``as_published`` where the recipe keeps a published fault."""
        return "as_published" if self.faults else "clean"

    def problems(self, name: str, stored: int) -> list[str]:
        """What does not fit a data set of so many channels; ``name`` is the recipe's."""
        found = [
            f"recipes.{name}: channel {number} of channels; the data set has 0 to {stored - 1}"
            for number in self.channels or []
            if number >= stored
        ]
        count = self.channel_count(stored)
        for step in self.intensity:
            for key in ("mean", "deviation"):
                values = getattr(step, key)
                if values and len(values) not in (1, count):
                    found.append(
                        f"recipes.{name}: {len(values)} values of {key}; give 1, or one for each of {count} channels"
                    )
        return found

    @model_validator(mode="after")
    def _one_target(self) -> "Recipe":
        if self.spacing_mm is not None and self.size is not None:
            raise ValueError("give spacing_mm or size, not both")
        return self

    @model_validator(mode="after")
    def _faults_are_of_somebody(self) -> "Recipe":
        if self.faults and not self.source:
            raise ValueError("a recipe with published faults needs a source: who published it, and where")
        return self
