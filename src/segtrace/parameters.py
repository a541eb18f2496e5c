"""How many parameters trained weights hold, from the header of their file: nothing is loaded."""

import json
import math
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from segtrace.errors import SegtraceError

#: Endings of tensors that are counted along in training and not learned.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Counted(NamedTuple):
    """Learned values of a training: of the network as it predicts, and of a framework's heads, gone with the training."""

    network: int
    heads: int


def of_weights(path: Path) -> Counted:
    """What the weights at ``path`` count; running statistics and whole numbers are no parameters.

    The heads are those that the training recorded in the file. Raises :class:`SegtraceError` where the file is
    missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as opened:
            told = (opened.metadata() or {}).get("segtrace", "{}")
            shapes = [
                opened.get_slice(name).get_shape()
                for name in opened.keys()  # noqa: SIM118 (no mapping)
                if name.rpartition(".")[2] not in _STATISTICS
                and opened.get_slice(name).get_dtype().startswith(("F", "BF"))
            ]
            return Counted(sum(math.prod(shape) for shape in shapes), int(json.loads(told).get("heads", 0)))
    except (SafetensorError, OSError, ValueError) as error:
        raise SegtraceError(f"{path}: no sound weights ({error}); delete the file and train again") from None
