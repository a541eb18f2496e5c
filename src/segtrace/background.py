"""Networks that give no logit of the background: it is zero.

Published programs that look for one structure have one logit and a sigmoid; the losses of
:mod:`segtrace.losses` that do the same say ``BACKGROUND = False``, and the network of a run trained by one of them
has a logit for each label and none for the background. Wherever classes are compared, a background logit of
zero is put in front (:func:`in_front`). With one label this is the sigmoid exactly, since softmax([0, z]) is
(1 - sigmoid(z), sigmoid(z)): a voxel is foreground where its probability is above one half, and background at
exactly one half, as wherever the lowest of equal classes is taken. With several labels the most probable wins, and
background where every label's own sigmoid is at most one half.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def has_logit(run: Mapping[str, Any]) -> bool:
    """Whether the network of a resolved run (``run.json``) gives a logit of the background; older runs all do."""
    return bool(run["network"].get("background", True))


def classes_of(run: Mapping[str, Any]) -> int:
    """The classes of a resolved run, background included: labels are 0 to this minus 1."""
    return int(run["network"]["out_channels"]) + (not has_logit(run))


def given_by(network: "nn.Module") -> bool:
    """Whether the first of a network's logits is the background's: its attribute ``background``, if it has one."""
    return bool(getattr(network, "background", True))


def in_front(logits: "Tensor") -> "Tensor":
    """Logits (N, K, …) behind a background of zero: (N, K + 1, …)."""
    from torch import cat

    return cat([logits.new_zeros((len(logits), 1, *logits.shape[2:])), logits], dim=1)
