"""A BIDS derivative: images of subjects and sessions, label maps below ``derivatives``, names of labels in a table."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segtrace.add_dataset import assemble, inventory, naming
from segtrace.add_dataset.proposal import Proposal
from segtrace.datasets import _files, _names
from segtrace.datasets import bids as reader

LABELS = ("dseg", "mask")


def recognise(folder: Path, *, keep_names: bool = False) -> Proposal | None:
    """The proposal, if names below ``folder`` begin with ``sub-`` and some end in ``_dseg`` or ``_mask``."""
    stems = {
        name: _files.split_ending(Path(name).name)[0]
        for name in inventory.of(folder).images
        if Path(name).name.startswith("sub-")
    }
    kinds = Counter(
        _kind(name, stem) for name, stem in stems.items() if reader.entities(stem)["suffix"] in LABELS
    )
    if not kinds:
        return None
    chosen = min(kinds, key=lambda kind: (-kinds[kind], LABELS.index(kind[1].rpartition("_")[2]), kind))
    problems = [
        f"{count} label maps {kind} in {place}: not taken in, for {kinds[chosen]} are {chosen[1]} in {chosen[0]}"
        for (place, kind), count in sorted(kinds.items())
        if (place, kind) != chosen
    ]
    images = {
        stem: name
        for name, stem in stems.items()
        if not name.startswith(reader.DERIVATIVES) and reader.entities(stem)["suffix"] not in LABELS
    }
    labels = {name: stem for name, stem in stems.items() if _kind(name, stem) == chosen}
    suffixes = Counter(
        reader.entities(one)["suffix"]
        for stem in labels.values()
        for one in reader.matching(stem, list(images))
    )
    if not suffixes:
        return None
    suffix = min(suffixes, key=lambda name: (-suffixes[name], name != "T1w", name))
    others = sorted(set(suffixes) - {suffix})
    if others:
        problems.append(f"images {', '.join(others)}: not taken in, for {suffix} is")
    raws, unmatched = _cases(
        labels, {s: n for s, n in images.items() if reader.entities(s)["suffix"] == suffix}
    )
    if not raws:
        return None
    kind = chosen[1].rpartition("_")[2]
    layout = assemble.Layout(
        title=f"BIDS, images {suffix}, label maps {chosen[1]} in {chosen[0]}",
        reader="bids",
        place=lambda case, raw, every: _places(case, raw, suffix, kind),
        options=({} if f"*_{suffix}" == reader.IMAGE else {"images": f"*_{suffix}"})
        | ({} if f"*_{kind}" == reader.LABEL else {"labels": f"*_{kind}"}),
        label_names=_label_names(folder, chosen[0]) if kind == "dseg" else None,
        channels=[suffix],
    )
    names = _named([raw.key for raw in raws], keep=keep_names)
    return assemble.propose(
        folder, raws, layout, problems=problems + unmatched, keep_names=keep_names, names=names
    )


def _kind(name: str, stem: str) -> tuple[str, str]:
    """Where a label map lies, and what it shows: ``('derivatives/manual', 'desc-lesion_mask')``."""
    parts = name.split("/")
    place = (
        "/".join(parts[:2])
        if name.startswith(reader.DERIVATIVES) and len(parts) > 3
        else parts[0]
        if name.startswith(reader.DERIVATIVES)
        else "."
    )
    found = reader.entities(stem)
    shown = [f"{key}-{value}" for key, value in found.items() if key not in (*reader.WHICH, "suffix")]
    return place, "_".join([*shown, found["suffix"]])


def _cases(labels: dict[str, str], images: dict[str, str]) -> tuple[list[assemble.Raw], list[str]]:
    raws: dict[str, assemble.Raw] = {}
    problems = []
    for name, stem in labels.items():
        found = reader.matching(stem, list(images))
        if len(found) != 1:
            what = (
                f"{len(found)} images could be its own ({', '.join(found)})"
                if found
                else "a label map without an image"
            )
            problems.append(f"{name}: {what}; left out")
            continue
        key = reader.which(found[0])
        if key in raws:
            problems.append(f"{name}: a second label map of {images[found[0]]}; left out")
        else:
            raws[key] = assemble.Raw(key, (images[found[0]],), (name,))
    used = {raw.images[0] for raw in raws.values()}
    problems += [f"{name}: has no label map; left out" for name in images.values() if name not in used]
    return list(raws.values()), sorted(problems)


def _places(case: str, raw: assemble.Raw, suffix: str, kind: str) -> dict[str, str]:
    found = reader.entities(f"{case}_x")
    folder = "/".join(f"{key}-{found[key]}" for key in ("sub", "ses") if key in found) + "/anat"
    image, label = assemble.ending(raw.images[0]), assemble.ending(raw.masks[0])
    return {
        f"{folder}/{case}_{suffix}{image}": raw.images[0],
        f"derivatives/labels/{folder}/{case}_{kind}{label}": raw.masks[0],
    }


def _named(keys: Sequence[str], *, keep: bool) -> naming.Naming:
    """Ids in BIDS' own form: the names, or ``sub-001_ses-1`` where these may say who it is."""
    keys = sorted(keys)
    subjects = sorted({reader.entities(f"{key}_x")["sub"] for key in keys})
    told = f"{len(subjects)} subjects in {len(keys)} cases, by sub-"
    reason = "" if keep else _names.identifying(reader.values(key) for key in keys)
    if not reason and all(_names.plain(key) == key for key in keys):
        return naming.Naming({key: key for key in keys}, notes=["names are kept", told])
    ids: dict[str, str] = {}
    private = {f"sub-{n:03d}": f"sub-{subject}" for n, subject in enumerate(subjects, 1)}
    for number, subject in enumerate(subjects, 1):
        own = [key for key in keys if reader.entities(f"{key}_x")["sub"] == subject]
        for visit, key in enumerate(own, 1):
            ids[key] = f"sub-{number:03d}" + (f"_ses-{visit}" if len(own) > 1 else "")
    private |= {new: old for old, new in ids.items()}
    why = reason or "they hold signs that an id cannot hold"
    return naming.Naming(ids, None, False, private, [f"names are not kept: {why}", told])


def _label_names(folder: Path, place: str) -> dict[int, str]:
    """Label value → name of the first ``dseg.tsv`` beside the label maps, or at the top."""
    found = [name for name in inventory.of(folder).others if name.endswith("dseg.tsv")]
    for name in sorted(found, key=lambda name: (not name.startswith(f"{place}/"), name.count("/"), name)):
        try:
            with (folder / name).open(encoding="utf-8", newline="") as handle:
                rows = list(csv.DictReader(handle, delimiter="\t"))
            return {int(row["index"]): row["name"] for row in rows if int(row["index"]) != 0}
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            continue
    return {}
