"""Writing out one training sample, for whoever wants to see what the network saw."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segtrace.errors import SegtraceError
from segtrace.files import atomic
from segtrace.train import data, sampling


def replay(run: Mapping[str, Any], *, epoch: int, case: str, draw: int, path: Path) -> sampling.Parameters:
    """Write sample ``draw`` of ``case`` in ``epoch`` (all from 0) to ``path``; returns its parameters.

    The file holds ``image`` (C, *size) float32, ``label`` (*size) uint8 and ``parameters`` (JSON text). Raises
    :class:`SegtraceError` where the run has no such case, epoch or draw.
    """
    training = run["training"]
    per_case = training["crop"]["per_case"] if training["crop"] else 1
    if case not in run["cases"]["train"]:
        raise SegtraceError(f"{run['run']}: {case!r} is no training case of this fold")
    for name, value, count in (("epoch", epoch, training["epochs"]), ("draw", draw, per_case)):
        if not 0 <= value < count:
            raise SegtraceError(f"{run['run']}: {name} {value}; there are 0 to {count - 1}")
    alone = {**run, "cases": {"train": [case], "val": []}}
    cases = data.load(alone)
    sample = data.draw(cases, [case], run=alone, epoch=epoch)[draw]
    images, labels = data.make(cases, [sample], run=alone)
    with atomic(path, "wb") as handle:
        np.savez(
            handle,
            image=images[0].numpy(),
            label=labels[0].numpy(),
            parameters=np.array(json.dumps(sample, sort_keys=True)),
        )
    return sample
