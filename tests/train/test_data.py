"""Cases resident or read ahead give the same batches; a case that cannot be read is named; samples are replayed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import ALL, RUN, run_with

from segtrace.errors import SegtraceError
from segtrace.train import data
from segtrace.train.replay import replay

STEPS = [["a", "b"], ["c", "d"], ["e"]]


def mapped(monkeypatch, run):
    """The run's cases, none of them resident."""
    with monkeypatch.context() as patch:
        patch.setattr(data, "RESIDENT_SHARE", 0.0)
        cases = data.load(run)
    assert cases.resident is None
    return cases


def test_read_ahead_gives_what_resident_cases_give(project, monkeypatch):
    run = run_with(augmentation=ALL | {"label_interpolation": "linear"})
    resident, cases = data.load(run), mapped(monkeypatch, run)
    assert resident.resident is not None
    pairs = zip(*(data.batches(c, STEPS, run=run, epoch=3) for c in (resident, cases)), strict=True)
    count = 0
    for (samples, images, labels), (others, pixels, found) in pairs:
        assert samples == others
        assert torch.equal(labels, found)
        assert torch.allclose(images, pixels, atol=1e-5)
        count += 1
    assert count == len(STEPS)


def test_plain_samples_are_the_same_bits(project, monkeypatch):
    cases = mapped(monkeypatch, RUN)
    pairs = zip(*(data.batches(c, STEPS, run=RUN, epoch=0) for c in (data.load(RUN), cases)), strict=True)
    assert all(torch.equal(one[1], two[1]) and torch.equal(one[2], two[2]) for one, two in pairs)


def test_a_case_that_cannot_be_read_is_named_at_its_step(project, monkeypatch):
    cases = mapped(monkeypatch, RUN)

    class Broken(np.ndarray):
        def __getitem__(self, _):
            raise OSError("input/output error")

    damaged = data.Case(
        cases.by_name["c"].image.view(Broken), cases.by_name["c"].label, cases.by_name["c"].labelled
    )
    cases = data.Cases({**cases.by_name, "c": damaged}, cases.device, None)
    steps = data.batches(cases, STEPS, run=RUN, epoch=0)
    assert next(steps)[0][0]["case"] == "a"
    with pytest.raises(SegtraceError, match="case c: cannot be read"):
        next(steps)


def test_a_sample_is_replayed_as_it_was_trained_with(project):
    run = run_with(augmentation=ALL)
    cases = data.load(run)
    _, images, labels = next(data.batches(cases, [["b"]], run=run, epoch=2))
    found = replay(run, epoch=2, case="b", draw=1, path=Path("sample.npz"))
    with np.load("sample.npz") as file:
        assert np.array_equal(file["image"], images[1])
        assert np.array_equal(file["label"], labels[1])
        assert json.loads(str(file["parameters"])) == found
    assert (found["case"], found["epoch"], found["draw"]) == ("b", 2, 1)


@pytest.mark.parametrize(("key", "value"), [("epoch", 3), ("case", "v"), ("draw", 2)])
def test_a_sample_that_there_is_not_is_refused(project, key, value):
    wanted = {"epoch": 0, "case": "a", "draw": 0} | {key: value}
    with pytest.raises(SegtraceError, match=f"{value}"):
        replay(RUN, **wanted, path=Path("sample.npz"))
    assert not Path("sample.npz").exists()
