"""Networks and their parts against figures of the published programs: references.yaml, an entry a check.

An entry has ``network`` (a registered name) or ``module`` (``segtrace.networks.NAME:Class``) with its ``options``,
and, each where there is such a figure, ``parameters`` and ``output``. Networks are built from ``channels``, [in, out]
(3 and 1 where left out). ``output`` holds what weights filled by shape (shape_fill.py) make of an input
drawn with seed 1 in evaluation mode: ``values`` are eight samples at equal steps from the first element. ``input`` is
the input's shape as the published program takes it; where that has its channels last, in tokens or in a
map, ``channels_last`` is [N, H, W, C], and the module here takes and gives (N, C, H, W).
Where the published program ends in a sigmoid, which networks here do not, ``sigmoid`` is true.
"""

import importlib
from pathlib import Path

import pytest
import shape_fill
import torch
import yaml

from segtrace import networks

ENTRIES = yaml.safe_load(Path(__file__).with_name("references.yaml").read_text(encoding="utf-8"))


def having(key):
    chosen = {name: entry for name, entry in ENTRIES.items() if key in entry}
    return pytest.mark.parametrize("entry", chosen.values(), ids=chosen.keys())


def make(entry):
    options = entry.get("options", {})
    if "module" in entry:
        module, _, kind = entry["module"].partition(":")
        return getattr(importlib.import_module(module), kind)(**options)
    inputs, outputs = entry.get("channels", [3, 1])
    return networks.create(entry["network"], in_channels=inputs, out_channels=outputs, **options)


@having("parameters")
def test_the_number_of_parameters_is_the_published_one(entry):
    with torch.device("meta"):
        module = make(entry)
    assert sum(p.numel() for p in module.parameters()) == entry["parameters"]


@having("output")
def test_filled_by_shape_it_gives_what_the_published_program_gives(entry):
    expected, last = entry["output"], entry.get("channels_last")
    module = make(entry).eval()
    shape_fill.fill(module)
    torch.manual_seed(1)
    x = torch.randn(entry["input"])
    with torch.inference_mode():
        found = module(x.view(last).permute(0, 3, 1, 2) if last else x)
    found = found.sigmoid() if entry.get("sigmoid") else found
    found = (found.permute(0, 2, 3, 1) if last else found).flatten().double()
    samples = found[:: found.numel() // 8][:8]
    # an output that hardly varies would hide a wrong layer within 1e-4 (the nested U-Net's corners, aligned or not)
    tolerance = min(1e-4, 1e-3 * expected["std"])
    assert samples.tolist() == pytest.approx(expected["values"], abs=tolerance)
    for name in ("mean", "std", "min", "max"):
        assert float(getattr(found, name)()) == pytest.approx(expected[name], abs=tolerance), name
