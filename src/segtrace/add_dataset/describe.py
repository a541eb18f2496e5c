"""The text of ``config/datasets/NAME.yaml``: short, commented where a user is likely to change it."""

import json
from collections.abc import Mapping
from typing import Any

from segtrace.add_dataset import examine
from segtrace.add_dataset.proposal import Proposal
from segtrace.config import data_models


def yaml_text(name: str, proposal: Proposal, examined: examine.Examined) -> str:
    """The configuration of the new data set. Keys whose default fits are left out."""
    count = len(examined.cases)
    rows = examined.rows
    gate: dict[str, Any] = {"cases": [count, count]}
    empty = examine.empty_masks(rows)
    if empty:
        gate["empty_masks"] = [0.0, min(1.0, -(-1000 * empty // len(rows)) / 1000)]
    gate["volume_change"] = 0.3
    lines = [
        "# Written by 'segtrace add-dataset'; docs/add-dataset.md says what else can stand here.",
        f"title: {_flow(name)}",
        f"dimensions: {proposal.dimensions}",
        f"modality: {_flow(proposal.modality)}  # for reading: ultrasound, CT, MR T1",
        "licence: your own data; terms not stated",
        "access: own",
        f"reader: {proposal.reader}",
        f"labels: {_flow(proposal.labels)}  # names can be changed",
        f"channels: {_flow(proposal.channels)}",
    ]
    if proposal.dimensions == 2:
        lines.append("spacing_known: false")
    if proposal.options:
        lines.append(f"options: {_flow(proposal.options)}")
    lines.append(f"gate: {_flow(gate)}")
    if examined.faults:
        lines.append("exclude:  # mend these files and run again, or leave them out")
        lines += [
            f"  {case}: {json.dumps(reason, ensure_ascii=False)}"
            for case, reason in sorted(examined.faults.items())
        ]
    recipe = examine.recipe(rows, proposal.dimensions)
    if recipe != data_models.DEFAULT_RECIPES[proposal.dimensions]["default"]:
        recipe["source"] = "segtrace's default, fitted to these cases; not a published recipe"
        lines.append(f"recipes: {_flow({'default': recipe})}")
    protocol = examine.protocol(rows)[0]
    if protocol != data_models.DEFAULT_PROTOCOLS["default"]:
        lines.append(f"protocols: {_flow({'default': protocol})}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value in YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str):
        plain = value.replace(" ", "").replace("_", "").isalnum() and not value[0].isdigit()
        reserved = value.lower() in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
        return value if plain and value.isascii() and not reserved else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
