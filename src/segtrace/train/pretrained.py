"""First weights from files that a user brings: read without running anything in them, mapped by name, all said.

A file is safetensors, or what ``torch.save`` wrote, which is a pickle: then it is read with torch's restricted
unpickler, which knows tensors and plain values alone and runs no code. Nothing is ever fetched. The file's SHA-256 must be that
of the method, which is part of the run's identity.
"""

import hashlib
import io
import math
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError, some

#: Entries under which published files keep their tensors.
USUAL = ("model", "state_dict", "model_state_dict", "module", "model_ema", "state_dict_ema")


def put(network: nn.Module, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the tensors of files into ``network`` where name and shape fit; what was taken and what was left, as plain JSON.

    ``entries`` are ``pretrained`` of ``run.json``: ``file``, ``sha256``, ``under``, and ``mapping`` with its rules. The answer,
    which is printed as well: ``files``, of each how many of the network's tensors it gives (``taken``) and why its others are
    ``left``; ``drawn``, the network's that keep their random values. Where two files have a tensor, the later one wins.

    Raises :class:`SegtraceError` where a file is missing, another, damaged or holds more than tensors, where a tensor that
    fits holds a number that is none, where two of a file fit the same place, and where nothing of a file fits.
    """
    own = network.state_dict()
    drawn, files = set(own), []
    for given in entries:
        path = Path(given["file"])
        tensors = _state(read(path, sha256=given["sha256"]), under=given["under"], path=path)
        taken, left = _chosen(tensors, network, own, mapping=given["mapping"], path=path)
        network.load_state_dict(taken, strict=False)
        drawn -= set(taken)
        files.append({"file": given["file"], "taken": len(taken), "left": left})
        print(
            f"{path}: first weights: {len(taken)} of the network's {len(own)} tensors are taken", flush=True
        )
        if left:
            print(
                f"  left in the file: {some([f'{name} ({why})' for name, why in left.items()])}", flush=True
            )
    if drawn:
        print(f"first weights: drawn at random: {some(sorted(drawn))}", flush=True)
    return {"files": files, "drawn": sorted(drawn)}


def _chosen(
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    own: Mapping[str, Tensor],
    *,
    mapping: Mapping[str, Any],
    path: Path,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The network's tensors that a file gives, and why the file's others are left."""
    taken: dict[str, Tensor] = {}
    givers: dict[str, str] = {}
    left: dict[str, str] = {}
    for name in sorted(tensors):
        tried = {
            target: _fitted(tensors[name], target, network, own, patches=mapping["positions"])
            for target in targets(name, mapping)
        }
        values = {target: value for target, (value, _) in tried.items() if value is not None}
        if not values:
            left[name] = next(fault for _, fault in tried.values())
        if not all(bool(value.isfinite().all()) for value in values.values()):
            raise SegtraceError(f"{path}: {name} holds values that are no finite numbers")
        for target in values:
            if givers.setdefault(target, name) != name:
                raise SegtraceError(
                    f"{path}: {givers[target]} and {name} both become {target} by the mapping {mapping['name']!r}; "
                    "name a mapping by which one of them does"
                )
        taken |= values
    if not taken:
        raise SegtraceError(
            f"{path}: nothing of it fits {type(network).__name__} by the mapping {mapping['name']!r}; the file has "
            f"{some([f'{name} ({why})' for name, why in left.items()])}; the network has {some(sorted(own))}. "
            "Name another of config/mappings, or another file"
        )
    return taken, left


def targets(name: str, mapping: Mapping[str, Any]) -> list[str]:
    """The network's names of a file's tensor."""
    for pattern, replacement in mapping["rename"]:
        name = re.sub(pattern, replacement, name)
    found = [name]
    for pattern, replacement in mapping["also"]:
        other = re.sub(pattern, replacement, name)
        if other not in found:
            found.append(other)
    return found


def _fitted(
    value: Tensor, target: str, network: nn.Module, own: Mapping[str, Tensor], *, patches: Mapping[str, int]
) -> tuple[Tensor | None, str]:
    """The value as the network's tensor ``target`` takes it, or None and why it does not."""
    if target not in own:
        return None, f"the network has no {target}"
    if value.is_meta or value.layout != torch.strided:
        return None, "without its values" if value.is_meta else f"stored as {value.layout}, no plain tensor"
    if target in patches and value.dim() == 3 and value.shape[2] == own[target].shape[-1]:
        value = positions(value, network, patch=patches[target])
    wanted = own[target]
    if value.shape != wanted.shape:
        return None, f"shape {tuple(value.shape)}, in the network {tuple(wanted.shape)}"
    if value.is_floating_point() != wanted.is_floating_point():
        return None, f"type {value.dtype}, in the network {wanted.dtype}"
    return value.to(wanted.dtype), ""


def positions(table: Tensor, network: nn.Module, *, patch: int) -> Tensor:
    """A table (1, tokens, C) on a square grid, brought to the grid of a network of a fixed size.

    Bilinear with aligned corners, as TransFuse's program does. Up to two tokens in front that stand for no place (class,
    distillation) are left out. A table that is of no square grid, or a network without a fixed size, leaves it as it is.
    """
    count = table.shape[1]
    extra = next((n for n in range(3) if math.isqrt(count - n) ** 2 == count - n), None)
    size = getattr(network, "fixed_size", None)
    if extra is None or size is None:
        return table
    side, grid = math.isqrt(count - extra), [int(length) // patch for length in size]
    square = table[:, extra:].float().transpose(1, 2).unflatten(2, (side, side))
    return (
        functional.interpolate(square, grid, mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)
    )


# --- reading ------------------------------------------------------------------------------------------


def read(path: Path, *, sha256: str) -> Any:
    """The content of a file of weights whose SHA-256 is ``sha256``; no code that lies in it is run."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SegtraceError(
            f"{path}: no such file; put the weights there yourself: none are ever fetched"
        ) from None
    except OSError as error:
        raise SegtraceError(f"{path}: cannot be read ({error.strerror})") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SegtraceError(
            f"{path}: its SHA-256 is {found}, the method says {sha256}; take the file that is meant, or give the method "
            "the number of this one"
        )
    try:
        if data[8:9] == b"{":  # safetensors: the length of a header, then the header
            from safetensors.torch import load as from_bytes

            return from_bytes(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes the readers raise
        asked = re.search(r"GLOBAL (\S+)|(?:[Cc]lass|function) (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and asked:
            raise SegtraceError(
                f"{path}: refused, nothing in it was run: it asks for {asked[1] or asked[2]} beyond tensors and plain "
                "values, by which a file of weights can run any code. Ask its owner for safetensors, or write its tensors "
                "alone to a safetensors file where nothing can be harmed, and name that"
            ) from None
        raise SegtraceError(
            f"{path}: damaged, or neither safetensors nor tensors of torch.save ({_reason(error)}); nothing in it was run"
        ) from None


def _reason(error: Exception) -> str:
    """A reader's first sentence on a file, without torch's advice to read it in the way that runs what lies in it."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    return re.split(r"(?<=[\w`])\. ", text.splitlines()[0])[0]


def _state(found: Any, *, under: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name: at its top, under ``under``, or under the one usual entry that it has."""
    entries = dict(found) if isinstance(found, Mapping) else {}
    for part in under.split(".") if under else []:
        if not isinstance(entries.get(part), Mapping):
            said = f"entry {under!r} holds no tensors by name" if part in entries else f"no entry {under!r}"
            raise SegtraceError(f"{path}: {said}; it has {some(sorted(map(str, entries)))}")
        entries = dict(entries[part])
    if not under and not any(isinstance(value, Tensor) for value in entries.values()):
        usual = [name for name in USUAL if isinstance(entries.get(name), Mapping)]
        if len(usual) > 1:
            raise SegtraceError(
                f"{path}: its entries {', '.join(usual)} all could hold the weights; name one by 'under'"
            )
        entries = dict(entries[usual[0]]) if usual else entries
    tensors = {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        kind = "is empty" if isinstance(found, Mapping) else f"holds a {type(found).__name__}"
        content = f"has {some(sorted(map(str, entries)))}" if entries else kind
        raise SegtraceError(f"{path}: no tensors by name in it; it {content}")
    prefix = "module."  # of networks that were trained in parallel
    whole = all(name.startswith(prefix) for name in tensors)
    return {name.removeprefix(prefix) if whole else name: value for name, value in tensors.items()}
