"""From cases that a layout found to a proposal: ids, labels, channels, places."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace.add_dataset import contents, inventory, naming
from segtrace.add_dataset.proposal import Proposal
from segtrace.datasets import _files


@dataclass(frozen=True)
class Raw:
    """One case as it lies in the folder: its name there, its images and masks relative to the folder."""

    key: str
    images: tuple[str, ...]
    masks: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What a layout's module knows of a folder."""

    title: str
    reader: str
    place: Callable[[str, Raw, Sequence[str]], dict[str, str]]
    """(id, case, all ids) → place of each file below the new tree."""
    options: Mapping[str, Any]
    label_names: Mapping[int, str] | None = None
    declared: bool = False
    """Whether ``label_names`` are all labels there are, even where no mask holds one."""
    channels: Sequence[str] | None = None


def propose(
    folder: Path,
    raws: Sequence[Raw],
    layout: Layout,
    *,
    problems: Sequence[str],
    keep_names: bool,
    names: naming.Naming | None = None,
) -> Proposal:
    """The proposal for the cases that a layout found. Pictures and volumes do not mix: the rarer are left out."""
    raws, mixed = _of_one_kind(raws)
    told = [*inventory.of(folder).problems, *problems, *mixed]
    names = names or naming.name_cases([raw.key for raw in raws], keep=keep_names)
    masks = contents.stored([folder / mask for raw in raws for mask in raw.masks])
    named = dict(layout.label_names or {})
    if not layout.declared:
        named = {value: name for value, name in named.items() if value in masks.pixels}
    found = contents.scheme(masks, names=named)
    # of greys between black and white, only the few that a slip would be are worth a line each
    odd = contents.rare(masks, folder, known=named)
    if "threshold" in found.options and len(odd) > contents.FEW:
        odd = []
    channels, options = list(layout.channels or []), dict[str, Any]()
    if not channels:
        channels, options = contents.channels([folder / raw.images[0] for raw in raws])
    options = {**layout.options, **options, **found.options}
    if names.subject is not None:
        options["subject"] = names.subject
    if keep_names:
        options["keep_names"] = True
    every = list(names.ids.values())
    return Proposal(
        layout=layout.title,
        reader=layout.reader,
        options=options,
        dimensions=2 if _is_picture(raws[0].images[0]) else 3,
        modality="not stated",
        labels=found.labels,
        channels=channels,
        files={
            place: folder / file
            for raw in raws
            for place, file in layout.place(names.ids[raw.key], raw, every).items()
        },
        private=names.private,
        problems=[inventory.printable(line) for line in [*told, *found.problems, *odd]],
        notes=names.notes,
    )


def _is_picture(name: str) -> bool:
    return _files.split_ending(name)[1] in _files.PICTURES


def _of_one_kind(raws: Sequence[Raw]) -> tuple[list[Raw], list[str]]:
    kinds = [{_is_picture(file) for file in (*raw.images, *raw.masks)} for raw in raws]
    counts = Counter(next(iter(kind)) for kind in kinds if len(kind) == 1)
    wanted = {counts.most_common(1)[0][0]} if counts else {True}
    kept = [raw for raw, kind in zip(raws, kinds, strict=True) if kind == wanted]
    problems = []
    for raw, kind in zip(raws, kinds, strict=True):
        if kind != wanted:
            what = (
                "a picture and a volume in one case"
                if len(kind) > 1
                else "another kind (picture or volume) than most"
            )
            problems.append(f"{', '.join((*raw.images, *raw.masks))}: {what}; left out")
    return kept, problems


def ending(name: str) -> str:
    """The ending of an image's name, in lower case."""
    return _files.split_ending(name)[1]


def place_pair(case: str, raw: Raw, every: Sequence[str]) -> dict[str, str]:
    """Places in the reader ``pairs``' own layout: images/CASE and masks/CASE, further masks numbered."""
    places = {f"images/{case}{ending(raw.images[0])}": raw.images[0]}
    taken, number = set(every), 0
    for position, mask in enumerate(raw.masks):
        name = case
        while position and name in taken:
            number += 1
            name = f"{case}_{number}"
        places[f"masks/{name}{ending(mask)}"] = mask
        taken.add(name)
    return places
