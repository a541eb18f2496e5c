"""How a step is shared among processes, and how they find each other."""

import signal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segtrace import losses
from segtrace.errors import SegtraceError
from segtrace.train import launch, whole_batch
from segtrace.train.world import Share, World, is_loss


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9))
def test_every_sample_of_a_step_is_one_processs_and_parts_are_those_of_one_device(count, parts, size):
    worlds = [World(rank, size, share=Share((1,) * size, rank)) for rank in range(size)]
    pieces = [world.pieces(count, parts) for world in worlds]
    wanted = [part.tolist() for part in torch.arange(count).tensor_split(min(parts, count))]
    for number, part in enumerate(wanted):
        own = [p[number].samples for p in pieces if p[number].weight]
        assert [place for samples in own for place in samples] == part
        assert len({p[number].counts for p in pieces}) == 1
        assert sum(p[number].counts[rank] for rank, p in enumerate(pieces)) == len(part)
        assert all(len(p[number].samples) >= 1 for p in pieces)  # what has no share stands in
    assert sum(piece.weight for p in pieces for piece in p) == pytest.approx(1.0)


@pytest.mark.parametrize("name", losses.names())
def test_registered_losses_as_they_are_couple_no_samples(name):
    loss_of, background = losses.create(name), losses.has_background(name)
    for axes in (2, 3):
        kind = {"out_channels": 2 + background, "labels": 2, "spatial_dims": axes}
        assert not whole_batch.couples_samples(loss_of, **kind)


@pytest.mark.parametrize("name", ["bce_dice", "bce_dice_edge"])
def test_a_dice_of_the_whole_batch_is_found_to_couple_samples(name):
    loss_of = losses.create(name, per="batch")
    assert whole_batch.couples_samples(loss_of, out_channels=2, labels=2, spatial_dims=2)


STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[03-05,9],login",
}


def test_slurms_step_says_where_the_machines_meet():
    first, second = (launch.layout(STEP | {"SLURM_NODEID": number}) for number in "01")
    assert first[first.index("--rdzv-endpoint") + 1].startswith("gpu03:")
    assert [a for a, b in zip(first, second, strict=True) if a != b] == ["is_host=true"]
    with pytest.raises(SegtraceError, match="srun started 4 tasks on 2 machines"):
        launch.layout(STEP | {"SLURM_NODEID": "0", "SLURM_STEP_NUM_TASKS": "4"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b", "a"), ("n[1-3]", "n1"), ("n[07,09]-ib", "n07-ib"), ("gpu[03-05,9],login", "gpu03")],
)
def test_the_first_machine_of_slurms_list(nodes, first):
    assert launch.first_of(nodes) == first


def test_of_killed_processes_the_one_that_torchrun_did_not_end_is_named(tmp_path):
    run = {"run": "toy", "devices": 2}
    said = launch._reason(run, {0: -signal.SIGTERM, 1: -signal.SIGKILL}, tmp_path)
    assert said.startswith("toy: process 1 of 2 was killed (SIGKILL)")
    assert launch._reason(run, {1: -signal.SIGTERM}, tmp_path).startswith("toy: process 1 of 2 was killed")


def test_what_broke_because_another_was_gone_is_no_fault_of_this_process():
    assert is_loss(torch.distributed.DistNetworkError("x"))
    assert is_loss(
        RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    )
    assert not is_loss(RuntimeError("a shape does not fit"))
    assert not is_loss(ValueError("gloo"))
