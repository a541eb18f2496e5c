"""Stands in for safetensors where it is not installed, so that trainings can be measured on a bare machine.

It writes and reads the same format (eight bytes with the header's length, a JSON header, the tensors' bytes), so far
as `segtrace.checkpoint` uses it. Nothing but measurements takes it: segtrace itself requires safetensors.
"""

import importlib.util
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}


class SafetensorError(Exception):
    """A file that is none of this format, or damaged."""


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file's bytes; wider types lie first, so that each tensor is aligned."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts: list[bytes] = []
    place = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + len(data)],
        }
        place += len(data)
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


class safe_open:  # noqa: N801 - the library's name
    """An open file: ``keys``, ``metadata``, ``get_tensor``."""

    def __init__(self, path: str, framework: str = "pt") -> None:
        data = Path(path).read_bytes()
        length = int.from_bytes(data[:8], "little")
        try:
            self._header: dict[str, Any] = json.loads(data[8 : 8 + length])
        except ValueError as error:
            raise SafetensorError(f"header: {error}") from None
        self._metadata = self._header.pop("__metadata__", None)
        self._data = data[8 + length :]
        if len(self._data) != max([0, *(entry["data_offsets"][1] for entry in self._header.values())]):
            raise SafetensorError("incomplete")

    def __enter__(self) -> "safe_open":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def keys(self) -> list[str]:
        """Names of the tensors."""
        return sorted(self._header)

    def metadata(self) -> dict[str, str] | None:
        """The file's metadata."""
        return self._metadata

    def get_tensor(self, name: str) -> Tensor:
        """One tensor."""
        entry = self._header[name]
        first, end = entry["data_offsets"]
        if first == end:
            return torch.empty(entry["shape"], dtype=TYPES[entry["dtype"]])
        data = torch.frombuffer(bytearray(self._data[first:end]), dtype=torch.uint8)
        return data.view(TYPES[entry["dtype"]]).view(entry["shape"])


def stand_in() -> bool:
    """Put this in safetensors' place if that is not installed; whether it was."""
    if importlib.util.find_spec("safetensors") is not None:
        return False
    package, part = types.ModuleType("safetensors"), types.ModuleType("safetensors.torch")
    package.SafetensorError, package.safe_open, part.save = SafetensorError, safe_open, save  # type: ignore[attr-defined]
    sys.modules["safetensors"], sys.modules["safetensors.torch"] = package, part
    return True
