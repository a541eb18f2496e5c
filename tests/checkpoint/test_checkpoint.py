"""Checkpoints: deterministic bytes, checked content, named errors."""

import pytest
import torch

from segtrace import checkpoint
from segtrace.errors import SegtraceError


def tensors():
    return {
        "b": torch.arange(6.0).view(2, 3),
        "a": torch.tensor(3),
        "empty": torch.zeros(0),
        "h": torch.ones(2).bfloat16(),
    }


def test_bytes_do_not_depend_on_order_or_layout(tmp_path):
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    given = tensors()
    checkpoint.save(first, given, metadata={"x": 1, "y": [2]})
    turned = dict(reversed(given.items())) | {"b": given["b"].t().contiguous().t()}
    checkpoint.save(second, turned, metadata={"y": [2], "x": 1})
    assert first.read_bytes() == second.read_bytes()


def test_names_that_share_memory_are_written_in_full_each(tmp_path):
    path, whole = tmp_path / "w.safetensors", torch.arange(6.0)
    checkpoint.save(path, {"a": whole, "b": whole, "part": whole[2:4]}, metadata={})
    found, _ = checkpoint.load(path)
    assert {name: value.tolist() for name, value in found.items()} == {
        "a": whole.tolist(),
        "b": whole.tolist(),
        "part": [2.0, 3.0],
    }


def test_round_trip(tmp_path):
    path = tmp_path / "w.safetensors"
    content = checkpoint.save(path, tensors(), metadata={"epoch": 3})
    found, metadata = checkpoint.load(path)
    assert metadata == {"epoch": 3, "content_sha256": content}
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in tensors().items())
    assert checkpoint.is_intact(path)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3] + b"xyz", lambda b: b[:-5], lambda b: b"<html>", lambda b: b""]
)
def test_damage_is_named(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, tensors(), metadata={})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SegtraceError, match=r"w\.safetensors: damaged"):
        checkpoint.load(path)
    assert not checkpoint.is_intact(path)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(SegtraceError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "f.safetensors")
    with pytest.raises(SegtraceError, match="without segtrace's metadata"):
        checkpoint.load(tmp_path / "f.safetensors")


def test_weights_that_do_not_fit_are_all_listed_and_nothing_is_loaded(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    state = {k: v.clone() for k, v in network.state_dict().items()}
    wrong = {k: v + 1 for k, v in state.items()}
    wrong["0.weight"] = torch.zeros(3, 5)
    del wrong["1.bias"]
    wrong["2.bias"] = torch.zeros(1)
    checkpoint.save(tmp_path / "w.safetensors", wrong, metadata={})
    with pytest.raises(SegtraceError, match="3 problems") as caught:
        checkpoint.load_weights(tmp_path / "w.safetensors", network)
    message = str(caught.value)
    assert "1.bias is missing" in message
    assert "2.bias is unknown" in message
    assert "(3, 5) in the file and (3, 2) in the network" in message
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, tensors(), metadata={"epoch": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, tensors(), metadata={"epoch": 2})
    assert checkpoint.read_metadata(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
