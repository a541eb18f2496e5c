"""How soon a training reaches what it ends with: epochs to a share of its final validation Dice.

A history has a validation Dice in some epochs only (``validate_every``), so an epoch found here is known up to the
distance between two of them. The final value is that of the last validated epoch, not the best one: a training that
falls off at its end has a low target, which is why the best stands beside it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: The share of the final validation Dice that a training is asked to reach.
SHARE = 0.95


@dataclass(frozen=True)
class Convergence:
    """Of one training: its numbers of epochs, its validation Dice, and the epochs in which it reaches the target.

    ``epoch`` is the first validated epoch whose Dice is at least ``target``; from ``stays`` on, none is below it.
    Unknown values are None, and ``note`` says why.
    """

    epochs: int
    validated: int
    best: float | None
    final: float | None
    target: float | None
    epoch: int | None
    stays: int | None
    note: str = ""


def of_history(rows: Iterable[Mapping[str, Any]], *, share: float = SHARE) -> Convergence:
    """The convergence of a training from the rows of its ``history`` (``epoch``, ``val_dice``), in any order.

    A validation Dice that is unknown (NaN or None) is an epoch that was not validated.
    """
    ordered = sorted(rows, key=lambda row: int(row["epoch"]))
    curve = [
        (int(row["epoch"]), float(row["val_dice"]))
        for row in ordered
        if row["val_dice"] is not None and not math.isnan(row["val_dice"])
    ]
    count = len(ordered)
    if not curve:
        return Convergence(count, 0, None, None, None, None, None, "no epoch was validated")
    best, final = max(value for _, value in curve), curve[-1][1]
    if final == 0.0:
        note = "the final validation Dice is 0, which every epoch reaches"
        return Convergence(count, len(curve), best, final, None, None, None, note)
    target = share * final
    reached = next(epoch for epoch, value in curve if value >= target)
    stays = curve[-1][0]
    for epoch, value in reversed(curve):
        if value < target:
            break
        stays = epoch
    notes = []
    if len(curve) < count:
        notes.append(f"validated in {len(curve)} of {count} epochs")
    if curve[-1][0] != int(ordered[-1]["epoch"]):
        notes.append(f"last validated in epoch {curve[-1][0]}")
    if final < share * best:
        notes.append(f"ends below {share:.0%} of its best")
    return Convergence(count, len(curve), best, final, target, reached, stays, "; ".join(notes))
