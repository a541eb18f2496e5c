"""nnU-Net's layout: ``dataset.json`` of version 1 or 2, ``imagesTr`` with a file a channel, ``labelsTr``."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segtrace.add_dataset import assemble, inventory
from segtrace.add_dataset.proposal import Proposal
from segtrace.datasets import _files
from segtrace.datasets import nnunet as reader
from segtrace.errors import SegtraceError
from segtrace.files import read_json


def recognise(folder: Path, *, keep_names: bool = False) -> Proposal | None:
    """The proposal, if ``imagesTr`` and ``labelsTr`` lie in ``folder`` or in its only folder that has them."""
    places = [
        path
        for path in (folder, *sorted(folder.iterdir()))
        if (path / reader.LABELS).is_dir() and (path / reader.IMAGES).is_dir()
    ]
    if len(places) != 1:
        return None
    inside = places[0].relative_to(folder).as_posix()
    prefix = "" if inside == "." else f"{inside}/"
    files = inventory.of(folder).images
    sides = [
        [name.removeprefix(f"{prefix}{side}/") for name in files if name.startswith(f"{prefix}{side}/")]
        for side in (reader.IMAGES, reader.LABELS)
    ]
    found, alone = reader.grouped(*sides)
    problems, channels, labels = _described(places[0] / "dataset.json")
    problems += [f"{prefix}{reader.IMAGES}/{name}: has no label; left out" for name in alone]
    raws, unequal = _cases(prefix, sides[1], found)
    if not raws:
        return None
    tests = sum(name.startswith(f"{prefix}imagesTs/") for name in files)
    if tests:
        problems.append(f"{prefix}imagesTs: {tests} images without labels are not taken in")
    if len(channels) != len(raws[0].images):
        if channels and len(raws[0].images) > 1:
            problems.append(
                f"dataset.json names {len(channels)} channels, the images have {len(raws[0].images)}"
            )
        channels = (
            [f"channel_{n}" for n in range(1, len(raws[0].images) + 1)] if len(raws[0].images) > 1 else []
        )
    layout = assemble.Layout(
        title="nnU-Net's layout" + (f" in {inside}" if prefix else ""),
        reader="nnunet",
        place=_places,
        options={},
        label_names=labels,
        declared=True,
        channels=channels,
    )
    return assemble.propose(folder, raws, layout, problems=problems + unequal, keep_names=keep_names)


def _cases(
    prefix: str, labels: Sequence[str], found: dict[str, list[str]]
) -> tuple[list[assemble.Raw], list[str]]:
    """Cases with as many channels as most have, and what is wrong with the others."""
    counts = Counter(len(images) for images in found.values() if images)
    most = counts.most_common(1)[0][0] if counts else 0
    stems = Counter(_files.split_ending(name)[0] for name in labels)
    raws, problems = [], []
    for name in labels:
        key = _files.split_ending(name)[0]
        images = found[key]
        if stems[key] > 1 or not images or len(images) != most:
            what = (
                "several labels of one name"
                if stems[key] > 1
                else f"its image has {len(images)} channels, most have {most}"
                if images
                else "a label without an image"
            )
            problems.append(f"{prefix}{reader.LABELS}/{name}: {what}; left out")
            continue
        own = tuple(f"{prefix}{reader.IMAGES}/{image}" for image in images)
        raws.append(assemble.Raw(key, own, (f"{prefix}{reader.LABELS}/{name}",)))
    return raws, problems


def _places(case: str, raw: assemble.Raw, every: Sequence[str]) -> dict[str, str]:
    images = {
        f"{reader.IMAGES}/{case}_{n:04d}{assemble.ending(image)}": image for n, image in enumerate(raw.images)
    }
    return images | {f"{reader.LABELS}/{case}{assemble.ending(raw.masks[0])}": raw.masks[0]}


def _described(path: Path) -> tuple[list[str], list[str], dict[int, str]]:
    """What ``dataset.json`` says: problems with it, names of the channels, label value → name."""
    if not path.is_file():
        return ["dataset.json is not there: channels and labels are named by numbers"], [], {}
    try:
        content: Any = read_json(path)
    except SegtraceError:
        return ["dataset.json is not valid JSON: channels and labels are named by numbers"], [], {}
    content = content if isinstance(content, dict) else {}
    problems: list[str] = []
    given = content.get("channel_names", content.get("modality"))
    channels = []
    if isinstance(given, dict):
        channels = [
            str(name)
            for _, name in sorted(
                given.items(), key=lambda item: int(item[0]) if str(item[0]).isdigit() else 0
            )
        ]
    labels: dict[int, str] = {}
    raw = content.get("labels")
    for key, value in raw.items() if isinstance(raw, dict) else ():
        number, name = (key, value) if isinstance(value, str) else (value, key)
        if isinstance(number, list):
            problems.append(
                f"dataset.json: label {name!r} is a region of {number}; the labels it is made of are taken"
            )
        elif name == "ignore":
            problems.append(
                f"dataset.json: label {number} is 'ignore'; it is not known here and becomes a label"
            )
            labels[int(number)] = "ignore"
        elif re.fullmatch(r"-?\d+", str(number)) and int(number) != 0:
            labels[int(number)] = str(name)
    return problems, channels, labels
