"""A step: parts add up, averages are averages, acceleration falls back, and memory that is short is told."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from train_helpers import INSTANCE, RUN, run_with

from segtrace import checkpoint, networks
from segtrace.errors import SegtraceError
from segtrace.train import attempts, loop, step
from segtrace.train.learner import prepare_learner
from segtrace.train.loop import train


def batch(count=5):
    torch.manual_seed(0)
    return torch.randn(count, 1, 16, 16), torch.randint(0, 2, (count, 16, 16), dtype=torch.uint8)


def learner_of(run, parts=1):
    return prepare_learner(run, torch.device("cpu"), parts=parts, sides=run["training"]["crop"]["size"])


def test_parts_add_up_to_the_whole():
    gradients = []
    for parts in (1, 2, 5):
        learner = learner_of(run_with(precision="fp32", network=INSTANCE), parts)
        loss, norm = step.take(learner, *batch(), rate=0.0)
        gradients.append([loss, norm, *(p.grad for p in learner.network.parameters())])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            assert torch.allclose(one, two, atol=1e-6)


def test_clipping_limits_the_norm_and_reports_the_one_before():
    learner = learner_of(run_with(precision="fp32", clip_norm=0.01))
    _, norm = step.take(learner, *batch(), rate=0.0)
    left = torch.cat([p.grad.flatten() for p in learner.network.parameters()]).norm()
    assert norm > 0.02
    assert float(left) == pytest.approx(0.01, rel=1e-3)


def test_the_average_follows_the_weights():
    learner = learner_of(run_with(ema_decay=0.75))
    seen = []
    for _ in range(3):
        step.take(learner, *batch(), rate=0.01)
        seen.append([p.detach().clone() for p in learner.network.parameters()])
    for one, two, three, found in zip(*seen, learner.trained.parameters(), strict=True):
        expected = 0.75 * (0.75 * one + 0.25 * two) + 0.25 * three
        assert torch.allclose(found, expected, atol=1e-6)
    assert learner.trained is not learner.network
    for one, two in zip(learner.network.buffers(), learner.trained.buffers(), strict=True):
        assert torch.equal(one, two)  # running statistics are taken over as they are


class Supervised(nn.Module):
    """A network whose two further outputs only training uses."""

    encoder_channels = decoder_channels = (3, 4)
    encoder_scales, decoder_scales = (1, 1), (1, 1)
    divisor = 1
    auxiliary_weights, main_weight = (0.25, 0.125), 0.5

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 4, 1)
        self.heads = nn.ModuleList([nn.Conv2d(3, 2, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)])

    def forward_auxiliary(self, x):
        one = self.first(x)
        two = self.second(one)
        first, second, logits = (head(part) for head, part in zip(self.heads, (one, two, two), strict=True))
        return logits, [one, two], [one, two], [first, second]

    def forward_features(self, x):
        return self.forward_auxiliary(x)[:3]

    def forward(self, x):
        return self.forward_auxiliary(x)[0]


@pytest.mark.parametrize("framework", [None, "emis"])
@pytest.mark.parametrize("parts", [1, 5])
def test_further_outputs_are_trained_by_their_weights(monkeypatch, framework, parts):
    monkeypatch.setattr(networks, "of_run", lambda run: Supervised())
    learner = learner_of(run_with(precision="fp32", framework=framework), parts)
    images, labels = batch()
    loss, _ = step.take(learner, images, labels, rate=0.0)
    *features, auxiliary = learner.network.forward_auxiliary(images)
    main = learner.objective(*features, labels) if framework else learner.loss_of(features[0], labels)
    one, two = (learner.loss_of(logits, labels) for logits in auxiliary)
    expected = 0.5 * main + 0.25 * one + 0.125 * two
    found = [p.grad.clone() for p in learner.parameters]
    learner.optimiser.zero_grad()
    expected.backward()
    if parts == 1:
        assert torch.equal(loss, expected.detach())
        assert all(torch.equal(one, p.grad) for one, p in zip(found, learner.parameters, strict=True))
    assert all(one.abs().max() > 0 for one in found)


def test_a_network_whose_further_outputs_are_switched_off_is_trained_as_any(monkeypatch):
    taken = []
    for weights in ((0.25, 0.125), ()):
        monkeypatch.setattr(Supervised, "auxiliary_weights", weights)
        monkeypatch.setattr(networks, "of_run", lambda run: Supervised())
        learner = learner_of(run_with(precision="fp32"))
        taken.append(step.take(learner, *batch(), rate=0.0)[0])
        plain = learner.loss_of(learner.network(batch()[0]), batch()[1])
    assert torch.equal(taken[1], plain)
    assert not torch.equal(*taken)


def test_further_outputs_are_not_compiled(monkeypatch, capsys):
    monkeypatch.setattr(networks, "of_run", lambda run: Supervised())
    learner = learner_of(run_with(compile="default"))
    assert "not with a framework or further outputs" in capsys.readouterr().out
    assert learner.manner == "eager"


def test_averaged_weights_are_those_that_are_saved(project):
    train(run_with(ema_decay=0.9), folder=Path("averaged"))
    train(RUN, folder=Path("plain"))
    one, two = (checkpoint.load(Path(f"{name}/weights.safetensors"))[0] for name in ("averaged", "plain"))
    assert list(one) == list(two)
    assert any(not torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"compile": "default"}, "compile: default failed (no compiler)"),
        ({"cuda_graphs": True}, "no GPU here"),
    ],
)
def test_acceleration_that_fails_costs_one_line_and_changes_nothing(
    project, monkeypatch, capsys, changes, line
):
    def broken(*_, **__):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", broken)
    train(run_with(**changes), folder=Path("fast"))
    printed = capsys.readouterr().out
    assert [text for text in printed.splitlines() if line in text]
    assert "long story" not in printed
    train(RUN, folder=Path("plain"))
    one, two = (checkpoint.load(Path(f"{name}/weights.safetensors"))[0] for name in ("fast", "plain"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads(Path("fast/run.json").read_text())["machine"]["forward"] == "eager"


def test_trying_a_compiled_network_leaves_weights_and_statistics_as_they_were(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, mode: network)
    learner = learner_of(run_with(compile="default"))
    plain = learner_of(RUN)
    assert learner.manner == "compiled"
    one, two = learner.network.state_dict(), plain.network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(p.grad is None for p in learner.network.parameters())


def short_of_memory(monkeypatch, least_parts):
    """Let a step fail until it is divided into ``least_parts``."""
    original = step.take

    def take(learner, images, labels, **options):
        if learner.parts < least_parts:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB\nmore")
        return original(learner, images, labels, **options)

    monkeypatch.setattr(step, "take", take)


def test_out_of_memory_says_what_to_lower(project, monkeypatch):
    short_of_memory(monkeypatch, 2)
    with pytest.raises(SegtraceError, match="out of memory") as caught:
        train(RUN, folder=Path("out"))
    for part in (
        "tried to allocate 20 GiB",
        "4 samples of [16, 16]",
        "accumulate (at most 4;",
        "config/training/tiny.yaml",
    ):
        assert part in str(caught.value)
    with pytest.raises(SegtraceError, match=r"attempt 2 would fail as the one before:\n.*out of memory"):
        train(RUN, folder=Path("out"), attempt=2)


def test_later_attempts_take_smaller_parts_and_end_as_if_so_configured(project, monkeypatch):
    halving = run_with(when_out_of_memory="halve", network=INSTANCE)
    with monkeypatch.context() as patch:
        short_of_memory(patch, 4)
        for attempt, parts in ((1, 2), (2, 4)):
            with pytest.raises(SegtraceError, match=f"The next attempt takes {parts} parts"):
                train(halving, folder=Path("out"), attempt=attempt)
        train(halving, folder=Path("out"), attempt=3)
    assert json.loads(Path("out/run.json").read_text())["machine"]["parts"] == 4
    train(run_with(accumulate=4, network=INSTANCE), folder=Path("configured"))
    one, two = (checkpoint.load(Path(f"{name}/weights.safetensors"))[0] for name in ("out", "configured"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_parts_cannot_grow_beyond_the_samples(project, monkeypatch):
    short_of_memory(monkeypatch, 9)
    halving = run_with(when_out_of_memory="halve", network=INSTANCE)
    for attempt in (1, 2):
        with pytest.raises(SegtraceError, match="The next attempt"):
            train(halving, folder=Path("out"), attempt=attempt)
    with pytest.raises(SegtraceError, match="lower cases_per_step"):
        train(halving, folder=Path("out"), attempt=3)


def test_batch_normalisation_is_not_halved(project):
    with pytest.raises(SegtraceError, match="what batch normalisation sees"):
        train(run_with(when_out_of_memory="halve"), folder=Path("out"))


def test_a_failure_that_would_come_again_is_not_repeated_by_a_scheduler(project, monkeypatch):
    run = run_with(cases={"train": ["a", "absent"], "val": []})
    with pytest.raises(SegtraceError, match="absent"):
        train(run, folder=Path("out"))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train", lambda *_, **__: pytest.fail("it was tried again"))
        with pytest.raises(SegtraceError, match=r"(?s)attempt 2 would fail as the one before:\n.*absent"):
            train(run, folder=Path("out"), attempt=2)
    train(RUN, folder=Path("out"))  # started by hand, once mended
    assert not Path("out/resume").exists()


@pytest.mark.parametrize(
    "note",
    ["{", "[1]", '{"parts": 4}', '{"identity": "of another configuration", "parts": 4, "failed": "once"}'],
)
def test_a_note_that_is_damaged_or_of_another_run_counts_for_nothing(project, note):
    Path("out/resume").mkdir(parents=True)
    (Path("out/resume") / "attempt.json").write_text(note)
    run = run_with(when_out_of_memory="halve", network=INSTANCE)
    assert attempts.parts(run, Path("out")) == 1
    train(run, folder=Path("out"), attempt=2)
    assert "parts" not in json.loads(Path("out/run.json").read_text())["machine"]


def test_a_batch_of_one_voxel_under_batch_normalisation_is_explained(project):
    run = run_with(cases_per_step=1, crop={"per_case": 1})
    with pytest.raises(SegtraceError, match=r"one sample of one voxel at its deepest level.*raise crop.size"):
        train(run, folder=Path("out"))
    with pytest.raises(SegtraceError, match="attempt 2 would fail as the one before"):
        train(run, folder=Path("out"), attempt=2)


def test_an_image_of_one_voxel_under_instance_normalisation_is_explained(project):
    deep = RUN["network"] | {"name": "dynunet", "options": {"filters": [4, 4, 4, 4, 4]}}
    with pytest.raises(
        SegtraceError, match=r"of \[16, 16\] its deepest level is one voxel.*raise a side of crop.size"
    ):
        train(run_with(network=deep), folder=Path("out"))


def test_whole_images_of_one_size_are_compiled_too(project, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda network, mode: seen.append(mode) or network)
    train(run_with(crop=None, compile="default", epochs=1, network=INSTANCE), folder=Path("out"))
    assert seen == ["default"]
    assert json.loads(Path("out/run.json").read_text())["machine"]["forward"] == "compiled"


def test_whole_images_that_the_network_cannot_take_are_refused_before_the_first_step(project):
    with pytest.raises(
        SegtraceError, match=r"whole images of 24 x 24: unet takes sides that are multiples of 16"
    ):
        train(run_with(crop=None), folder=Path("out"))


def test_a_mirror_beyond_the_axes_is_refused_before_the_first_step(project):
    with pytest.raises(SegtraceError, match="mirror names axis 2: there are 0 to 1"):
        train(run_with(inference={"mirror": [2]}), folder=Path("out"))
