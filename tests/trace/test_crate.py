"""The crate of a fabricated experiment: what is in it, and that its check finds each fault."""

import hashlib
import json
import shutil
import tomllib
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workflow_helpers import ROOT, make_project

from segtrace import layout
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.trace import jobs
from segtrace.trace.export import command, crate, parts, verify

RUN = "phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"
VARIANT = f"predictions/{RUN}/test-last-native-none"
WEIGHTS = f"checkpoints/{RUN}/weights.safetensors"
SUMMARY = "results/tiny/summary.csv"
RECEIPT = "data/raw/phantom3d.receipt.json"
RAW = b"the bytes of a raw image"
ARCHIVE = {"archive": "phantoms.tar", "bytes": 3, "sha256": "a" * 64, "origin": "published"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def content_of(output: Path) -> bytes:
    """What a fabricated output holds."""
    label_map = {"case": "c0", "file": "c0.nii.gz", "sha256": sha256(b"label map"), "digest": "0" * 16}
    machine = {"device": "cpu", "processor": "x86_64", "torch": "2.13.0+cpu"}
    texts = {
        "phantom3d.receipt.json": json.dumps(
            {"archives": [ARCHIVE], "files": {"images/c0.nii.gz": [len(RAW), sha256(RAW)]}}
        ),
        "run.json": json.dumps({"machine": machine}),
        "predictions.csv": ",".join(label_map) + "\n" + ",".join(label_map.values()) + "\n",
    }
    return texts.get(output.name, f"content of {output}\n").encode()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose outputs and records were written by hand."""
    made = make_project(tmp_path_factory.mktemp("crate") / "project")
    source = {"archive": "phantoms.tar", "urls": ["https://example.org/phantoms.tar"]}
    made.edit(
        "config/datasets/phantom3d.yaml",
        lambda v: v.update(
            access="open", sources=[source], licence="CC BY 4.0", licence_url="https://e.org/by"
        ),
    )
    made.edit("config/config.yaml", lambda v: v.update(mirror="/data/archives"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.path)
        for job in jobs.above([jobs.Job("compare", "tiny")], load.main_config()):
            for output in jobs.outputs(job):
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_bytes(content_of(output))
                record = {"output": str(output), "sha256": sha256(content_of(output)), "job": job.name}
                jobs.record_of(output).write_text(json.dumps(record))
        Path(VARIANT, "c0.nii.gz").write_bytes(b"label map")
    return made.path


def pack(target: Path, *, extras: tuple[str, ...] = (), author: str | None = None) -> Path:
    """The crate of the project in the working directory."""
    config = load.main_config()
    orcid = "0000-0002-1825-0097" if author else None
    subject = crate.Subject("tiny", config, date="2026-01-02", author=author, orcid=orcid)
    command.pack(subject, parts.parts("tiny", config, extras=extras), target=target)
    return target


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="module")
def sound(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crate without extras; copy it to change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return pack(tmp_path_factory.mktemp("sound") / "crate")


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "copy")


def entities(folder: Path) -> dict[str, dict[str, Any]]:
    return {e["@id"]: e for e in json.loads((folder / verify.METADATA).read_text())["@graph"]}


def ids(values: list[dict[str, str]]) -> set[str]:
    return {value["@id"] for value in values}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- what is in it ------------------------------------------------------------------------------------


def test_a_sound_crate_has_no_fault_and_no_images(sound: Path) -> None:
    assert verify.check_crate(sound) == []
    names = set(tree(sound))
    assert {SUMMARY, SUMMARY + ".prov.json", RECEIPT, "Snakefile", "envs/requirements.lock"} <= names
    assert {"data/splits/phantom3d/random.csv", "data/index/phantom3d/cases.csv"} <= names
    assert {f"checkpoints/{RUN}/history.csv", f"checkpoints/{RUN}/run.json"} <= names
    assert not [n for n in names if n.endswith((".npy", ".nii.gz", ".safetensors", ".html"))]
    assert WEIGHTS + ".prov.json" in names  # the chain has no gap: the record holds the weights' checksum


def test_extras_bring_weights_and_label_maps(here: Path, tmp_path: Path) -> None:
    names = set(tree(pack(tmp_path / "crate", extras=parts.EXTRAS)))
    assert {WEIGHTS, f"checkpoints/{RUN}/best_val.safetensors", f"{VARIANT}/c0.nii.gz"} <= names


def test_the_run_names_workflow_inputs_and_results(sound: Path) -> None:
    found = entities(sound)
    run = found["#run"]
    assert run["instrument"] == {"@id": "Snakefile"}
    assert {"#data-set-phantom3d", "#experiment", "#budget", "#seeds", RECEIPT} <= ids(run["object"])
    assert "config/experiments/tiny.yaml" in ids(run["object"])
    assert {SUMMARY, f"checkpoints/{RUN}/history.csv"} <= ids(run["result"])
    assert not ids(run["object"]) & ids(run["result"])
    assert [found[name]["value"] for name in ("#experiment", "#budget", "#seeds")] == ["tiny", "smoke", 0]
    assert "agent" not in run
    assert found[SUMMARY + ".prov.json"]["about"] == {"@id": SUMMARY}
    assert "about" not in found[WEIGHTS + ".prov.json"]


def test_raw_data_is_named_with_licence_address_and_checksums(sound: Path) -> None:
    found = entities(sound)
    data = found["#data-set-phantom3d"]
    assert found[data["license"]["@id"]]["name"] == "CC BY 4.0"
    archive = found[data["distribution"][0]["@id"]]
    assert (archive["sha256"], archive["contentSize"]) == (ARCHIVE["sha256"], "3")
    assert archive["contentUrl"] == ["https://example.org/phantoms.tar"]


def test_software_is_that_of_the_lock_and_the_machine_that_of_the_runs(sound: Path) -> None:
    found = entities(sound)
    lock = (ROOT / "envs/requirements.lock").read_text()
    software = {
        found[name]["name"]: found[name]["version"]
        for name in ids(found["Snakefile"]["softwareRequirements"])
    }
    assert set(software) == {"segtrace", "Snakemake", "PyTorch", "MONAI", "SimpleITK"}
    assert f"snakemake=={software['Snakemake']}\n" in lock
    assert software["PyTorch"] == "2.13.0+cpu"
    assert found[f"checkpoints/{RUN}/run.json"]["mentions"] == {"@id": "#machine-1"}
    assert found["#machine-1-processor"]["value"] == "x86_64"


def test_an_author_is_named_only_when_given(here: Path, tmp_path: Path) -> None:
    found = entities(pack(tmp_path / "crate", author="A. Author"))
    person = found["https://orcid.org/0000-0002-1825-0097"]
    assert person["name"] == "A. Author"
    assert found["#run"]["agent"] == found["./"]["author"] == {"@id": person["@id"]}


def test_its_configuration_asks_for_the_same_jobs_and_names_no_folder(
    sound: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = jobs.above([jobs.Job("report", "tiny")], load.main_config())
    assert load.main_config().mirror is not None
    monkeypatch.chdir(sound)
    assert jobs.above([jobs.Job("report", "tiny")], load.main_config()) == ours
    assert load.main_config().mirror is None


def test_two_exports_are_the_same_bytes(sound: Path, here: Path, tmp_path: Path) -> None:
    assert tree(pack(tmp_path / "again")) == tree(sound)
    first, second = (pack(tmp_path / folder / "crate.zip") for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == tree(sound)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["crate.zip"]


def test_the_licence_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == crate.LICENCE


# --- each fault is found ------------------------------------------------------------------------------

Change = Callable[[dict[str, dict[str, Any]]], Any]


def described(change: Change) -> Callable[[Path], None]:
    """A change of the JSON-LD."""

    def apply(folder: Path) -> None:
        found = entities(folder)
        change(found)
        document = json.loads((folder / verify.METADATA).read_text()) | {"@graph": [*found.values()]}
        (folder / verify.METADATA).write_text(json.dumps(document))

    return apply


def written(name: str, content: bytes) -> Callable[[Path], None]:
    """A new or changed file."""

    def apply(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return apply


def without(name: str, key: str) -> Callable[[Path], None]:
    return described(lambda found: found[name].pop(key))


def changed(name: str, **values: Any) -> Callable[[Path], None]:
    return described(lambda found: found[name].update(values))


def twice(folder: Path) -> None:
    document = json.loads((folder / verify.METADATA).read_text())
    document["@graph"].append({"@id": "#run", "@type": "Thing"})
    (folder / verify.METADATA).write_text(json.dumps(document))


def not_in_has_part(found: dict[str, dict[str, Any]]) -> None:
    found["./"]["hasPart"].remove({"@id": SUMMARY})


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (written(verify.METADATA, b"{"), "no JSON-LD"),
    (lambda folder: (folder / verify.METADATA).unlink(), "no JSON-LD"),
    (twice, "an @id is given twice"),
    (without(verify.METADATA, "conformsTo"), "does not conform to https://w3id.org/ro/crate/1.1"),
    (without(verify.METADATA, "about"), "is not about ./"),
    *[
        (without("./", key), f"./: no {key}")
        for key in ("name", "description", "license", "datePublished", "hasPart")
    ],
    *[
        (
            changed("./", conformsTo=[{"@id": u} for u, _ in verify.PROFILES if u != url]),
            f"{name} ({url})",
        )
        for url, name in verify.PROFILES
    ],
    (without("./", "mainEntity"), "mainEntity none lacks the types"),
    (
        changed("Snakefile", **{"@type": ["File", "SoftwareSourceCode"]}),
        "lacks the types ComputationalWorkflow",
    ),
    (without("Snakefile", "programmingLanguage"), "Snakefile: no programmingLanguage"),
    (changed("#run", **{"@type": "Thing"}), "no CreateAction"),
    (without("#run", "instrument"), "#run: its instrument is not the workflow"),
    (without("#run", "object"), "#run: no object"),
    (without("#run", "result"), "#run: no result"),
    (without("#run", "actionStatus"), "#run: its actionStatus is not"),
    (without("./", "mentions"), "#run: not mentioned by ./"),
    (described(not_in_has_part), f"{SUMMARY}: a result that is not in hasPart"),
    (described(lambda found: found.pop("#budget")), "#run: object refers to #budget"),
    (described(lambda found: found.pop("https://e.org/by")), "license refers to https://e.org/by"),
    (lambda folder: (folder / SUMMARY).unlink(), f"{SUMMARY}: no such file"),
    (written(SUMMARY, b"x"), f"{SUMMARY}: sha256"),
    (written(SUMMARY, b"x"), f"{SUMMARY}: size"),
    (without(SUMMARY, "sha256"), f"{SUMMARY}: sha256 None"),
    (without(SUMMARY, "contentSize"), f"{SUMMARY}: size None"),
    (without(SUMMARY, "encodingFormat"), f"{SUMMARY}: no encodingFormat"),
    (written("results/tiny/more.csv", b"x"), "more.csv: a file that the crate does not describe"),
    (written(SUMMARY + ".prov.json", b'{"sha256": "0"}'), f"{SUMMARY}.prov.json: records sha256 0"),
    (written(SUMMARY + ".prov.json", b"{"), f"{SUMMARY}.prov.json: records sha256 None"),
    (changed("./", description="made in /home/ada/segtrace today"), "machine: /home/ada/segtrace"),
    (written("Snakefile", b"mirror='/data/archives'"), "Snakefile: names a place"),
    (written("Snakefile", rb"C:\Users\ada\x"), r"machine: C:\Users\ada\x"),
    (written("Snakefile", b"see file:///var/x"), "machine: file:///var/x"),
    (written("data/raw/phantom3d/images/c0.nii.gz", b"x"), "raw data, which does not belong"),
    (written("data/raw/phantom3d/a.receipt.json", b"x"), "raw data, which does not belong"),
    (written("data/prepared/phantom3d/iso2/c0.image.npy", b"x"), "a prepared array"),
    (written("results/tiny/image.bin", RAW), "has the bytes of the raw file images/c0.nii.gz"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_each_fault_is_found(copy: Path, fault: Callable[[Path], None], said: str) -> None:
    fault(copy)
    assert any(said in line for line in verify.check_crate(copy)), verify.check_crate(copy)


def test_the_login_and_the_present_folder_are_found(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    (copy / "Snakefile").write_text(f"# ada@host\n# {Path.cwd()}/x\n")
    said = [line for line in verify.check_crate(copy) if "this machine" in line]
    assert any("ada@host" in line for line in said)
    assert any(str(Path.cwd()) in line for line in said)


def test_relative_paths_and_addresses_are_no_places_of_the_machine(copy: Path) -> None:
    text = "./data/raw/x {run}/data/x https://e.org/home/ada results/tmp/x s3://b/data/x and/or a / b\n"
    (copy / "Snakefile").write_text(text)
    assert not [line for line in verify.check_crate(copy) if "this machine" in line]


def test_a_crate_with_a_fault_is_not_kept(here: Path, tmp_path: Path, project: Path) -> None:
    method = project / "config/methods/unet3d_tiny.yaml"
    before = method.read_text()
    method.write_text(before + "notes: [weights in /home/ada/weights]\n")
    try:
        for name in ("crate", "crate.zip"):
            with pytest.raises(
                SegtraceError, match=r"unet3d_tiny\.yaml: names a place .*: /home/ada/weights"
            ):
                pack(tmp_path / name)
    finally:
        method.write_text(before)
    assert list(tmp_path.iterdir()) == []


# --- the command's options ----------------------------------------------------------------------------


def test_a_missing_file_is_named(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "receipt", lambda name: Path(f"data/raw/{name}.gone.json"))
    with pytest.raises(SegtraceError, match=r"data/raw/phantom3d\.gone\.json: no such file"):
        pack(tmp_path / "crate")


def test_nothing_is_overwritten(sound: Path, tmp_path: Path) -> None:
    for taken in (sound, sound / SUMMARY):
        with pytest.raises(SegtraceError, match="is there already"):
            command.refuse_taken(taken)
    command.refuse_taken(tmp_path)  # an empty folder


def test_the_date_is_given_or_that_of_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "git", lambda *words: "2026-03-04")
    assert command.date_of(None) == "2026-03-04"
    assert command.date_of("2026-01-02") == "2026-01-02"
    with pytest.raises(SegtraceError, match=r"'2\.1\.2026' is no date"):
        command.date_of("2.1.2026")
    monkeypatch.setattr(command, "git", lambda *words: None)
    with pytest.raises(SegtraceError, match="give --date"):
        command.date_of(None)


def test_without_git_there_is_no_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert command.git("no-such-command") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.git("--version") is None


def test_an_orcid_is_checked_by_its_last_digit() -> None:
    assert command.orcid_of("https://orcid.org/0000-0002-1694-233X") == "0000-0002-1694-233X"
    assert command.orcid_of(None) is None
    for wrong in ("0000-0002-1825-0098", "0000-0002-1825", "ada"):
        with pytest.raises(SegtraceError, match="is no ORCID"):
            command.orcid_of(wrong)


def test_an_orcid_needs_an_author(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "git", lambda *words: None)
    absent = ("budget", "seeds", "author", "nnunet", "output", "protocol", "number")
    given = dict.fromkeys(absent) | {"extras": "", "orcid": "0000-0002-1825-0097"}
    with pytest.raises(SegtraceError, match="give --author"):
        command.run(Namespace(experiment="tiny", to=tmp_path / "x", date="2026-01-02", **given))


def test_extras_are_known_names() -> None:
    assert command.extras_of("predictions, checkpoints") == {"predictions", "checkpoints"}
    with pytest.raises(SegtraceError, match="'checkpoint': did you mean 'checkpoints'"):
        command.extras_of("checkpoint")
