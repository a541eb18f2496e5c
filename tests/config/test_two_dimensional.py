"""Experiments of the EMIS and SC-UNeXt papers: each row is the network, the loss and the input that it is named after."""

import pytest

from segtrace.config import load, models, runs

TABLES = ["sc_unext_table1", "sc_unext_table2"]
ABLATIONS = ["sc_unext_table2", "sc_unext_table2_as_published", "sc_unext_table2_isic2018"]


def experiments() -> dict[str, models.Experiment]:
    return {name: load.experiment(name) for name in load.names("experiments")}


def resolved(name: str, *, budget: str = "paper") -> dict[str, dict]:
    """Method → its first run, resolved."""
    found = {}
    for run in runs.runs_of(name, budget=budget, seeds=[0]):
        found.setdefault(run.method, runs.resolve(run, threads=2))
    return found


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_row_of_the_ablations_has_the_parts_that_it_names(name: str) -> None:
    made, published = resolved(name), load.experiment(name).published
    assert published is not None
    assert len({row.method for row in published.rows}) == 8
    for row in published.rows:
        run = made[str(row.method)]
        assert (run["training"]["loss"] == "bce_dice_edge") == ("edge" in row.name), row.name
        if row.name == "UNeXt":
            assert run["network"]["name"] == "unext"
            continue
        assert run["network"]["name"] == "sc_unext"
        options = run["network"]["options"]
        assert options.get("skip", True) == ("skip" in row.name), row.name
        assert options.get("fusion", True) == ("fuse" in row.name), row.name


def test_the_edge_recipe_adds_the_edge_term_alone() -> None:
    plain = load.load("training", "sc_unext").model_dump(exclude={"source", "notes"})
    edge = load.load("training", "sc_unext_edge").model_dump(exclude={"source", "notes"})
    apart = {"loss": "bce_dice_edge", "loss_options": {"edge_weight": 0.5}}
    assert {key: value for key, value in edge.items() if plain[key] != value} == apart
    assert load.load("training", "sc_unext_unet").model_dump(exclude={"source", "notes"}) == plain


@pytest.mark.parametrize("name", ["emis_figure2", "emis_nerve", "emis_busi"])
def test_the_five_models_of_emis_differ_in_its_three_parts_alone(name: str) -> None:
    switches = []
    for run in resolved(name).values():
        options, training = run["network"]["options"], run["training_name"]
        assert (run["network"]["name"], training) == ("emis", "emis")
        attention, fusion = options.get("attention", True), options.get("fusion", "sum") is not None
        switches.append((attention, fusion, run["framework"] == "emis"))
    none, whole = (False, False, False), (True, True, True)
    assert sorted(switches) == sorted(
        [none, (True, False, False), (False, True, False), (False, False, True), whole]
    )


@pytest.mark.parametrize("table", TABLES)
def test_what_is_printed_is_the_same_in_every_experiment_of_a_table(table: str) -> None:
    first = load.experiment(table).published
    assert first is not None
    same = [
        e
        for e in experiments().values()
        if e.published and (e.published.paper, e.published.table) == ("sc_unext", first.table)
    ]
    assert len(same) == 3
    for given in (e.published for e in same):
        assert given is not None
        # a printed cost has a size at which it is counted here, or its cells would stay empty beside it
        assert all(column.size for column in given.columns if column.metric == "macs")
        assert [(r.name, r.cells) for r in given.rows] == [(r.name, r.cells) for r in first.rows]
        assert (given.errata, given.convention) == (first.errata, first.convention)
        # at what size an experiment measures the cost is its own
        assert [column.model_copy(update={"size": None}) for column in given.columns] == [
            column.model_copy(update={"size": None}) for column in first.columns
        ]


@pytest.mark.parametrize("table", TABLES)
def test_the_default_is_clean_and_as_published_is_said_to_be(table: str) -> None:
    for name, expected in (
        (table, ("clean", "test", False)),
        (f"{table}_as_published", ("as_published", "val", True)),
    ):
        experiment = load.experiment(name)
        data = load.dataset(experiment.dataset)
        protocol, recipe = data.protocols[experiment.protocol], data.recipes[experiment.recipe]
        assert (recipe.input, experiment.role, protocol.published) == expected
        assert protocol.held_out == experiment.role


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("sc_unext_table2_isic2018", "cpu_1min"),
        ("emis_busi", "cpu_3min"),
        ("sc_unext_lungs_128", "cpu_3min"),
        ("sc_unext_nerve_128", "cpu_3min"),
        ("sc_unext_isic2018_128", "cpu_20min"),
        ("isic2018_256", "gpu_60"),
    ],
)
def test_a_budget_made_for_an_experiment_shortens_each_of_its_trainings(name: str, budget: str) -> None:
    whole, less = resolved(name), resolved(name, budget=budget)
    for method, run in less.items():
        assert run["training"]["epochs"] <= 60 < whole[method]["training"]["epochs"], method
        assert run["training"]["precision"] == "bf16"


def test_robustness_of_emis_trains_nothing_of_its_own() -> None:
    def names(experiment: str) -> list[str]:
        return [str(run) for run in runs.runs_of(experiment, budget="cpu_3min", seeds=[0])]

    assert names("emis_robustness") == names("emis_busi")
    assert runs.corrupted_variants(load.experiment("emis_robustness"))
