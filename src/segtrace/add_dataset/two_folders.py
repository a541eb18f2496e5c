"""Images in one folder and masks in another, whatever the two are called: found by the names that match."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from segtrace.add_dataset import assemble, contents, inventory, pairing
from segtrace.add_dataset.pairing import Name
from segtrace.add_dataset.proposal import Proposal

#: A folder with a smaller share of the images than this is neither that of the images nor that of the masks.
LEAST_SHARE = 0.2


def recognise(folder: Path, *, keep_names: bool = False) -> Proposal | None:
    """The proposal, if at least half of the images below ``folder`` pair with one in another folder."""
    files = inventory.of(folder).images
    found = []
    for one, other, first, second in _candidates(files):
        match = pairing.affixes(first, second)
        if match is not None and 4 * match[2] >= len(files):
            sides = (one, first, match[0]), (other, second, match[1])
            order = pairing.orders(*sides, (one + "".join(match[0]), other + "".join(match[1])))
            found.append((match[2], order))
    # of equals first what names masks: classes or parts of a data set have files of the same names too
    for _, order in sorted(found, key=lambda item: (-item[0], len(item[1]))):
        for (image_folder, images, image_affix), (mask_folder, masks, mask_affix) in order:
            pairs = pairing.sort_out(images, masks, image_affix=image_affix, mask_affix=mask_affix)
            pairing.match_rest(pairs, images, masks)
            matched = pairs.matched()
            if matched and (
                len(order) == 1
                or contents.looks_like_masks([folder / pairs.masks[key][0] for key in matched])
            ):
                return _proposal(
                    folder,
                    pairs,
                    images,
                    masks,
                    (image_folder, mask_folder),
                    keep_names,
                )
    return None


def _proposal(
    folder: Path,
    pairs: pairing.Pairs,
    images: list[Name],
    masks: list[Name],
    names: tuple[str, str],
    keep_names: bool,
) -> Proposal:
    files, matched = inventory.of(folder).images, pairs.matched()
    used = {name.file for name in (*images, *masks)}
    problems = pairs.problems() + [
        f"{file}: in neither of the two folders; left out" for file in files if file not in used
    ]
    layout = assemble.Layout(
        title=f"images in {names[0] or 'the folder itself'} and masks in {names[1] or 'the folder itself'}",
        reader="pairs",
        place=assemble.place_pair,
        options={},
    )
    raws = [assemble.Raw(key, (pairs.images[key][0],), tuple(pairs.masks[key])) for key in matched]
    return assemble.propose(folder, raws, layout, problems=problems, keep_names=keep_names)


def _candidates(files: list[str]) -> Iterator[tuple[str, str, list[Name], list[Name]]]:
    """Pairs of folders' names at one level, and the files below each, without that level in their place."""
    depth = max((file.count("/") for file in files), default=0)
    for level in range(depth):
        groups: dict[str, list[Name]] = {}
        for file in files:
            *folders, _ = file.split("/")
            own = folders[level] if level < len(folders) else ""
            rest = folders[:level] + folders[level + 1 :]
            (name,) = pairing.names_of([file])
            groups.setdefault(own, []).append(Name("/".join(rest), name.stem, file))
        counts = Counter({own: len(names) for own, names in groups.items()})
        large = sorted(own for own, count in counts.items() if count >= LEAST_SHARE * len(files))
        for position, one in enumerate(large):
            for other in large[position + 1 :]:
                yield one, other, groups[one], groups[other]
