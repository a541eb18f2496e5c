"""What the embedded data sets share: the layout ``images/NAME`` and ``labels/NAME``, and how it is filled.

NAME is ``SUBJECT_...``. All is drawn from the seed and the case alone, whatever the number of processes.
"""

import difflib
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from segtrace import parallel
from segtrace.datasets import Case
from segtrace.errors import raise_all

IMAGES, LABELS = "images", "labels"
#: From this number of cases on, all cores draw.
MANY = 100


def generate(
    root: Path,
    options: Mapping[str, Any],
    *,
    counts: tuple[str, str],
    draw: Callable[[int, int, int], tuple[str, bytes, bytes]],
) -> None:
    """Write ``options[counts[0]]`` × ``options[counts[1]]`` images and labels below ``root``.

    ``draw(seed, subject, number)`` gives a case's file name and the bytes of its image and of its label.
    ``root`` is not the final place: nothing is flushed to the disk here.
    """
    _check(options, known=("seed", *counts))
    for folder in (IMAGES, LABELS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    wanted = [(s, n) for s in range(options[counts[0]]) for n in range(options[counts[1]])]
    parallel.map_cases(
        partial(_write, root, options["seed"], draw),
        wanted,
        label="draw cases",
        workers=len(os.sched_getaffinity(0)) if len(wanted) >= MANY else 1,
    )


def _write(
    root: Path, seed: int, draw: Callable[[int, int, int], tuple[str, bytes, bytes]], case: tuple[int, int]
) -> None:
    name, image, label = draw(seed, *case)
    (root / IMAGES / name).write_bytes(image)
    (root / LABELS / name).write_bytes(label)


def _check(options: Mapping[str, Any], *, known: tuple[str, ...]) -> None:
    """Refuse options that are missing, unknown, or no whole numbers from 0 (the seed) or 1 on."""
    problems = []
    for key in sorted({*options, *known}):
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            problems.append(
                f"unknown key {key!r}: "
                + (f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}")
            )
        elif key not in options:
            problems.append(f"key {key!r} is missing")
        else:
            value, least = options[key], 0 if key == "seed" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                problems.append(f"key {key!r} must be a whole number from {least} on; the value is {value!r}")
    raise_all(problems, heading="options of the generator")


def cases(root: Path, *, ending: str) -> list[Case]:
    """All pairs of files with that ending, sorted by name; files without partner are one error."""
    found = {
        folder: {path.name for path in (root / folder).glob(f"[!.]*{ending}")} for folder in (IMAGES, LABELS)
    }
    problems = [
        f"{root / missing / name}: missing, {root / there / name} is there"
        for missing, there in ((LABELS, IMAGES), (IMAGES, LABELS))
        for name in sorted(found[there] - found[missing])
    ]
    raise_all(problems, heading=f"{root}: images and labels do not pair")
    return [
        Case(
            case=name.removesuffix(ending),
            subject=name.split("_")[0],
            images=(f"{IMAGES}/{name}",),
            labels=(f"{LABELS}/{name}",),
        )
        for name in sorted(found[IMAGES])
    ]
