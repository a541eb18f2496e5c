"""The crate of a finished project, judged by rocrate-validator: an environment of its own (``make test-crate``).

Without a network the validator judges by a stand-in for the context of RO-Crate 1.1: the context of 1.3 that
the package rocrate ships, with the four Bioschemas terms under their names in 1.1. It is NOT the published
context. What is shown then is that the crate meets the profiles' shapes under that reading of its terms.
"""

import json
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from workflow_helpers import BIN, make_project

VALIDATOR = os.environ.get("SEGTRACE_VALIDATOR", "")
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(
        not VALIDATOR,
        reason="SEGTRACE_VALIDATOR names no Python with roc-validator, whose pins do not go with ours: make test-crate",
    ),
]
SCRIPT = Path(__file__).with_name("validate_crate.py")
#: Terms whose addresses RO-Crate 1.3 changed, as they are in 1.1, where the profiles 0.5 look for them.
TERMS_OF_1_1 = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate of a project that Snakemake has run, with everything that can be asked for."""
    project = make_project(tmp_path_factory.mktemp("validator") / "project")
    project.snakemake()
    words = ["--ro-crate", "tiny", "--date", "2026-01-02", "--with", "predictions,checkpoints"]
    subprocess.run([str(BIN / "segtrace"), "export", *words], cwd=project.path, check=True)
    return project.path / "crates/tiny"


def judged(crate: Path, folder: Path) -> dict[str, list[str]]:
    """Profile → requirements that the crate does not meet."""
    context = json.loads((resources.files("rocrate") / "data/ro-crate.jsonld").read_text(encoding="utf-8"))
    context["@context"] |= TERMS_OF_1_1
    (folder / "stand_in.json").write_text(json.dumps(context))
    words = [VALIDATOR, str(SCRIPT), str(crate), str(folder / "stand_in.json"), str(folder / "cache")]
    # Its packages are its own: none of this environment's are to be found by it.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"context: {answer['context']}")
    assert len(answer["unmet"]) == 4
    return answer["unmet"]


def test_the_crate_meets_the_four_profiles(exported: Path, tmp_path: Path) -> None:
    assert not any(judged(exported, tmp_path).values())


@pytest.mark.parametrize(
    ("entity", "key", "profile"),
    [
        ("./", "datePublished", "ro-crate-1.1"),
        ("Snakefile", "programmingLanguage", "workflow-ro-crate-1.0"),
        ("#run", "instrument", "process-run-crate-0.5"),
        ("#parameter-seeds", "additionalType", "workflow-run-crate-0.5"),
    ],
)
def test_each_profile_refuses_a_broken_crate(
    exported: Path, tmp_path: Path, entity: str, key: str, profile: str
) -> None:
    copy = shutil.copytree(exported, tmp_path / "crate")
    path = copy / "ro-crate-metadata.json"
    document = json.loads(path.read_text())
    next(e for e in document["@graph"] if e["@id"] == entity).pop(key)
    path.write_text(json.dumps(document))
    assert judged(copy, tmp_path)[profile]
