"""Experiments of the skin-lesion paper: each row is the network, the loss, the split and the input that it is named after."""

from pathlib import Path

import numpy as np
import pytest

from segtrace import intensity
from segtrace.config import load, models, runs

ROOT = Path(__file__).parents[2]
TABLES = [f"skin_table{number}" for number in range(1, 6)]


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def resolved(name: str, *, budget: str = "paper") -> dict[str, dict]:
    """Method → its first run, resolved."""
    return {run.method: runs.resolve(run, threads=2) for run in runs.runs_of(name, budget=budget, seeds=[0])}


@pytest.mark.parametrize("name", TABLES)
def test_every_row_can_be_trained_under_every_budget(name: str) -> None:
    published = load.experiment(name).published
    assert published is not None
    assert all(row.method is not None for row in published.rows)
    for budget in ("paper", "smoke", "gpu_60"):
        for run in resolved(name, budget=budget).values():
            assert run["training"]["epochs"] == {"paper": 300, "smoke": 2, "gpu_60": 60}[budget]


@pytest.mark.parametrize("name", ["skin_table4", "skin_table4_isic2018_128"])
def test_the_rows_of_table_4_have_the_modules_that_they_name(name: str) -> None:
    made, published = resolved(name), load.experiment(name).published
    assert published is not None
    for row in published.rows:
        run = made[str(row.method)]
        distilled = run["framework"] == "feature_distillation"
        if row.name == "none":
            assert (run["network"]["name"], distilled) == ("vm_unet", False)
            continue
        options = run["network"]["options"]
        assert (run["network"]["name"], distilled, options["features"]) == ("cm_ssm_unet", True, "blocks")
        for module in ("se", "cmn", "cra"):
            assert options.get(module, True) == (module.upper() in row.name.split("+")), row.name


@pytest.mark.parametrize("name", ["skin_table5", "skin_table5_isic2018_128"])
def test_the_rows_of_table_5_have_the_losses_that_they_name(name: str) -> None:
    made, published = resolved(name), load.experiment(name).published
    assert published is not None
    for row in published.rows:
        run = made[str(row.method)]
        options = run["framework_options"]
        assert (run["framework"] is None) == (row.name == "none")
        for loss, weight in (("CFD", "cross_weight"), ("IFD", "internal_weight")):
            if run["framework"]:
                assert (options.get(weight, 0.015) > 0) == (loss in row.name), row.name


def test_the_small_budget_gives_every_row_minutes_and_the_light_network_more_passes() -> None:
    passes = {}
    for number in (3, 4, 5):
        experiment = load.experiment(f"skin_table{number}_isic2018_128")
        protocol = load.dataset(experiment.dataset).protocols[experiment.protocol]
        assert (protocol.subset, protocol.held_out, experiment.role) == (1200, "test", "test")
        for method, run in resolved(f"skin_table{number}_isic2018_128", budget="cpu_5min").items():
            training = run["training"]
            passes[method] = training["epochs"]
            # one fall of the rate over the whole training, and nothing else of the recipe's but its batches
            assert (training["schedule"]["period_epochs"], training["schedule"]["every"]) == (None, "step")
            assert training["loss_options"] == {"bce_weight": 0.3, "dice_weight": 0.7, "smooth": 1.0}
    assert passes.pop("malunet") == 20
    assert len(passes) == 11
    assert set(passes.values()) == {1}


def test_the_papers_recipe_is_that_of_its_section() -> None:
    told = load.load("training", "skin").model_dump(exclude={"source", "notes"})
    assert told["loss_options"] == {"bce_weight": 0.3, "dice_weight": 0.7, "smooth": 1.0}
    assert (told["optimiser"], told["learning_rate"], told["cases_per_step"]) == ("adamw", 1e-3, 32)
    assert (told["schedule"]["period_epochs"], told["schedule"]["minimum"]) == (50, 1e-5)
    assert load.load("training", "skin_light").model_dump(exclude={"source", "notes"}) == told
    plain = load.load("training", "vm_unet").model_dump(exclude={"source", "notes"})
    apart = {key: value for key, value in plain.items() if told[key] != value}
    assert apart == {"loss_options": {"bce_weight": 1.0, "dice_weight": 1.0, "smooth": 1.0}}
    light = load.load("training", "malunet").model_dump(exclude={"source", "notes"})
    assert {key: value for key, value in light.items() if plain[key] != value} == {"cases_per_step": 8}


@pytest.mark.parametrize(
    ("table", "counts"),
    [("skin_table1", (900, 379)), ("skin_table2", (1500, 650)), ("skin_table3", (1886, 808))],
)
def test_sides_have_the_papers_numbers(table: str, counts: tuple[int, int]) -> None:
    experiment = load.experiment(table)
    data = load.dataset(experiment.dataset)
    protocol = data.protocols[experiment.protocol]
    if protocol.kind == "official":
        sides = data.gate.sides
        assert protocol.roles == {"training": "train", "test": "val"}
        assert (sides["training"][0], sides["test"][0]) == counts
    else:
        assert (protocol.train_cases, protocol.test_cases, protocol.held_out) == (*counts, "val")
        assert sum(data.gate.sides[side][0] for side in protocol.sides) == sum(counts)
    published = experiment.published
    assert published is not None
    assert published.convention.cases == counts[1]


@pytest.mark.parametrize("dataset", ["isic2017", "isic2018", "isic2018_official"])
def test_vm_unets_input_is_each_image_from_0_to_255(dataset: str) -> None:
    recipe: models.Recipe = load.dataset(dataset).recipes["rgb256_vm_unet"]
    image = np.random.default_rng(0).uniform(20, 180, (3, 8, 8)).astype(np.float32)
    found = intensity.apply(image, [step.model_dump() for step in recipe.intensity])[0]
    # as the program: by mean and deviation, then by the least and greatest value of the whole image
    scaled = (image.astype(float) - 159.922) / 28.871
    expected = (scaled - scaled.min()) / (scaled.max() - scaled.min()) * 255
    assert np.abs(found - expected).max() < 1e-3
    assert recipe.input == "as_published"


@pytest.mark.parametrize("table", ["Table 2", "Table 3", "Table 4", "Table 5"])
def test_what_is_printed_is_the_same_in_every_experiment_of_a_table(table: str) -> None:
    given = [load.experiment(name).published for name in load.names("experiments") if name.startswith("skin")]
    same = [one for one in given if one is not None and one.table == table]
    assert len(same) == (3 if table == "Table 3" else 2)
    for one in same[1:]:
        assert [(r.name, r.cells) for r in one.rows] == [(r.name, r.cells) for r in same[0].rows]
        assert (one.columns, one.errata, one.convention) == (
            same[0].columns,
            same[0].errata,
            same[0].convention,
        )
