"""Parameters are counted in the headers of weights: no statistics, heads apart."""

from pathlib import Path

import pytest
import torch

from segtrace import checkpoint, networks, parameters
from segtrace.errors import SegtraceError


def test_weights_count_what_the_network_learns(tmp_path: Path) -> None:
    network = networks.create("unet3d", in_channels=1, out_channels=2, base=2)
    learned = sum(value.numel() for value in network.parameters())
    assert learned < sum(value.numel() for value in network.state_dict().values())
    checkpoint.save(tmp_path / "a.safetensors", network.state_dict(), metadata={"heads": 7})
    checkpoint.save(tmp_path / "b.safetensors", network.state_dict(), metadata={})
    assert parameters.of_weights(tmp_path / "a.safetensors") == (learned, 7)
    assert parameters.of_weights(tmp_path / "b.safetensors") == (learned, 0)


def test_half_precision_counts_and_whole_numbers_do_not(tmp_path: Path) -> None:
    tensors = {"w": torch.zeros(3, 2, dtype=torch.bfloat16), "step": torch.zeros(5, dtype=torch.int64)}
    checkpoint.save(tmp_path / "w.safetensors", tensors, metadata={})
    assert parameters.of_weights(tmp_path / "w.safetensors").network == 6


def test_damaged_or_missing_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no")
    for name in ("w", "none"):
        with pytest.raises(SegtraceError, match=f"{name}.safetensors: no sound weights"):
            parameters.of_weights(tmp_path / f"{name}.safetensors")
