"""What is proposed for a folder: the common form that every recognised layout comes in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Proposal:
    """A data set as a layout's ``recognise(folder) -> Proposal | None`` proposes it; nothing is written yet."""

    layout: str
    """What was recognised, in words, for example ``images and masks in two folders``."""
    reader: str
    """Module of ``segtrace.datasets`` that reads the tree of ``files``."""
    options: dict[str, Any]
    """The reader's options."""
    dimensions: int
    modality: str
    labels: dict[int, str]
    """Label value 1..n → name."""
    channels: list[str]
    files: dict[str, Path]
    """Place below ``data/raw/NAME`` → the file that is copied there. No place holds a person's name or dates."""
    private: dict[str, str] = field(default_factory=dict)
    """Pseudonym → what it stands for; kept out of every table, in a file that only its owner can read."""
    problems: list[str] = field(default_factory=list)
    """Files that do not fit the layout, one line each, with what was done about them."""
    notes: list[str] = field(default_factory=list)
    """What was decided, one line each; no line holds a person's name or dates."""
