"""Duplicates among cases: pairs that show one image, and the groups that they form.

A copy has the same bytes (``bytes``) or the same decoded pixels (``pixels``). A near-duplicate (``near``) shows the
same image after a flip, a turn, a change of size or brightness, lossy compression or a crop of a few per cent: its
fingerprint is close in one of the eight placements (candidate), and the details of the thumbnails correlate
(confirmed). Groups are the connected components of all pairs, so copies of copies belong together.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtrace import likeness
from segtrace.components import groups
from segtrace.fingerprints import TRANSFORMS, fingerprints, placed, transformed

#: Kinds of duplicates, the surest first.
KINDS = ("bytes", "pixels", "near")
#: Bits of 64 that may differ between the fingerprints of near-duplicates.
DISTANCE = 18
#: Candidates that are looked at, at most. Of larger sets only the nearer ones are: the distance shrinks to fit.
MOST = 2_000_000
#: Candidates whose detail is compared, at most: of more, those that are most alike at the quick look.
MOST_COMPARED = 100_000
#: Least correlation of a candidate at a glance, at a quick look, and of a near-duplicate in its detail.
GLANCE, QUICK, CONFIRMED = 0.6, 0.85, 0.87
#: Masks of two duplicates whose Dice is below this contradict each other.
DICE = 0.7
#: Fingerprints compared at a time, so many with so many: what a processor's cache holds.
ROWS, COLUMNS = 64, 4096


def pairs(rows: Sequence[Mapping[str, Any]], thumbnails: np.ndarray) -> list[dict[str, Any]]:
    """Rows of ``duplicates``: each confirmed pair once, sorted by its cases.

    ``rows`` are those of ``cases``, in sorted order; ``thumbnails`` (N, 2, SIDE, SIDE) theirs.
    """
    found = []
    same = copies(rows)
    for one, other, kind in same:
        dice = likeness.overlap_dice(thumbnails[one, 1], thumbnails[other, 1], 0, (0, 0))
        found.append(_row(rows[one], rows[other], kind, dice=dice))
    later = {other for _, other, _ in same}
    originals = np.array([place for place in range(len(rows)) if place not in later], dtype=int)
    for row in near(thumbnails[originals, 0]):
        one, other = int(originals[row["first"]]), int(originals[row["second"]])
        mask = transformed(thumbnails[one, 1], row["transform"])
        dice = likeness.overlap_dice(mask, thumbnails[other, 1], row["match"], row["shift"])
        more = {key: row[key] for key in ("hamming", "correlation", "transform")}
        found.append(_row(rows[one], rows[other], "near", dice=dice, **more))
    return sorted(found, key=lambda row: (row["first"], row["second"]))


def grouped(rows: Sequence[dict[str, Any]], thumbnails: np.ndarray) -> list[dict[str, Any]]:
    """:func:`pairs`, with ``duplicate_group`` put into each of ``rows``."""
    found = pairs(rows, thumbnails)
    joined = [(pair["first"], pair["second"]) for pair in found]
    for row, group in zip(rows, groups([row["case"] for row in rows], joined), strict=True):
        row["duplicate_group"] = group
    return found


def _row(
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    kind: str,
    *,
    dice: float,
    hamming: int = 0,
    correlation: float = 1.0,
    transform: int = 0,
) -> dict[str, Any]:
    return {
        "first": one["case"],
        "second": other["case"],
        "kind": kind,
        "hamming": hamming,
        "correlation": round(correlation, 3),
        "transform": TRANSFORMS[transform],
        "mask_dice": round(dice, 3),
        "contradiction": contradiction(one, other, dice=dice),
    }


def contradiction(one: Mapping[str, Any], other: Mapping[str, Any], *, dice: float) -> str:
    """How the labels of two duplicates contradict each other; empty if they do not.

    ``one`` and ``other`` are rows of ``cases``; ``dice`` is that of their masks, not a number where both are empty.
    """
    reasons = []
    if one["group"] != other["group"]:
        reasons.append("classes differ")
    if has_foreground(one) != has_foreground(other):
        reasons.append("one mask is empty")
    elif not math.isnan(dice) and dice < DICE:
        reasons.append("masks differ")
    return "; ".join(reasons)


def has_foreground(row: Mapping[str, Any]) -> bool:
    """Whether the mask of a row of ``cases`` holds anything."""
    return any(count for value, count in json.loads(row["voxels"]).items() if value != "0")


def copies(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, str]]:
    """(place, place, kind) of images that are equal: each with the first of its equals, in order.

    ``rows`` are those of ``cases``. Of many equal images the pairs with the first tell all: equality is transitive.
    """
    found: dict[tuple[int, int], str] = {}
    for kind, column in (("bytes", "image_sha256"), ("pixels", "pixels_sha256")):
        first: dict[str, int] = {}
        for place, row in enumerate(rows):
            start = first.setdefault(row[column], place)
            if start != place:
                found.setdefault((start, place), kind)
    return sorted((one, other, kind) for (one, other), kind in found.items())


def near(greys: np.ndarray) -> list[dict[str, Any]]:
    """Near-duplicates among image thumbnails (N, SIDE, SIDE): each pair once, in its best placement, sorted.

    ``first`` < ``second`` are places in ``greys``; the first image placed by ``transform`` shows the second, with
    ``match`` and ``shift`` of :class:`segtrace.likeness.Match`.
    """
    codes = fingerprints(greys) if len(greys) else np.zeros(0, np.uint64)
    transforms, first, second = candidates(codes)
    if not len(first):
        return []
    shown = np.unique(np.concatenate([first, second]))
    looks = likeness.quick_looks(greys[shown])
    alike = np.empty(len(first), np.float32)
    for transform in range(len(TRANSFORMS)):
        of = transforms == transform
        one, other = (np.searchsorted(shown, ends[of]) for ends in (first, second))
        alike[of] = likeness.quick(looks, one, other, transform, least=GLANCE)
    least = QUICK
    if len(alike) > MOST_COMPARED:
        least = max(QUICK, float(np.partition(alike, -MOST_COMPARED)[-MOST_COMPARED]))
    best: dict[tuple[int, int], dict[str, Any]] = {}
    for transform in range(len(TRANSFORMS)):
        of = (transforms == transform) & (alike >= least)
        one, other = first[of], second[of]
        match = likeness.compare(greys, one, other, transform)
        distance = np.bitwise_count(placed(codes[one])[transform] ^ codes[other])
        for n in np.flatnonzero(match.correlation >= CONFIRMED):
            pair = (int(one[n]), int(other[n]))
            correlation = float(match.correlation[n])
            if pair not in best or correlation > best[pair]["correlation"]:
                best[pair] = {
                    "first": pair[0],
                    "second": pair[1],
                    "transform": transform,
                    "hamming": int(distance[n]),
                    "correlation": correlation,
                    "match": int(match.match[n]),
                    "shift": (int(match.shift[n, 0]), int(match.shift[n, 1])),
                }
    return [best[pair] for pair in sorted(best)]


def candidates(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of close fingerprints (N,): arrays of placement, first and second; a pair once for each close placement."""
    every, limit, count = placed(codes), distance_limit(codes), len(codes)
    found = [np.zeros((3, 0), dtype=np.int64)]
    for transform in range(len(TRANSFORMS)):
        for rows in likeness.blocks(count, ROWS):
            for start in range(rows.start, count, COLUMNS):
                others = codes[start : start + COLUMNS]
                close = np.bitwise_count(every[transform, rows, None] ^ others[None]) <= limit
                one, other = np.divmod(np.flatnonzero(close), len(others))
                one, other = one + rows.start, other + start
                later = other > one
                if later.any():
                    found.append(np.stack([np.full(later.sum(), transform), one[later], other[later]]))
    transforms, first, second = np.concatenate(found, axis=1)
    return transforms, first, second


def distance_limit(codes: np.ndarray) -> int:
    """``DISTANCE``, or the largest smaller distance that gives about ``MOST`` candidates, judged by a sample."""
    count = len(codes)
    sample = codes[np.linspace(0, count - 1, min(count, 256)).astype(int)] if count else codes
    histogram = np.zeros(65, dtype=np.int64)
    for row in placed(sample).reshape(-1):
        histogram += np.bincount(np.bitwise_count(row ^ codes), minlength=65)
    expected = histogram.cumsum() * (count / max(1, len(sample)) / 2)
    limit = DISTANCE
    while limit > 0 and expected[limit] > MOST:
        limit -= 1
    return limit
