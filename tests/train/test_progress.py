"""A network whose layers change over the training is told of each epoch, also after an interruption."""

import math
from pathlib import Path

import pytest
import torch
from train_helpers import contents, run_with

from segtrace import checkpoint
from segtrace.train import data, loop, step

LV = {"name": "lv_unet", "options": {}}
EPOCHS = 2


@pytest.fixture
def run(project):
    return run_with(
        network=LV, epochs=EPOCHS, ema_decay=0.9, crop={"size": [128, 128], "per_case": 2}, precision="fp32"
    )


def slope(epoch):
    """LV-UNet's, in the epoch of that number, from 1."""
    return 1 - math.cos(math.pi / 2 * epoch / EPOCHS)


def test_the_slope_is_that_of_the_epoch_and_stored_and_resuming_changes_nothing(run, monkeypatch):
    seen = []
    take = step.take

    def watched(learner, *arguments, **options):
        seen.append(float(learner.network.slope))
        return take(learner, *arguments, **options)

    monkeypatch.setattr(step, "take", watched)
    loop.train(run, folder=Path("whole"))
    assert seen == pytest.approx([slope(1)] * 3 + [slope(2)] * 3)
    weights, _ = checkpoint.load(Path("whole/weights.safetensors"))
    assert float(weights["slope"]) == 1
    best, about = checkpoint.load(Path("whole/best_val.safetensors"))
    assert float(best["slope"]) == pytest.approx(slope(about["epoch"]))

    make, calls = data.make, 0

    def stopping(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return make(*arguments, **options)

    monkeypatch.setattr(data, "make", stopping)
    with pytest.raises(KeyboardInterrupt):
        loop.train(run, folder=Path("pieces"), save_steps=1)
    seen.clear()
    loop.train(run, folder=Path("pieces"), save_steps=1)
    assert seen
    assert seen == pytest.approx([slope(2)] * len(seen))
    assert contents("pieces") == contents("whole")


def test_other_networks_are_not_told():
    loop._tell_progress(torch.nn.Conv2d(1, 1, 1), epoch=0, epochs=1)
