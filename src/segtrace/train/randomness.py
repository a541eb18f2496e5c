"""Random numbers as functions of where they are used: no stream runs through a training.

Keys are hashes of (what, seed, epoch, case, …). Few numbers come from numpy's counter-based Philox. Fields of
them, such as noise, are hashed voxel by voxel in whole numbers on the training device, so that a voxel's
bits are the same on every device; only the last digits of the logarithm and the cosine may differ.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def key_of(*parts: Any) -> int:
    """A 128-bit number from a hash of ``parts`` (JSON values)."""
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def torch_seed(*parts: Any) -> int:
    """A 63-bit seed from a hash of ``parts``."""
    return key_of(*parts) >> 65


def uniforms(count: int, width: int, *, key: int) -> np.ndarray:
    """Numbers (count, width) in [0, 1), float64; row i depends on ``key``, ``width`` and i, not on ``count``."""
    return np.random.Generator(np.random.Philox(key=key)).random((count, width))


def normals(shape: Sequence[int], *, key: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers of ``shape``, float32 on ``device``; the value at a flat index depends on key and index.

    SplitMix64 (Steele et al., OOPSLA 2014) of the index, then Box and Muller's transform: each hash gives two
    24-bit numbers, and these one normal number each for the first and the second half of the field.
    """
    count = math.prod(shape)
    half = (count + 1) // 2
    bits = torch.arange(1, half + 1, dtype=torch.int64, device=device)
    bits = bits.mul_(_signed(0x9E3779B97F4A7C15)).add_(_signed(key % 2**64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ _right(bits, shift)).mul_(_signed(factor))
    bits = bits ^ _right(bits, 31)
    radius = (_right(bits, 40).float() + 0.5).mul_(2**-24).log_().mul_(-2).sqrt_()
    angle = ((bits & 0xFFFFFF).float()).mul_(2 * math.pi * 2**-24)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count].view(*shape)


def _signed(value: int) -> int:
    """The 64-bit pattern of ``value`` as torch's signed whole number."""
    return value - 2**64 if value >= 2**63 else value


def _right(bits: Tensor, shift: int) -> Tensor:
    """A logical shift to the right: torch's own keeps the sign."""
    return (bits >> shift) & ((1 << (64 - shift)) - 1)
