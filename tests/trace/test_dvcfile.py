"""`dvc.yaml` knows every file of code and configuration that its stages run."""

from pathlib import Path

import pytest
import yaml

from segtrace import digests
from segtrace.config import load
from segtrace.trace import aside, stage

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
#: Stage → the phases that its Snakemake target runs for the first time.
PHASES = {name: (name,) for name in STAGES} | {
    "index": ("acquire", "index"),
    "prepare": ("prepare", "validate"),
}


def covered(path: Path, deps: list[str]) -> bool:
    relative = path.relative_to(ROOT)
    return any(str(relative) == dep or Path(dep) in relative.parents for dep in deps)


@pytest.mark.parametrize("name", list(STAGES))
def test_deps_cover_the_import_closure(name: str) -> None:
    rooms = {"train": ("networks", "losses"), "predict": ("networks", "losses")} | dict.fromkeys(
        ("index", "prepare", "score"), ("datasets",)
    )
    registered = [
        f"segtrace.{room}.{path.stem}"
        for room in rooms.get(name, ())
        for path in (digests.PACKAGE / room).glob("[!_]*.py")
    ]
    roots = [root for phase in PHASES[name] for root in digests.PHASE_ROOTS[phase]]
    files = digests.closure([*roots, *registered, "segtrace.trace.stage", "segtrace.cli"])
    assert len(files) > 20
    assert [str(path) for path in files if not covered(path, STAGES[name]["deps"])] == []


@pytest.mark.parametrize("name", list(STAGES))
def test_deps_cover_rules_and_environment_and_are_there(name: str) -> None:
    deps = STAGES[name]["deps"]
    for phase in PHASES[name]:
        assert f"workflow/rules/{phase}.smk" in deps
    for file in ("Snakefile", "workflow/rules/common.smk", "workflow/rules/targets.smk", "workflow/stage.sh"):
        assert file in deps
    assert "envs/requirements.lock" in deps
    made = {next(iter(s["outs"][0])) for s in STAGES.values()} | {"data/raw"}
    assert [dep for dep in deps if dep not in made and not (ROOT / dep).exists()] == []
    assert "src/segtrace/report" not in deps  # editing the page makes no stage run


def test_stages_own_the_folders_that_are_pruned() -> None:
    assert {name: Path(next(iter(s["outs"][0]))) for name, s in STAGES.items()} == aside.OWNED
    assert list(STAGES) == list(stage.STAGES)


def test_params_are_keys_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = load.main_config().model_dump()
    for name, entry in STAGES.items():
        (keys,) = (list(param["config/config.yaml"]) for param in entry["params"])
        assert set(keys) <= set(known), name
        assert not {"mirror", "tracking"} & set(
            keys
        )  # where archives lie, how one watches: they change no result


def test_committed_pins_are_of_embedded_data_sets_and_hold_three_outputs() -> None:
    pins = sorted((ROOT / "data/raw").glob("*.dvc"))
    assert [pin.stem for pin in pins] == ["phantom2d", "phantom3d"]
    for pin in pins:
        outs = yaml.safe_load(pin.read_text())["outs"]
        name = pin.stem
        assert [out["path"] for out in outs] == [
            name,
            f"{name}.receipt.json",
            f"{name}.receipt.json.prov.json",
        ]
        assert all(out["md5"] for out in outs)


def test_pins_are_visible_to_git_and_dvc() -> None:
    """A pattern that matches `data/raw/` itself would hide the pins from DVC (which asks dulwich, with the slash)."""
    from dulwich.ignore import IgnoreFilter

    ignored = IgnoreFilter.from_path(str(ROOT / ".gitignore")).is_ignored
    for path in ("data/", "data/raw/", "data/raw/x.dvc", "data/index/", "data/splits/", "results/"):
        assert not ignored(path), path
    for path in ("data/raw/x/", "data/raw/x.receipt.json", "data/raw/.x.new", "checkpoints/", "predictions/"):
        assert ignored(path), path
