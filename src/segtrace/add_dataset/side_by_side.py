"""Images and masks side by side in one folder, or in one folder a patient, told apart by an affix of their names."""

from pathlib import Path

from segtrace.add_dataset import assemble, contents, inventory, pairing
from segtrace.add_dataset.proposal import Proposal


def recognise(folder: Path, *, keep_names: bool = False) -> Proposal | None:
    """The proposal, if at least half of the images below ``folder`` pair with a mask beside them."""
    names = pairing.names_of(inventory.of(folder).images)
    found = pairing.affixes(names, names)
    if found is None or 4 * found[2] < len(names):
        return None
    one, other, _ = found
    order = pairing.orders(one, other, ("".join(one), "".join(other)))
    for image_affix, mask_affix in order:
        pairs = pairing.sort_out(names, names, image_affix=image_affix, mask_affix=mask_affix)
        matched = pairs.matched()
        masks = [folder / pairs.masks[key][0] for key in matched]
        if matched and (len(order) == 1 or contents.looks_like_masks(masks)):
            break
    else:
        return None
    shown = "IMAGE and MASK".replace("IMAGE", _shown(image_affix)).replace("MASK", _shown(mask_affix))
    layout = assemble.Layout(
        title=f"images and masks side by side, {shown}", reader="pairs", place=assemble.place_pair, options={}
    )
    raws = [assemble.Raw(key, (pairs.images[key][0],), tuple(pairs.masks[key])) for key in matched]
    return assemble.propose(folder, raws, layout, problems=pairs.problems(), keep_names=keep_names)


def _shown(affix: pairing.Affix) -> str:
    return f"{affix[0]}NAME{affix[1]}"
