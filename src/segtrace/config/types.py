"""What the configuration's types are made of: their base, and numbers within bounds."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
)

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def ordered(ends: Any) -> Any:
    """Refuse a range whose ends are the wrong way round."""
    if ends[0] > ends[1]:
        raise ValueError(
            f"a range goes from its least to its greatest value, this one from {ends[0]} to {ends[1]}"
        )
    return ends


def distinct(values: list[Any]) -> list[Any]:
    """Refuse a list that names something twice."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{twice[0]!r} is given twice")
    return values


def three(value: Any) -> Any:
    """One number stands for three."""
    return [value] * 3 if isinstance(value, int | float) else value


Range = Annotated[tuple[float, float], AfterValidator(ordered)]
FactorRange = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2), AfterValidator(ordered)]
WholeRange = Annotated[tuple[int, int], AfterValidator(ordered)]


class Model(BaseModel):
    """Base of every type here: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
