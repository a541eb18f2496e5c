"""What budgets leave of a paper's recipe fits the network: crops, windows, and images of one size alone."""

import json
from contextlib import nullcontext

import pytest
import torch

from segtrace import networks
from segtrace.config import load, runs
from segtrace.errors import SegtraceError
from segtrace.train.learner import check_sizes


def network_of(run: dict) -> torch.nn.Module:
    """The network without memory for its weights; Swin UNETR, small as it is, reads a tensor while it is built."""
    with nullcontext() if run["network"]["name"] == "swin_unetr" else torch.device("meta"):
        return networks.of_run(run)


@pytest.mark.parametrize("budget", ["smoke", "paper"])
def test_every_method_of_the_volumetric_paper_takes_its_crops(budget: str) -> None:
    asked = [name for name in load.names("experiments") if name.startswith("dsd_")]
    found = {run for name in asked for run in runs.runs_of(name, budget=budget, seeds=[0]) if run.fold == 0}
    kinds = {}
    for run in found:
        resolved = runs.resolve(run, threads=1)
        kinds[json.dumps([resolved["network"], resolved["training"]], sort_keys=True)] = resolved
    assert {run["network"]["name"] for run in kinds.values()} >= {
        "unetr",
        "dynunet",
        "swin_unetr",
        "vnet",
        "transbts",
    }
    for resolved in kinds.values():
        check_sizes(resolved, network_of(resolved))


def test_a_crop_that_a_vision_transformer_does_not_take_is_told() -> None:
    run = runs.resolve(runs.runs_of("dsd_table1", budget="smoke", seeds=[0])[0], threads=1)
    run["training"]["crop"]["size"] = [64, 64, 64]
    network = network_of(run)
    with pytest.raises(SegtraceError, match=r"crop.size is \[64, 64, 64\].*\[96, 96, 96\] alone"):
        check_sizes(run, network)
