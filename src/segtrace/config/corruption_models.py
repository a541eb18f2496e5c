"""The corruptions that an experiment asks for: kinds, and the strengths of each."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from segtrace import layout
from segtrace.config.types import distinct
from segtrace.errors import SegtraceError

#: Kind → least and greatest strength: beyond them nothing is left of an image, or nothing changes.
LIMITS = {"noise": (0.0, 100.0), "blur": (0.0, 100.0), "contrast": (0.0, 100.0), "scale": (0.1, 4.0)}
#: The strength of factors that changes nothing.
UNCHANGED = 1.0


def _checked(given: dict[str, list[float]]) -> dict[str, list[float]]:
    """Refuse strengths that change nothing, lie beyond the limits, or have no name."""
    problems = []
    for kind, strengths in given.items():
        low, high = LIMITS[kind]
        for strength in strengths:
            if not low < strength <= high:
                problems.append(f"{kind} of {strength:g}: a strength lies above {low:g} and up to {high:g}")
            elif kind in ("contrast", "scale") and strength == UNCHANGED:
                problems.append(f"{kind} of 1 is the clean image, which is compared anyway")
            else:
                try:
                    layout.corruption_name(kind, strength)
                except SegtraceError as error:
                    problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return given


Strengths = Annotated[list[float], Field(min_length=1), AfterValidator(distinct)]
Corruptions = Annotated[
    dict[Literal["noise", "blur", "contrast", "scale"], Strengths], AfterValidator(_checked)
]
