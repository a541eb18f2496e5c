"""How the names of images and masks belong together, found by looking at all of them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from segtrace.datasets import _files

#: Words that tell masks from images. Where none does, the contents do.
MASK_WORDS = (
    "mask", "seg", "label", "lbl", "gt", "ground", "truth", "annot", "roi", "manual", "contour", "lesion", "target",
)  # fmt: skip
_TAIL = re.compile(r"(.*?)([ _.-]*[^\W\d_]+\)?)")
_HEAD = re.compile(r"([^\W\d_]+[ _.-]*)(.*)")
_NUMBER = re.compile(r"(.+)[_-]\d+")
#: Names with one base at most: in a folder of words alone every name has the empty base.
MOST_OF_ONE_BASE = 8

Side = TypeVar("Side")
Affix = tuple[str, str]
"""What stands before and behind the name that image and mask share."""


@dataclass(frozen=True)
class Name:
    """A file's name taken apart: where it lies apart from what tells images from masks, its stem, the file."""

    place: str
    stem: str
    file: str


@dataclass
class Pairs:
    """Shared name → files of images and of masks; only names with both are cases."""

    images: dict[str, list[str]] = field(default_factory=dict)
    masks: dict[str, list[str]] = field(default_factory=dict)

    def matched(self) -> list[str]:
        """Shared names with one image and masks, sorted."""
        return sorted(key for key in self.images if key in self.masks and not self.doubled(key))

    def doubled(self, key: str) -> bool:
        """Whether several images have this name, or several masks of one stem."""
        masks = [_files.split_ending(name)[0] for name in self.masks.get(key, [])]
        return len(self.images.get(key, [])) > 1 or len(set(masks)) < len(masks)

    def problems(self) -> list[str]:
        """What does not pair, one line a file or group of files, sorted by file."""
        found = [
            (names[0], f"{names[0]}: has no mask; left out")
            for key, names in self.images.items()
            if key not in self.masks
        ]
        for key, names in self.masks.items():
            if key not in self.images:
                found += [(name, f"{name}: a mask without an image; left out") for name in names]
            elif self.doubled(key):
                both = sorted([*self.images[key], *names])
                found.append(
                    (both[0], f"{', '.join(both)}: several of one name; all left out: keep one of each")
                )
        return [line for _, line in sorted(found)]


def says_mask(text: str) -> bool:
    """Whether a part of a name says that it is a mask's."""
    return any(word in text.lower() for word in MASK_WORDS)


def orders(one: Side, other: Side, texts: tuple[str, str]) -> list[tuple[Side, Side]]:
    """Images first, masks second: one order where ``texts`` say which of the two the masks are, else both."""
    told = tuple(says_mask(text) for text in texts)
    if told == (False, True):
        return [(one, other)]
    return [(other, one)] if told == (True, False) else [(one, other), (other, one)]


def names_of(files: Iterable[str]) -> list[Name]:
    """Files by the folder they lie in."""
    found = []
    for file in files:
        folder, _, name = file.rpartition("/")
        found.append(Name(folder, _files.split_ending(name)[0], file))
    return found


def _forms(stem: str, known: Mapping[str, object]) -> Iterator[tuple[str, Affix]]:
    """All ways to see a stem as a shared name between two affixes."""
    yield stem, ("", "")
    for end in range(1, len(stem)):
        rest = stem[end:]
        if (
            stem[:end] in known
            and any(sign.isalpha() for sign in rest)
            and (not rest[0].isalnum() or says_mask(rest))
        ):
            yield stem[:end], ("", rest)
    for match, order in ((_TAIL.fullmatch(stem), (0, 1)), (_HEAD.fullmatch(stem), (1, 0))):
        if match and match.groups()[order[1]]:
            base, affix = match.groups()[order[0]], match.groups()[order[1]]
            yield base, ("", affix) if order == (0, 1) else (affix, "")


def affixes(first: Sequence[Name], second: Sequence[Name]) -> tuple[Affix, Affix, int] | None:
    """The affixes by which most names of ``first`` and ``second`` belong together, and how many do.

    The two may be the same list: then the affixes differ. The plainest of equals wins.
    """
    same = first is second
    known: dict[str, dict[str, object]] = {}
    for name in [*first, *second]:
        known.setdefault(name.place, {})[name.stem] = None
    tables = []
    for side in (first, second):
        table: dict[tuple[str, str], set[Affix]] = {}
        for name in side:
            for base, affix in _forms(name.stem, known[name.place]):
                table.setdefault((name.place, base), set()).add(affix)
        tables.append(table)
    counts: Counter[tuple[Affix, Affix]] = Counter()
    for key, here in tables[0].items():
        there = tables[1].get(key, set())
        if len(here) > MOST_OF_ONE_BASE or len(there) > MOST_OF_ONE_BASE:
            continue
        for one in here:
            for other in there:
                if not same or one < other:
                    counts[one, other] += 1
    if not counts:
        return None

    def rank(item: tuple[tuple[Affix, Affix], int]) -> tuple[object, ...]:
        (one, other), count = item
        hinted = says_mask("".join(one)) != says_mask("".join(other))
        return -count, not hinted if same else 0, len("".join(one) + "".join(other)), one, other

    (one, other), count = min(counts.items(), key=rank)
    return one, other, count


def _base(stem: str, affix: Affix) -> str | None:
    """The shared name of a stem with this affix; None where it has not."""
    before, behind = affix
    if len(stem) >= len(before) + len(behind) and stem.startswith(before) and stem.endswith(behind):
        return stem[len(before) : len(stem) - len(behind)]
    return None


def sort_out(
    images: Sequence[Name], masks: Sequence[Name], *, image_affix: Affix, mask_affix: Affix
) -> Pairs:
    """Images and masks by their shared name. The two may be one list: a mask is then what has its affix.

    ``NAME_2`` beside the mask of ``NAME`` is a further mask of it, unless ``NAME_2`` is an image.
    """
    one_list = images is masks
    pairs = Pairs()
    stems = {(name.place, name.stem) for name in images}
    for name in images:
        base = _base(name.stem, image_affix)
        key = _key(name.place, name.stem if base is None else base)
        if not (one_list and _is_mask(name, image_affix, mask_affix, stems)):
            pairs.images.setdefault(key, []).append(name.file)
    for name in masks:
        if one_list and not _is_mask(name, image_affix, mask_affix, stems):
            continue
        base = _base(name.stem, mask_affix)
        if base is None or _key(name.place, base) not in pairs.images:
            further = _further(name.stem, mask_affix)
            if further is not None and _key(name.place, further) in pairs.images:
                base = further
        pairs.masks.setdefault(_key(name.place, name.stem if base is None else base), []).append(name.file)
    return pairs


def match_rest(pairs: Pairs, images: Sequence[Name], masks: Sequence[Name]) -> None:
    """Pair what is left by other affixes: data sets put together of several have several.

    Affixes count if at least three names and half of the masks that are left go by them.
    """
    while True:
        used = {file for key in pairs.matched() for file in (*pairs.images[key], *pairs.masks[key])}
        alone = [[name for name in side if name.file not in used] for side in (images, masks)]
        found = affixes(*alone)
        if found is None or found[2] < max(3, len(alone[1]) / 2):
            return
        more = sort_out(*alone, image_affix=found[0], mask_affix=found[1])
        matched = [key for key in more.matched() if key not in pairs.matched()]
        if not matched:
            return
        now = {file for key in matched for file in (*more.images[key], *more.masks[key])}
        for side in (pairs.images, pairs.masks):
            for key in [key for key, names in side.items() if now & set(names)]:
                del side[key]
        for key in matched:
            pairs.images[key], pairs.masks[key] = more.images[key], more.masks[key]


def _is_mask(name: Name, image_affix: Affix, mask_affix: Affix, stems: set[tuple[str, str]]) -> bool:
    """Whether a name beside images is a mask's: it has its affix, and is no longer form of an image's."""
    if _base(name.stem, mask_affix) is not None and (
        image_affix == ("", "") or _base(name.stem, image_affix) is None
    ):
        return True
    further = _further(name.stem, mask_affix)
    return further is not None and (name.place, f"{image_affix[0]}{further}{image_affix[1]}") in stems


def _further(stem: str, affix: Affix) -> str | None:
    match = _NUMBER.fullmatch(stem)
    return _base(match[1], affix) if match else None


def _key(place: str, base: str) -> str:
    return "/".join(part for part in (place, base) if part)
