"""What the measurements rest on: the recipe that they time is the configured one, and their scripts run."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from segtrace import store

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
#: Not on a machine with torch, numpy, scipy and MONAI alone.
ABSENT = (
    "safetensors",
    "einops",
    "pandas",
    "pandera",
    "pydantic",
    "yaml",
    "SimpleITK",
    "rich",
    "snakemake",
    "dvc",
)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def bare(scripts: None) -> ModuleType:
    import bare

    return bare


def test_the_recipe_that_is_timed_is_the_configured_one(
    scripts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import synthetic

    monkeypatch.chdir(ROOT)
    assert synthetic.hippocampus() == synthetic.resolved()  # else: python benchmarks/synthetic.py


TENSORS = {
    "b": torch.arange(12, dtype=torch.float32).view(3, 4),
    "a": torch.arange(5),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "labels": torch.ones(3, dtype=torch.uint8),
    "half": torch.tensor([0.5, 2.0]).bfloat16(),
    "none": torch.zeros(0, 3),
}


def test_what_stands_in_for_safetensors_writes_and_reads_the_same(bare: ModuleType, tmp_path: Path) -> None:
    metadata = {"segtrace": json.dumps({"a": 1})}
    data = bare.save(TENSORS, metadata=metadata)
    assert data == safetensors.torch.save(TENSORS, metadata=metadata)
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with bare.safe_open(str(path), framework="pt") as handle:
        assert handle.metadata() == metadata
        assert handle.keys() == sorted(TENSORS)
        for name, tensor in TENSORS.items():
            found = handle.get_tensor(name)
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor)
    path.write_bytes(data[:-1])
    with pytest.raises(bare.SafetensorError, match="incomplete"):
        bare.safe_open(str(path))


def test_a_proof_of_equal_bits_can_fail(scripts: None, tmp_path: Path) -> None:
    import determinism

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in determinism.OUTPUTS:
            (tmp_path / name / file).write_text(file)
    (tmp_path / "two/history.csv").write_text("other")
    (tmp_path / "two/run.json").unlink()
    one, two = (determinism.sums(tmp_path / name) for name in ("one", "two"))
    assert determinism.differing(one, one) == "none"
    assert determinism.differing(one, two) == "history.csv, run.json"


def test_the_table_of_a_gpu_is_made_at_toy_size(scripts: None, tmp_path: Path) -> None:
    import gpu

    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    try:
        parts = "steps,registry,recipe"
        assert gpu.main(["--dry-run", "--only", parts, "--output", str(tmp_path / "out")]) == 0
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
    found = json.loads((tmp_path / "out/gpu.json").read_text())
    assert {row["part"] for row in found["rows"]} == set(parts.split(","))
    assert not any("failed" in row["value"] or "not done" in row["value"] for row in found["rows"])
    assert (tmp_path / "out/gpu.md").read_text().count("\n| ") == len(found["rows"]) + 1


def test_without_a_gpu_it_says_what_can_be_done(scripts: None, capsys: pytest.CaptureFixture[str]) -> None:
    import gpu

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--dry-run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--dry-run", "--only", "steps,resum"])
    assert "no part resum" in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_it_runs_on_a_bare_machine(tmp_path: Path) -> None:
    """In a process where these packages cannot be imported; its own processes read the same start-up file."""
    lines = [f"sys.modules[{name!r}] = None" for name in ABSENT]
    (tmp_path / "sitecustomize.py").write_text("import sys\n" + "\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu.py", "--dry-run", "--output", "out"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "safetensors stood in for" in done.stdout
    parts = {row["part"] for row in json.loads((tmp_path / "out/gpu.json").read_text())["rows"]}
    assert parts == {"steps", "registry", "sliding", "large", "resume", "compile", "recipe"}


def test_packed_runs_are_trained_in_pieces_and_shown(
    scripts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ``pack`` writes, made here of synthetic cases; all else as on the machine with a GPU."""
    import gpu_experiment
    import synthetic

    def called(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["gpu_experiment.py", *words])
        gpu_experiment.main()

    packed, state, output = tmp_path / "packed", tmp_path / "state", tmp_path / "output"
    train = ("train", "--packed", str(packed), "--state", str(state), "--output", str(output))
    with pytest.raises(SystemExit, match="nothing is packed there"):
        called(*train)
    run = synthetic.small(spatial_dims=3, epochs=2)
    run |= {"framework": "dsd", "framework_options": {"share_heads": True}}
    synthetic.write_cases(run, tmp_path / "cases", [(16, 16, 16)] * 3, validation=1)
    for case in run["cases"]["val"]:
        written = store.open_case(tmp_path / "cases", case)
        record = {"digest": "0" * 16, "prepared_grid": {"spacing_mm": [1.0, 1.0, 1.0]}}
        image, label = np.array(written.image), np.array(written.label)
        store.write_case(tmp_path / "cases", case, image=image, label=label, record=record)
    packed.mkdir()
    with tarfile.open(packed / "cases.tar.gz", "w:gz"):
        pass
    entry = {"run": run, "role": "val", "cases": run["cases"]["val"], "tolerances": {"1": 1.0, "2": 1.0}}
    second = entry | {"run": run | {"run": "small/3d/p/m/b/fold-0_seed-1", "seed": 1}}
    content = {"budget": "b", "short": True, "entries": [entry, second]}
    (packed / "runs.json").write_text(json.dumps(content), encoding="utf-8")
    called(*train, "--seconds", "0")
    assert "0 of 2 runs are finished" in capsys.readouterr().out
    called(*train)
    called(*train)  # all is there
    assert capsys.readouterr().out.count("2 of 2 runs are finished") == 2
    called("table", str(output), "--write", str(tmp_path / "page.md"))
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "shortened for a trial" in page
    assert page.count("| small/3d/p/m/b/fold-0_seed-") == 4  # two labels each
