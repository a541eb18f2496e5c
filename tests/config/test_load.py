"""Configuration: what is refused, and how it is said."""

import shutil
from pathlib import Path

import pytest
import yaml

from segtrace import layout
from segtrace.config import load, models, runs
from segtrace.errors import SegtraceError

ROOT = Path(__file__).parents[2]
RUN = "phantom2d/size96/random/unet_tiny/smoke/fold-0_seed-0"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


def edit(path: Path, **values: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


@pytest.mark.parametrize("kind", sorted(load.KINDS))
def test_every_committed_file_is_valid(project: Path, kind: str) -> None:
    assert load.names(kind)
    for name in load.names(kind):
        assert isinstance(load.load(kind, name), load.KINDS[kind])


def test_every_experiment_resolves_under_every_budget(project: Path) -> None:
    for name in load.names("experiments"):
        if not load.experiment(name).methods:  # published values alone
            with pytest.raises(SegtraceError, match="no method of its table can be trained here yet"):
                runs.runs_of(name, budget="paper", seeds=[0])
            continue
        for budget in load.names("budgets"):
            for run in runs.runs_of(name, budget=budget, seeds=[0]):
                resolved = runs.resolve(run, threads=2)
                assert resolved["run"] == str(run)
                assert layout.parse_run(str(run)) == run


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_data_set_alone_is_an_experiment(project: Path, dimensions: int) -> None:
    """Title, dimensions, modality, licence, labels and channels are all that a file must hold."""
    (project / "datasets/mine.yaml").write_text(
        f"title: mine\ndimensions: {dimensions}\nmodality: MR\nlicence: own\naccess: own\nreader: pairs\n"
        "labels: {1: lesion}\nchannels: [grey]\n"
    )
    assert "mine" in load.experiments()
    assert "mine" not in load.names("experiments")
    for budget in load.names("budgets"):
        wanted = runs.runs_of("mine", budget=budget, seeds=[0])
        assert {(run.recipe, run.protocol) for run in wanted} == {("default", "default")}
        assert len(wanted) == 2
        for run in wanted:
            assert runs.resolve(run, threads=2)["training_name"] == f"generic_{dimensions}d"


def test_an_experiments_file_wins_over_a_default_experiment(project: Path) -> None:
    asked = load.experiment("msd_hippocampus").model_dump(exclude={"title", "training"})
    asked |= {"title": "x", "training": "demo_3d"}
    (project / "experiments/msd_hippocampus.yaml").write_text(yaml.safe_dump(asked))
    assert load.experiment("msd_hippocampus").title == "x"
    run = runs.runs_of("msd_hippocampus", budget="smoke", seeds=[0])[0]
    assert runs.training_of(run) == "demo_3d"


def test_an_unknown_experiment_names_data_sets_too(project: Path) -> None:
    with pytest.raises(SegtraceError, match="did you mean 'msd_hippocampus'"):
        load.experiment("msd_hipocampus")


def test_an_unknown_key_names_the_nearest_at_any_depth(project: Path) -> None:
    edit(project / "experiments/busi.yaml", protokol="x")
    with pytest.raises(
        SegtraceError, match=r"busi\.yaml.*\n.*unknown key 'protokol': did you mean 'protocol'"
    ):
        load.experiment("busi")
    edit(project / "training/demo_2d.yaml", augmentation={"flipp_p": 0.5})
    with pytest.raises(SegtraceError, match=r"'augmentation\.flipp_p': did you mean 'flip_p'"):
        load.load("training", "demo_2d")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\ntitle: b\n", "key 'title' is given twice"),
        ("title: [a\n", "not valid YAML"),
        ("- a\n", "expected keys and values, found list"),
        ("? [a, b]\n: c\n", "a key must be a plain word"),
        ("title: a\n", "key 'network' is missing"),
        (
            "options: {tau: .nan, sizes: [1, .inf]}\n",
            r"key 'options\.tau' is nan.*\n.*'options\.sizes\.1' is inf",
        ),
    ],
)
def test_a_faulty_file_is_one_readable_error(project: Path, text: str, message: str) -> None:
    (project / "methods/unet.yaml").write_text(text)
    with pytest.raises(SegtraceError, match=message):
        load.method("unet")


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"schedule": {"kind": "step"}}, "schedule"),
        ({"crop": {"size": [0, 64]}}, "crop.size"),
        ({"crop": {"size": [64, 64], "foreground": 0}}, "crop"),
        ({"inference": {"batch": 0}}, "inference.batch"),
    ],
)
def test_values_that_cannot_be_trained_with_are_refused(project: Path, values: dict, key: str) -> None:
    edit(project / "training/demo_2d.yaml", **values)
    with pytest.raises(SegtraceError, match=key.replace(".", r"\.")):
        load.load("training", "demo_2d")


def test_a_budget_that_names_no_recipe_is_refused(project: Path) -> None:
    edit(project / "budgets/smoke.yaml", by_training={"demo2d": {"epochs": 1}})
    with pytest.raises(SegtraceError, match="did you mean 'demo_2d'"):
        runs.resolve(layout.parse_run(RUN), threads=1)


def test_options_that_no_part_takes_are_refused_before_anything_runs(project: Path) -> None:
    wrong = {"options": {"bases": 8, "variant": 3}, "framework": "dsd", "framework_options": {"tau": -1.0}}
    edit(project / "methods/unet_tiny.yaml", **wrong)
    with pytest.raises(SegtraceError) as refused:
        runs.resolve(layout.parse_run(RUN), threads=1)
    said = str(refused.value)
    assert said.startswith("config/methods/unet_tiny.yaml: 3 problems\n")
    assert "network 'unet' has no option 'bases'; " in said
    assert "network 'unet': variant 3; it takes a word" in said
    assert "framework 'dsd': tau -1.0; it takes a number from 0 on" in said

    edit(
        project / "methods/unet_tiny.yaml", network="unett", options={}, framework=None, framework_options={}
    )
    with pytest.raises(SegtraceError, match="no network 'unett'; did you mean 'unet'"):
        runs.resolve(layout.parse_run(RUN), threads=1)


def test_options_that_the_loss_does_not_take_are_refused_before_anything_runs(project: Path) -> None:
    edit(project / "training/demo_2d.yaml", loss="bce_dice", loss_options={"smoth": 1.0})
    with pytest.raises(SegtraceError, match="loss 'bce_dice' has no option 'smoth'; did you mean 'smooth'"):
        runs.resolve(layout.parse_run(RUN), threads=1)


def test_a_published_budget_changes_nothing(project: Path) -> None:
    edit(project / "budgets/paper.yaml", training={"epochs": 1})
    with pytest.raises(SegtraceError, match="a published budget changes nothing"):
        load.load("budgets", "paper")


def test_a_fold_that_there_is_not_is_refused(project: Path) -> None:
    with pytest.raises(SegtraceError, match="folds 0 to 0"):
        runs.resolve(layout.parse_run(RUN.replace("fold-0", "fold-3")), threads=1)


def test_experiments_may_not_disagree_on_a_run(project: Path) -> None:
    shutil.copy(project / "experiments/demo_2d.yaml", project / "experiments/other.yaml")
    edit(project / "experiments/other.yaml", training="busi_unet")
    with pytest.raises(SegtraceError, match="experiments disagree on the training"):
        runs.training_of(layout.parse_run(RUN))


def test_where_a_recipe_comes_from_is_no_part_of_a_run(project: Path) -> None:
    before = runs.resolve(layout.parse_run(RUN), threads=1)
    edit(project / "training/demo_2d.yaml", source="elsewhere", notes=["a note"])
    assert runs.resolve(layout.parse_run(RUN), threads=1) == before


def test_several_devices_are_part_of_a_run_and_one_is_as_before(project: Path) -> None:
    before = runs.resolve(layout.parse_run(RUN), threads=1)
    edit(project / "training/demo_2d.yaml", devices=1)
    assert runs.resolve(layout.parse_run(RUN), threads=1) == before
    edit(project / "training/demo_2d.yaml", devices=2)
    assert runs.resolve(layout.parse_run(RUN), threads=1) == before | {"devices": 2}


def test_command_line_values_are_lists_too(project: Path) -> None:
    config = load.main_config({"experiments": "busi,demo_2d", "seeds": "0,3"})
    assert (config.experiments, config.seeds) == (["busi", "demo_2d"], [0, 3])
    assert load.main_config().tracking == []
    assert load.main_config({"tracking": "dvclive,tensorboard"}).tracking == ["dvclive", "tensorboard"]
    assert load.main_config({"tracking": ""}).tracking == []
    with pytest.raises(SegtraceError, match="'tensorboard' or 'dvclive'"):
        load.main_config({"tracking": "tensorbord"})
    with pytest.raises(SegtraceError, match="'strict' or 'fast'"):
        load.main_config({"determinism": "loose"})
    with pytest.raises(SegtraceError, match="0 is given twice"):
        load.main_config({"seeds": "0,0"})
    with pytest.raises(SegtraceError, match="seeds"):
        load.main_config({"seeds": -1})


def test_names_are_file_names(project: Path) -> None:
    with pytest.raises(SegtraceError, match="cannot be used as a file name"):
        load.experiment("../experiments/busi")


def test_outside_a_project_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SegtraceError, match="run segtrace from the project's root"):
        load.names("datasets")


def test_a_gate_speaks_of_labels_that_there_are() -> None:
    value = yaml.safe_load((ROOT / "config/datasets/phantom2d.yaml").read_text())
    value["gate"]["prevalence"] = {7: [0, 1]}
    with pytest.raises(SegtraceError, match=r"names labels \[7\]"):
        load.validate(models.Dataset, value, where="x")


def test_every_label_has_a_tolerance_of_the_surface_dice(project: Path) -> None:
    path = project / "datasets/msd_hippocampus.yaml"
    assert load.dataset("msd_hippocampus").nsd_tolerances == {1: 1.0, 2: 1.0}
    edit(path, nsd_tolerance=2)
    assert load.dataset("msd_hippocampus").nsd_tolerances == {1: 2.0, 2: 2.0}
    edit(path, nsd_tolerance={2: 0.5, 1: 3.0})
    assert load.dataset("msd_hippocampus").nsd_tolerances == {1: 3.0, 2: 0.5}
    edit(path, nsd_tolerance={2: 0.5})
    with pytest.raises(SegtraceError, match=r"given for labels \[2\]; the data set has \[1, 2\]"):
        load.dataset("msd_hippocampus")
    edit(path, nsd_tolerance=-1.0)
    with pytest.raises(SegtraceError, match="nsd_tolerance"):
        load.dataset("msd_hippocampus")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schedule": {"kind": "cosine", "minimum": 0.5}},
            "schedule.minimum 0.5 is above learning_rate 0.01",
        ),
        ({"schedule": {"kind": "poly", "period_epochs": 5}}, "period_epochs is for kind cosine, not poly"),
        ({"schedule": {"kind": "cosine", "hold_epochs": 5}}, "hold_epochs is for kind linear, not cosine"),
        (
            {"optimiser": "sgd", "betas": [0.5, 0.999]},
            "betas are for optimiser adamw, adam or nadam, not sgd",
        ),
        ({"optimiser": "adam", "momentum": 0.99}, "momentum is for optimiser sgd, not adam"),
        ({"nesterov": True}, "nesterov is for optimiser sgd"),
        ({"optimiser": "nadam", "amsgrad": True}, "amsgrad is for optimiser adam or adamw, not nadam"),
        ({"accumulate": 3, "cases_per_step": 2}, "accumulate is 3, but a step has 2 crops"),
        ({"compile": "default", "cuda_graphs": True}, "compile and cuda_graphs are both set"),
        ({"augmentation": {"zoom": [1.4, 0.7]}}, "from 1.4 to 0.7"),
    ],
)
def test_keys_of_a_training_that_do_not_go_together_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.Training.model_validate({"epochs": 4, "learning_rate": 0.01} | changes)


def test_one_angle_stands_for_all_axes() -> None:
    found = models.Augmentation.model_validate({"rotate_degrees": 15})
    assert found.rotate_degrees == [15.0, 15.0, 15.0]


def test_regions_are_unions_with_names_and_tolerances(project: Path) -> None:
    brats = load.dataset("msd_brats")
    assert brats.unions == {1001: (1, 2, 3), 1002: (2, 3), 1003: (3,)}
    assert [brats.scored[number] for number in brats.unions] == ["region WT", "region TC", "region ET"]
    assert all(region.source for region in brats.regions.values())
    edit(
        project / "datasets/msd_brats.yaml",
        nsd_tolerance={1: 1.0, 2: 3.0, 3: 2.0},
        regions={
            1002: {"name": "TC", "labels": [3, 2]},
            1001: {"name": "own", "labels": [1], "nsd_tolerance": 0},
        },
    )
    brats = load.dataset("msd_brats")
    assert brats.nsd_tolerances == {1: 1.0, 2: 3.0, 3: 2.0, 1001: 0.0, 1002: 3.0}
    assert list(brats.nsd_tolerances) == [1, 2, 3, 1001, 1002] == list(brats.scored)


@pytest.mark.parametrize(
    ("regions", "messages"),
    [
        ({2: {"name": "x", "labels": [1]}}, ["regions.2 (x): 2 is the label 'posterior'"]),
        ({3: {"name": "x", "labels": [1]}}, ["numbered from 1000 on, above every label; got 3"]),
        ({1000: {"name": "x", "labels": []}}, ["regions.1000 (x): it unites no label"]),
        (
            {1000: {"name": "x", "labels": [1, 7]}},
            ["regions.1000 (x): no labels [7]; the data set has [1, 2]"],
        ),
        ({1000: {"name": "x", "labels": [1, 1]}}, ["labels [1] are given twice"]),
        ({1000: {"name": " ", "labels": [1]}}, ["the name is empty"]),
        (
            {1000: {"name": "x", "labels": [1]}, 1001: {"name": "x", "labels": [0]}},
            ["no labels [0]", "regions: two are named 'x'"],
        ),
    ],
)
def test_faulty_regions_are_named(project: Path, regions: dict, messages: list[str]) -> None:
    edit(project / "datasets/msd_hippocampus.yaml", regions=regions)
    with pytest.raises(SegtraceError) as caught:
        load.dataset("msd_hippocampus")
    assert [message for message in messages if message not in str(caught.value)] == []
