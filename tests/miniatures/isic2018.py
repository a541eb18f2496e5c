"""ISIC 2018, task 1, training archives alone."""

from pathlib import Path

from miniatures import Expected, isic2018_official


def build(folder: Path) -> dict[str, Expected]:
    """The training side of :mod:`miniatures.isic2018_official`."""
    return isic2018_official.build(folder, ["training"])
