"""What the measurements rest on: the recipe that they time is the configured one, and their scripts run."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import safetensors
import safetensors.torch
import torch

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
