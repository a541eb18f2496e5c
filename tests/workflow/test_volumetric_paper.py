"""Tables of the dual self-distillation paper, end to end, on miniatures of the archives that it used.

Archives lie in the owners' layout under the published names. Experiments, recipes, training recipes and published
values are those of ``config``; what a miniature forces is changed here, and nowhere else: counts of cases and sizes
in the gates, the numbers of the brain-tumour split, the sizes of crops and networks, the folds that are trained.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from workflow_helpers import CHAIN, Project, jobs, make_configured

from miniatures import mmwhs_ct, msd_brats, write_sums
from segtrace import tables
from segtrace.config import runs

pytestmark = pytest.mark.workflow

#: The least crop of Swin UNETR, whose deepest level is 32 times smaller: instance normalisation needs two voxels.
SIDE = [32, 32, 64]
#: Options of each network that make it small. Swin UNETR stands as in the paper; V-Net has no width to change.
SMALL: dict[str, dict[str, Any]] = {
    "dynunet": {"filters": [4, 8, 16, 24, 32]},
    "unetr": {"size": SIDE, "feature_size": 4, "hidden_size": 48, "mlp_size": 96, "heads": 4},
    "unet3d": {"base": 4},
    "attention_unet3d": {"widths": [4, 8, 12, 16, 24]},
    "cotr": {"widths": [8, 12, 24], "layers": 2, "mlp": 48},
    "transbts": {"size": SIDE, "base": 8, "width": 32, "layers": 1, "heads": 4, "mlp": 64},
    "swin_unetr": {},
    "vnet": {},
}
FEW = {"training": {"epochs": 1, "crop": {"size": SIDE}}, "title": "a miniature's, one pass"}


def miniature(
    path: Path, *, archives: Callable[[Path], Sequence[str]], experiments: Sequence[str]
) -> Project:
    """A project of the whole configuration with small networks and crops, and a mirror of ``archives``."""
    mirror = path.parent / "mirror"
    mirror.mkdir()
    archives(mirror)
    write_sums(mirror)
    project = make_configured(path)
    for file in (path / "config/methods").glob("*.yaml"):
        small = SMALL.get(yaml.safe_load(file.read_text())["network"])
        if small is not None:
            project.edit(f"config/methods/{file.name}", lambda v, small=small: v.update(options=small))
    (path / "config/budgets/miniature.yaml").write_text(yaml.safe_dump(FEW))
    asked = {"experiments": list(experiments), "budget": "miniature", "training_threads": 1}
    project.edit("config/config.yaml", lambda v: v.update(asked, mirror=str(mirror)))
    return project


def hearts(path: Path, *experiments: str, folds: Sequence[int]) -> Project:
    """Twenty patients, as many as the paper's five contiguous folds divide; ``folds`` are trained."""
    project = miniature(path, archives=mmwhs_ct.cohort, experiments=experiments)

    def gates(value: dict) -> None:
        value["gate"].update(size=[64, 96])

    project.edit("config/datasets/mmwhs_ct.yaml", gates)
    project.edit("config/experiments/dsd_table1.yaml", lambda v: v.update(folds=list(folds)))
    return project


def heads(path: Path, *experiments: str) -> Project:
    """Nine patients under the published kind of split: the last test, the others are shuffled as by the authors."""
    project = miniature(
        path, archives=lambda folder: msd_brats.cohort(folder, cases=9), experiments=experiments
    )

    def gates(value: dict) -> None:
        value["gate"].update(cases=[9, 9], subjects=[9, 9], size=[40, 48])
        value["gate"]["prevalence"][2] = [0.88, 0.89]
        value["protocols"]["dsd"].update(train_cases=5, test_cases=2, validation_cases=2)
        value.update(batches=2)

    project.edit("config/datasets/msd_brats.yaml", gates)
    return project


def is_shown(project: Project, experiment: str, *, methods: int, reasons: Sequence[str]) -> None:
    """The page sets every printed score beside a recomputed one, says that it is not comparable, and why.

    Counts of parameters do not depend on data or budget, and times are not measured here.
    """
    page = (project.path / f"reports/{experiment}/index.html").read_text(encoding="utf-8")
    section = page[page.index('id="published"') :]
    path = project.path / f"results/{experiment}/published.csv"
    rows: list[dict[str, Any]] = tables.read("published", path).to_dict("records")
    scores = [row for row in rows if row["method"] and row["metric"] in ("dice", "hd95_voxel")]
    assert len({row["method"] for row in scores}) == methods
    for row in scores:
        where = f"{row['row']}, {row['column']}"
        assert math.isfinite(row["recomputed"]), where
        assert row["comparable"] == "no", where
        assert "; ".join(reasons) in row["reason"], where
        assert row["printed"] in section, where
    assert section.count('<span class="failed">not comparable</span>') >= len(scores)
    for reason in reasons:
        assert reason in section


HEARTS = (
    "budget miniature is not the published one",
    "2 of 5 folds are trained",
    "8 cases are scored here, 20 in the paper",
)
HEADS = (
    "budget miniature is not the published one",
    "the data set is incomplete or another: 9 cases here, 484 published",
)


@pytest.mark.slow
def test_two_methods_of_table_2_on_a_miniature_of_brain_tumours(tmp_path: Path) -> None:
    """From the archive to published beside recomputed values: the quickest of these."""
    project = heads(tmp_path / "project", "dsd_table2")
    keep = ["nnunet_small", "nnunet_small_dsd"]

    def two(value: dict) -> None:
        value.update(methods=keep)
        for row in value["published"]["rows"]:
            if row["method"] not in keep:
                del row["method"]

    project.edit("config/experiments/dsd_table2.yaml", two)
    ran = jobs(project.snakemake())
    assert [phase for phase in CHAIN if phase not in ran] == []
    is_shown(project, "dsd_table2", methods=2, reasons=HEADS)


@pytest.mark.slow
def test_table_1_and_the_missu_row_on_a_miniature_of_whole_hearts(tmp_path: Path) -> None:
    """All methods of Table 1 in two folds, and Table 4, whose other rows are runs of Table 1."""
    project = hearts(tmp_path / "project", "dsd_table1", "dsd_table4_mmwhs", folds=[0, 1])
    ran = jobs(project.snakemake(timeout=3000))
    assert ran.count("train") == 4 * 2 + 1
    split = tables.read("split", project.path / "data/splits/mmwhs_ct/dsd.csv")
    for fold in range(5):
        scored = split[(split["fold"] == fold) & (split["role"] == "val")]["case"]
        assert sorted(scored) == [f"ct_train_{1001 + 4 * fold + n}" for n in range(4)]
    scores = (project.path / "scores").rglob("*.csv")
    assert {path.name for path in scores} == {"val-last-prepared-none.csv"}
    is_shown(project, "dsd_table1", methods=4, reasons=HEARTS)
    is_shown(project, "dsd_table4_mmwhs", methods=3, reasons=HEARTS[:1])
    assert "Nothing to be done" in project.snakemake()


@pytest.mark.slow
def test_table_2_on_a_miniature_of_brain_tumours_and_v_net(tmp_path: Path) -> None:
    """Every network of Table 2 and the V-Net of Table 3, on test cases and the native grid."""
    project = heads(tmp_path / "project", "dsd_table2")
    project.edit("config/experiments/dsd_table2.yaml", lambda v: v["methods"].append("vnet_dsd"))
    ran = jobs(project.snakemake(timeout=3000))
    assert ran.count("train") == 13
    split = tables.read("split", project.path / "data/splits/msd_brats/dsd.csv")
    assert sorted(split[split["role"] == "test"]["case"]) == ["BRATS_008", "BRATS_009"]
    is_shown(project, "dsd_table2", methods=12, reasons=HEADS)
    assert "Nothing to be done" in project.snakemake()


def test_all_tables_of_the_paper_are_planned_without_data_each_training_once(tmp_path: Path) -> None:
    """A dry run of every table names each run once, however many tables show it."""
    project = make_configured(tmp_path / "project")
    tables_of_paper = sorted(path.stem for path in (project.path / "config/experiments").glob("dsd_*.yaml"))
    output = project.snakemake("-n", "--config", f"experiments={','.join(tables_of_paper)}")
    trained = re.findall(r"^    output: checkpoints/(\S+)/weights\.safetensors", output, flags=re.M)
    asked = [run for name in tables_of_paper for run in runs.runs_of(name, budget="smoke", seeds=[0])]
    assert len(asked) > len(set(asked))  # Table 5 shows what Table 1 trains
    assert sorted(trained) == sorted(map(str, set(asked)))
    assert jobs(output).count("train") == len(trained)
    assert not (project.path / "data").exists()
