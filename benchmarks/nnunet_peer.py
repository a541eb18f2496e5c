"""nnU-Net v2 on a data set: its own fingerprint, plan and preparation, in a folder of its own.

    Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image
    segmentation, Nature Methods 18 (2021), doi:10.1038/s41592-020-01008-z

nnU-Net takes its folders from the environment when it is first imported, so it is imported in here only.
"""

import json
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import measure

ARCHIVE = "Task04_Hippocampus.tar"


@dataclass(frozen=True)
class Planned:
    """A data set as nnU-Net sees it: identifiers with (image files, label file), and its plan."""

    name: str
    raw: Path
    preprocessed: Path
    dataset: dict[str, Any]
    plans: dict[str, Any]
    files: dict[str, tuple[list[str], str]]


def set_folders(work: Path) -> None:
    """Name nnU-Net's folders below ``work``; before its import."""
    for key in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (work / key).mkdir(parents=True, exist_ok=True)
        os.environ[key] = str(work / key)


def hippocampus(mirror: Path, work: Path) -> list[tuple[str, Path, Path]]:
    """(case, image, label) of the Medical Segmentation Decathlon's task 4, unpacked below ``work``."""
    folder = work / "msd"
    if not (folder / "Task04_Hippocampus/dataset.json").is_file():
        with tarfile.open(mirror / ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
    labels = sorted((folder / "Task04_Hippocampus/labelsTr").glob("[!.]*.nii.gz"))
    return [
        (label.name.removesuffix(".nii.gz"), label.parent.parent / "imagesTr" / label.name, label)
        for label in labels
    ]


def plan(
    name: str,
    cases: Sequence[tuple[str, Path, Path]],
    work: Path,
    *,
    channels: Sequence[str],
    labels: Mapping[str, int],
    ending: str,
) -> Planned:
    """nnU-Net's own fingerprint and plan of ``cases``, as ``nnUNetv2_plan_and_preprocess --no_pp`` makes them."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    raw, preprocessed = work / "nnUNet_raw" / name, work / "nnUNet_preprocessed" / name
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    dataset = {
        "channel_names": {str(n): channel for n, channel in enumerate(channels)},
        "labels": {"background": 0, **labels},
        "numTraining": len(cases),
        "file_ending": ending,
        "dataset": {case: {"images": [str(image)], "label": str(label)} for case, image, label in cases},
    }
    (raw / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    number = int(name[7:10])
    threads = torch.get_num_threads()
    os.environ["nnUNet_n_proc_DA"] = "1"  # the planner takes it for the number of threads
    with measure.quiet():
        DatasetFingerprintExtractor(number, num_processes=1).run()
        plans = ExperimentPlanner(number).plan_experiment()
    torch.set_num_threads(threads)
    return Planned(
        name,
        raw,
        preprocessed,
        dataset,
        json.loads(json.dumps(plans)),
        {case: ([str(image)], str(label)) for case, image, label in cases},
    )


def plan_hippocampus(name: str, cases: Sequence[tuple[str, Path, Path]], work: Path) -> Planned:
    """:func:`plan` of hippocampus volumes."""
    labels = {"anterior": 1, "posterior": 2}
    return plan(name, cases, work, channels=["MRI"], labels=labels, ending=".nii.gz")
