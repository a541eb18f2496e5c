"""From configuration, split and prepared table to ``run.json``."""

import shutil
from pathlib import Path

import pytest

from segtrace import layout, tables
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.train import command

ROOT = Path(__file__).parents[2]
NAME = layout.parse_run("phantom2d/size96/random/unet_tiny/smoke/fold-0_seed-3")


def rows(cases):
    prepared = [
        {
            "case": case,
            "batch": 0,
            "digest": "0" * 16,
            "image_sha256": "0" * 64,
            "label_sha256": "1" * 64,
            "size": "96x96",
            "spacing_mm": "1x1",
            "volumes_before_mm3": "{}",
            "volumes_after_mm3": "{}",
        }
        for case in cases
    ]
    roles = dict(zip("abcd", ["train", "val", "train", "test"], strict=True))
    split = [{"case": c, "subject": c, "cluster": c, "fold": 0, "role": role} for c, role in roles.items()]
    return prepared, split


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)

    def write(cases="abcd"):
        prepared, split = rows(cases)
        tables.write("prepared", prepared, layout.prepared(NAME.dataset, NAME.recipe) / "prepared.csv")
        tables.write("split", split, layout.split(NAME.dataset, NAME.protocol))

    write()
    return write


def test_a_run_is_resolved_with_its_cases_and_digests(project):
    run = command.resolve(NAME, threads=2)
    assert run["cases"] == {"train": ["a", "c"], "val": ["b"]}
    assert (run["seed"], run["network"]["name"]) == (3, "unet")
    assert run["threads"] == 1  # the recipe's own number wins over the configured one
    assert sorted(run["digests"]) == ["code", "configuration", "data", "environment"]
    assert command.resolve(NAME, threads=2) == run


def test_data_of_other_cases_does_not_change_the_digest(project):
    before = command.resolve(NAME, threads=2)["digests"]["data"]
    path = layout.prepared(NAME.dataset, NAME.recipe) / "prepared.csv"
    table = tables.read("prepared", path)
    table.loc[table["case"] == "d", "image_sha256"] = "f" * 64  # a test case
    tables.write("prepared", table, path)
    assert command.resolve(NAME, threads=2)["digests"]["data"] == before
    table.loc[table["case"] == "b", "image_sha256"] = "f" * 64
    tables.write("prepared", table, path)
    assert command.resolve(NAME, threads=2)["digests"]["data"] != before


def test_missing_prepared_cases_are_listed(project):
    project("ad")
    with pytest.raises(SegtraceError, match="cannot train: 2 problems") as caught:
        command.resolve(NAME, threads=2)
    assert "case b is in" in str(caught.value)
    assert "case c is in" in str(caught.value)


def recipes_of(method, dataset):
    """The training recipes by which experiments train a method on a data set."""
    experiments = map(load.experiment, load.names("experiments"))
    return sorted(
        {e.training_of(method) for e in experiments if e.dataset == dataset and method in e.methods}
    )


def test_methods_have_the_parameters_that_their_files_state(monkeypatch):
    import torch

    from segtrace import networks
    from segtrace.config import runs

    monkeypatch.chdir(ROOT)
    checked = 0
    for name in load.names("methods"):
        method = load.method(name)
        for dataset, expected in method.parameters.items():
            data = load.dataset(dataset)
            for recipe in recipes_of(name, dataset) or [
                "generic_2d"
            ]:  # a loss may want no logit of the background
                spec = runs.network_of(data, method, load.load("training", recipe))
                # MONAI's Swin UNETR asks a tensor for its value
                with torch.device("cpu" if method.network == "swin_unetr" else "meta"):
                    network = networks.of_run({"network": spec})
                assert sum(p.numel() for p in network.parameters()) == expected, (name, dataset, recipe)
                checked += 1
    assert checked


def test_every_recipe_resolves_under_every_budget(monkeypatch):
    from segtrace.config import runs

    monkeypatch.chdir(ROOT)
    for training in load.names("training"):
        for budget in load.names("budgets"):
            resolved = runs.training_under(training, budget)
            if load.load("budgets", budget).published:
                assert resolved == load.load("training", training)
