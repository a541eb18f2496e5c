"""A training that fails: what helps is tried again by Snakemake, what does not is told once."""

import json
import textwrap

import pytest
from workflow_helpers import Project

pytestmark = pytest.mark.workflow

RUN = "checkpoints/phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"


def test_lack_of_memory_divides_the_steps_and_anything_else_is_not_repeated(finished: Project) -> None:
    """The finished project, its recipe changed, so that training alone has to run."""
    finished.edit("config/training/demo_3d.yaml", lambda v: v.update(learning_rate=1.0e30))
    output = finished.snakemake(f"{RUN}/run.json", expect=1)
    assert "gradient norm" in output
    assert "attempt 2 would fail as the one before" in output
    assert "attempt 3 would fail as the one before" in output

    def halving(recipe: dict) -> None:
        recipe.update(learning_rate=0.01, when_out_of_memory="halve")

    finished.edit("config/training/demo_3d.yaml", halving)
    finished.edit(
        "config/methods/unet3d_tiny.yaml",
        lambda v: v.update(network="dynunet", options={"filters": [4, 4, 4]}),
    )
    short = finished.path / "short_of_memory"
    short.mkdir()
    # a machine whose memory does for half a step: Python loads this file when it starts
    (short / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import sys
            if len(sys.argv) > 1 and sys.argv[1] == "train":
                import torch
                from segtrace.train import step
                take = step.take
                def short(learner, images, labels, **options):
                    if learner.parts < 2:
                        raise torch.OutOfMemoryError("no more")
                    return take(learner, images, labels, **options)
                step.take = short
        """)
    )
    finished.environment["PYTHONPATH"] = str(short)
    finished.snakemake(f"{RUN}/run.json")
    assert json.loads((finished.path / RUN / "run.json").read_text())["machine"]["parts"] == 2
