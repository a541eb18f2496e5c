"""nnU-Net v2 on a data set: its own fingerprint, plan and preparation, in a folder of its own.

    Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image
    segmentation, Nature Methods 18 (2021), doi:10.1038/s41592-020-01008-z

nnU-Net takes its folders from the environment when it is first imported, so it is imported in here only.
"""

import copy
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
PROCESSES = "nnUNet_n_proc_DA"


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
    os.environ[PROCESSES] = "1"  # the planner takes it for the number of threads
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


def preprocess(planned: Planned, cases: Sequence[str], configuration: str) -> dict[str, tuple[Any, Any]]:
    """nnU-Net's preparation of ``cases`` where its trainer looks for them; by case, image (C, D, H, W) and label."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(planned.plans)
    chosen = plans.get_configuration(configuration)
    folder = planned.preprocessed / chosen.data_identifier
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (planned.preprocessed / "splits_final.json").unlink(missing_ok=True)
    (planned.preprocessed / "dataset.json").write_text(json.dumps(planned.dataset), encoding="utf-8")
    preprocessor, found = DefaultPreprocessor(verbose=False), {}
    for case in cases:
        images, label = planned.files[case]
        preprocessor.run_case_save(str(folder / case), images, label, plans, chosen, planned.dataset)
        data, seg, _ = preprocessor.run_case(images, label, plans, chosen, planned.dataset)
        found[case] = (data, seg[0])
    return found


def trainer(planned: Planned, configuration: str, *, processes: int) -> Any:
    """nnU-Net's trainer on the CPU, ready for its first step, with ``processes`` that augment (0: in this one)."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    os.environ[PROCESSES] = str(processes)
    plans = copy.deepcopy(planned.plans) | {"continue_training": False}
    with measure.quiet():
        found = nnUNetTrainer(plans, configuration, 0, planned.dataset, torch.device("cpu"))
        found.initialize()
        found.dataloader_train, found.dataloader_val = found.get_dataloaders()
        found.set_deep_supervision_enabled(found.enable_deep_supervision)
    found.network.train()
    return found
