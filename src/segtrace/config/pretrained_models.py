"""Weights that a user brings: which file a method starts from, and how its names become the network's."""

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, field_validator

from segtrace.config.types import Model


def _pattern(pair: list[str]) -> list[str]:
    try:
        re.sub(pair[0], pair[1], "")
    except (re.error, IndexError) as error:
        raise ValueError(f"{pair[0]!r} to {pair[1]!r} is no rule ({error})") from None
    return pair


#: A regular expression, and what takes its place wherever it is found.
Rule = Annotated[list[str], Field(min_length=2, max_length=2), AfterValidator(_pattern)]


class Mapping(Model):
    """``config/mappings``: how the names of a published checkpoint become a network's."""

    title: str
    source: str = ""
    rename: list[Rule] = []
    """Applied to each name in this order."""
    also: list[Rule] = []
    """Applied to a renamed name: where one of them changes it, the tensor goes there as well."""
    positions: dict[str, PositiveInt] = {}
    """The network's tables of positions (1, tokens, channels) → pixels along a token's side. A table of another grid is
    interpolated, without its tokens that stand for no place."""


class Pretrained(Model):
    """A file of weights that lies in the project, brought by the user."""

    file: str
    """Relative to the project's root."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the whole file; part of a run's identity."""
    mapping: str
    """Name of a file in ``config/mappings``."""
    under: str = ""
    """The entry of the file that holds the tensors, where several could."""

    @field_validator("file")
    @classmethod
    def _in_the_project(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file or not path.parts:
            raise ValueError("give a path within the project, such as data/pretrained/FILE")
        return file
