"""Networks without a logit of the background: trained, resumed, predicted with and scored as any other."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from train_helpers import RUN, contents, run_with

from segtrace import background, checkpoint, cli, distill, layout, losses, networks
from segtrace.distill.dsd import softened
from segtrace.geometry import Grid
from segtrace.predict.inference import labels_of
from segtrace.sliding import predict_logits
from segtrace.train.learner import prepare_learner
from segtrace.train.loop import train

ROOT = Path(__file__).parents[2]
NONE = {"out_channels": 1, "background": False}
RUN_NAME = layout.parse_run("phantom2d/size96/random/unet_tiny/smoke/fold-0_seed-0")


class Echo(nn.Module):
    """Its input as logits; ``background`` as the network of a run has it."""

    divisor = 1

    def __init__(self, *, background: bool) -> None:
        super().__init__()
        self.__dict__["background"] = background
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.weight


@pytest.mark.parametrize(
    "options", [{}, {"mirror": [0, 1]}, {"precision": "bf16"}, {"weighting": "gaussian"}]
)
def test_one_label_is_the_sigmoid_exactly(options):
    z = (
        torch.linspace(-6, 6, 20 * 24).bfloat16().float().view(1, 20, 24)
    )  # the same numbers in either precision
    found = predict_logits(Echo(background=False), z, window=[8, 8], overlap=0.5, **options)
    assert found.shape == (2, 20, 24)
    assert torch.equal(found[0], torch.zeros(20, 24))
    assert torch.allclose(torch.softmax(found, dim=0)[1], z[0].sigmoid(), atol=1e-6)
    both = predict_logits(
        Echo(background=True), torch.cat([torch.zeros_like(z), z]), window=[8, 8], overlap=0.5, **options
    )
    assert torch.equal(found, both)


def test_foreground_begins_above_one_half():
    z = torch.tensor([[-0.1, 0.0, 0.1, 3.0], [-3.0, 5.0, 0.0, -1.0]])
    grid = Grid((4, 2), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    inference = {"window": None}
    nets = [Echo(background=False), Echo(background=False)]
    found = labels_of(
        nets, z[None].numpy(), inference=inference, on=torch.device("cpu"), prepared=grid, target=grid
    )
    assert found.tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]


def test_several_labels_have_the_most_probable_and_none_below_one_half():
    z = torch.tensor([[-1.0, 2.0, 0.5], [-2.0, 1.0, 0.7]]).view(2, 1, 3)
    found = predict_logits(Echo(background=False), z, window=None)
    assert found.argmax(0).tolist() == [[0, 1, 2]]


def test_an_empty_window_is_background():
    found = predict_logits(Echo(background=False), torch.ones(1, 16, 16), window=[8, 8], skip_empty=True)
    assert (found.argmax(0) == 0).all()


def test_run_json_says_how_many_logits_and_classes_there_are():
    run = run_with(loss="bce_dice", network=NONE)
    network = networks.of_run(run)
    assert (background.classes_of(run), background.has_logit(run), network.background) == (2, False, False)
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 1, 16, 16)
    assert background.classes_of(RUN) == 2
    assert networks.of_run(RUN).background
    learner = prepare_learner(run_with(loss="bce_dice", network=NONE, ema_decay=0.9), torch.device("cpu"))
    assert not background.given_by(learner.trained)  # the average of the weights, too


def test_same_seed_same_bytes(project):
    run = run_with(loss="bce_dice_edge", network=NONE, framework="emis")
    for folder in ("one", "two"):
        train(run, folder=Path(folder))
    assert contents("one") == contents("two")
    weights, told = checkpoint.load(Path("one/weights.safetensors"))
    assert weights["head.weight"].shape[0] == 1
    assert told["heads"] == 3 * (4 + 1)
    rows = Path("one/history.csv").read_text().splitlines()[1:]
    assert all(0 <= float(row.rpartition(",")[2]) <= 1 for row in rows)


@pytest.mark.parametrize("framework", distill.names())
def test_every_head_learns_from_logits_without_a_background(framework):
    torch.manual_seed(0)
    spec = {"name": "unet", "options": {"widths": [4, 6, 8, 10, 12]}, "in_channels": 1, "spatial_dims": 2}
    network = networks.of_run({"network": spec | NONE})
    objective = distill.attach(
        framework, network, out_channels=1, spatial_dims=2, loss_of=losses.create("bce_dice")
    )
    loss = objective(*network.forward_features(torch.randn(2, 1, 32, 32)), torch.randint(0, 2, (2, 32, 32)))
    loss.backward()
    for key, parameter in [*network.named_parameters(), *objective.named_parameters()]:
        assert torch.isfinite(parameter.grad).all(), key
    for key, parameter in objective.named_parameters():
        assert parameter.grad.abs().max() > 0, key


def test_probabilities_of_a_framework_hold_the_background():
    z = torch.randn(2, 1, 3, 4)
    found = softened(z, 2.0, background=False)
    assert torch.equal(found, softened(torch.cat([torch.zeros_like(z), z], dim=1), 2.0))
    assert torch.allclose(found[:, 1].exp(), (z / 2).sigmoid().flatten(1), atol=1e-6)


def change(path, **changes):
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


@pytest.mark.workflow
def test_from_pictures_to_scores(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    change(Path("config/datasets/phantom2d.yaml"), options={"seed": 0, "subjects": 8, "frames": 2})
    change(Path("config/training/demo_2d.yaml"), loss="bce_dice", epochs=24, validate_every=24)
    change(Path("config/methods/unet_tiny.yaml"), framework="emis")
    variant = "test-last-native-none"
    for words in (
        ["acquire", "phantom2d"],
        ["index", "phantom2d"],
        ["prepare", "phantom2d", "size96"],
        ["validate", "phantom2d", "size96"],
        ["split", "phantom2d", "random"],
        ["train", str(RUN_NAME)],
        ["predict", str(RUN_NAME), variant],
        ["score", str(RUN_NAME), variant, "--workers", "1"],
    ):
        assert cli.main(words) == 0, words
    run = json.loads((layout.run(RUN_NAME) / "run.json").read_text())
    assert (run["network"]["out_channels"], run["network"]["background"]) == (2, False)  # lesion and cyst
    weights, _ = checkpoint.load(layout.run(RUN_NAME) / "weights.safetensors")
    assert weights["head.weight"].shape[0] == 2
    scores = pd.read_csv(layout.scores(RUN_NAME, layout.parse_variant(variant)))
    dice = scores.groupby("label")["dice"].mean()
    assert dice[1] > 0.2  # after 48 steps
    assert dice[2] > 0.5
