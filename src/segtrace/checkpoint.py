"""Checkpoints: tensors in safetensors files, never pickles, with a checksum and metadata inside.

Equal tensors and metadata give equal bytes: names are sorted, tensors are stored contiguous from the
CPU, and all metadata is one JSON text (safetensors keeps several keys in no fixed order).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from segtrace.errors import SegtraceError, raise_all
from segtrace.files import atomic

_KEY = "segtrace"


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values in name order: the same for any file layout."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            state.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return state.hexdigest()


def save(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, Any]) -> str:
    """Write ``tensors`` with JSON ``metadata`` to ``path`` in one step; returns :func:`content_sha256`.

    Names that share memory, as those of a head that two sides use, are written in full each.
    """
    plain = _apart({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})
    content = content_sha256(plain)
    text = json.dumps({"content_sha256": content, **metadata}, sort_keys=True, allow_nan=False)
    data = to_bytes(plain, metadata={_KEY: text})
    with atomic(path, "wb") as handle:
        handle.write(data)
    return content


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own: safetensors refuses what shares it."""
    apart, seen = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint, without its tensors; a damaged or foreign file is a named error."""
    try:
        with safe_open(str(path), framework="pt") as handle:
            text = (handle.metadata() or {}).get(_KEY)
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such checkpoint; train the run first") from None
    except (SafetensorError, OSError) as error:
        raise SegtraceError(
            f"{path}: damaged or no safetensors file ({error}); delete it and train again"
        ) from None
    if text is None:
        raise SegtraceError(
            f"{path}: a safetensors file without segtrace's metadata; it is not one of its checkpoints"
        )
    metadata: dict[str, Any] = json.loads(text)
    return metadata


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and metadata of a checkpoint; raises :class:`SegtraceError` if its bytes changed."""
    metadata = read_metadata(path)
    with safe_open(str(path), framework="pt") as handle:
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no mapping
    found = content_sha256(tensors)
    if found != metadata.get("content_sha256"):
        raise SegtraceError(
            f"{path}: damaged: its tensors have SHA-256 {found}, its own record says "
            f"{metadata.get('content_sha256')}; delete it and train again"
        )
    return tensors, metadata


def is_intact(path: Path) -> bool:
    """Whether ``path`` is a checkpoint whose tensors have the recorded checksum."""
    try:
        load(path)
    except SegtraceError:
        return False
    return True


def load_weights(path: Path, network: nn.Module) -> dict[str, Any]:
    """Put a checkpoint's weights into ``network``; returns the metadata.

    Weights that are missing, unknown or of another shape are listed all at once, and then nothing is
    loaded.
    """
    tensors, metadata = load(path)
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is unknown to the network" for name in sorted(tensors) if name not in expected]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)} in the file and {tuple(expected[name].shape)} in the network"
        for name in expected
        if name in tensors and tensors[name].shape != expected[name].shape
    ]
    if len(problems) > 12:
        problems = [*problems[:12], f"and {len(problems) - 12} more"]
    raise_all(
        problems,
        heading=f"{path}: its weights do not fit the network {type(network).__name__}",
        remedy="The network's options or code changed after the training; train the run again.",
    )
    network.load_state_dict(tensors)
    return metadata
