"""What several data sets share: cases of one name, of one file, of the same pixels, and near-duplicates."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtrace import duplicates, fingerprints, layout
from segtrace.audit.findings import Audit
from segtrace.errors import SegtraceError

#: Between a data set's name and a case in the rows of :attr:`Overlap.pairs`.
SLASH = "/"


@dataclass(frozen=True)
class Overlap:
    """What two data sets share: ids of cases that both have, and ``pairs`` as rows of ``duplicates``, whose cases are
    written ``DATASET/CASE``. ``unlike`` are the ids whose two images are not found to be the same one.
    """

    one: str
    other: str
    ids: tuple[str, ...]
    pairs: list[dict[str, Any]]
    unlike: tuple[str, ...]

    def count(self, kind: str) -> int:
        """Number of pairs of a kind."""
        return sum(pair["kind"] == kind for pair in self.pairs)

    @property
    def sentence(self) -> str:
        """The counts in words."""
        torn = sum(bool(pair["contradiction"]) for pair in self.pairs)
        looked = (
            f" ({len(self.unlike)} of them with images that are not found to be alike)" if self.unlike else ""
        )
        return (
            f"{len(self.ids)} cases of the same name{looked}, {self.count('bytes')} pairs of the same bytes, "
            f"{self.count('pixels')} more of the same pixels, {self.count('near')} near-duplicates; "
            f"{torn} pairs with labels that contradict each other"
        )


def overlaps(audits: Sequence[Audit]) -> list[Overlap]:
    """The overlap of each two of the data sets; nothing for one alone.

    Raises :class:`SegtraceError` where the thumbnails of a data set are not those of its index.
    """
    if len(audits) < 2:
        return []
    rows = [{**row, "case": f"{one.name}{SLASH}{row['case']}"} for one in audits for row in one.rows]
    pairs = duplicates.pairs(rows, np.concatenate([thumbnails(one) for one in audits]))
    names = [row["case"] for row in rows]
    joined = duplicates.groups(names, [(pair["first"], pair["second"]) for pair in pairs])
    group = dict(zip(names, joined, strict=True))
    found = []
    for one, other in itertools.combinations(audits, 2):
        ids = sorted({row["case"] for row in one.rows} & {row["case"] for row in other.rows})
        unlike = [i for i in ids if group[f"{one.name}{SLASH}{i}"] != group[f"{other.name}{SLASH}{i}"]]
        ends = {one.name, other.name}
        across = [pair for pair in pairs if {_dataset(pair["first"]), _dataset(pair["second"])} == ends]
        found.append(Overlap(one.name, other.name, tuple(ids), across, tuple(unlike)))
    return found


def _dataset(case: str) -> str:
    return case.partition(SLASH)[0]


def thumbnails(found: Audit) -> np.ndarray:
    """The thumbnails of a data set's cases, (N, 2, SIDE, SIDE), that its last indexing left under ``.segtrace``.

    Raises :class:`SegtraceError` where there are none, or where they are those of another state of the data set.
    """
    path, remedy = layout.thumbnails(found.name), f"run 'segtrace index {found.name}' again"
    try:
        pictures: np.ndarray = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such file, and data sets are compared by it; {remedy}") from None
    except (ValueError, EOFError) as error:
        raise SegtraceError(f"{path}: damaged ({error}); delete it and {remedy}") from None
    expected = [row["fingerprint"] for row in found.rows]
    fits = pictures.dtype == np.uint8 and pictures.shape == (len(expected), *fingerprints.SHAPE)
    codes = fingerprints.fingerprints(pictures[:, 0]).tolist() if fits else []
    if fits and [fingerprints.as_text(code) for code in codes] == expected:
        return pictures
    raise SegtraceError(f"{path}: not of the cases in {layout.cases(found.name)}; {remedy}")
