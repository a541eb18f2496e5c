"""Each layout that add-dataset knows: recognised, read, and nothing else taken for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import miniatures
from folders import disc, pairs, save, shot
from segtrace import datasets, images
from segtrace.add_dataset import recognise
from segtrace.add_dataset.proposal import Proposal
from segtrace.errors import SegtraceError

NAMES = [f"scan ({n})" for n in range(1, 7)]


def placed(proposal: Proposal, root: Path) -> Path:
    for place, source in proposal.files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(source.read_bytes())
    return root


def labels_read(proposal: Proposal, root: Path) -> dict[str, list[int]]:
    """Case → label values, as the reader that was proposed finds them."""
    reader = datasets.reader(proposal.reader)
    found = {}
    for case in reader.cases(placed(proposal, root), proposal.options):
        image = reader.read_image(root, case, proposal.options)
        label = reader.read_label(root, case, proposal.options)[0]
        assert image.GetNumberOfComponentsPerPixel() == len(proposal.channels)
        assert not images.grid_of(image).differences(images.grid_of(label))
        found[case.case] = np.unique(images.to_array(label)).tolist()
    return found


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.png", "{}_mask.png"),
        ("{}.png", "{}-seg.png"),
        ("{}.jpg", "{}_GT.png"),
        ("{}.tif", "{} (outline by hand).bmp"),
        ("{}_image.png", "{}_label.png"),
        ("img_{}.png", "mask_{}.png"),
        ("{}/picture.png", "{}/truth.gif"),
        ("images/{}.png", "masks/{}.png"),
        ("A/{}.PNG", "B/{}.png"),
        ("train/x/{}.jpg", "train/y/{}_segmentation.png"),
        ("{}.png", "contours/{}.png"),
        ("photos/p_{}.png", "hand/h_{}.png"),
    ],
)
def test_pairs_are_found_by_their_names(image: str, mask: str, folder: Path, tmp_path: Path) -> None:
    pairs(folder, NAMES, image=image, mask=mask)
    proposal = recognise.recognise(folder)
    assert (proposal.reader, proposal.dimensions, proposal.labels) == ("pairs", 2, {1: "foreground"})
    assert proposal.channels == ["grey"]
    assert proposal.problems == []
    found = labels_read(proposal, tmp_path / "new")
    assert len(found) == 6
    assert set(map(tuple, found.values())) == {(0, 1)}
    for place, source in proposal.files.items():
        mask_names = mask.format("*").split("/")[-1]
        assert place.startswith("masks/") == (
            source in set(folder.rglob(mask_names)) and source.match(mask.replace("{}", "*"))
        )


def test_masks_of_two_sources_may_have_two_suffixes(folder: Path, tmp_path: Path) -> None:
    pairs(folder, [f"MC_{n}" for n in range(8)], image="cxr/{}.png", mask="masks/{}.png")
    pairs(folder, [f"CH_{n}" for n in range(5)], image="cxr/{}.png", mask="masks/{}_mask.png")
    save(folder / "cxr/CH_9.png", shot(9))
    proposal = recognise.recognise(folder)
    assert proposal.problems == ["cxr/CH_9.png: has no mask; left out"]
    assert len(labels_read(proposal, tmp_path / "new")) == 13


def test_two_folders_of_images_are_no_masks(folder: Path) -> None:
    for number in range(6):
        save(folder / f"monday/{number}.png", shot(number))
        save(folder / f"tuesday/{number}.png", shot(100 + number))
    with pytest.raises(
        SegtraceError, match=r"(?s)no layout is recognised.*monday: 6 × .png.*Layouts that are known"
    ):
        recognise.recognise(folder)


@pytest.mark.parametrize("parts", [("benign", "malignant"), ("train", "test")])
def test_classes_with_images_and_masks_each_are_not_taken_for_the_two_folders(
    parts: tuple[str, str], folder: Path, tmp_path: Path
) -> None:
    for part in parts:
        pairs(folder / part, NAMES, image="images/{}.png", mask="masks/{}.png")
    proposal = recognise.recognise(folder)
    assert proposal.problems == []
    assert len(labels_read(proposal, tmp_path / "new")) == 12


def test_a_value_in_few_masks_is_named_with_these_masks(folder: Path) -> None:
    pairs(folder, [f"f{n:02d}" for n in range(20)])
    for number, value in ((3, 7), (5, 7), (8, 100)):
        mask = disc(number)
        mask[:3, :9] = value
        save(folder / f"f{number:02d}_mask.png", mask)
    lines = recognise.recognise(folder).problems
    assert lines[-2:] == [
        "value 7 is in 2 of 20 masks only: f03_mask.png, f05_mask.png; mend them if it is a slip",
        "value 100 is in 1 of 20 masks only: f08_mask.png; mend them if it is a slip",
    ]


@pytest.mark.parametrize(
    ("stored", "labels", "options"),
    [
        ([0, 1], {1: "foreground"}, {}),
        ([0, 255], {1: "foreground"}, {"values": {255: 1}}),
        (
            [0, 60, 130, 200],
            {1: "label_60", 2: "label_130", 3: "label_200"},
            {"values": {60: 1, 130: 2, 200: 3}},
        ),
        ([0, 1, 2], {1: "label_1", 2: "label_2"}, {}),
    ],
)
def test_label_values_are_found_by_reading_all_masks(
    stored: list[int], labels: dict[int, str], options: dict, folder: Path, tmp_path: Path
) -> None:
    for number in range(6):
        save(folder / f"{number}.png", shot(number))
        mask = np.zeros((40, 48), np.uint8)
        value = stored[1 + number % (len(stored) - 1)]
        mask[:10] = value
        save(folder / f"{number}_mask.png", mask)
    proposal = recognise.recognise(folder)
    assert (proposal.labels, proposal.options) == (labels, options)
    assert set().union(*labels_read(proposal, tmp_path / "new").values()) == {0, *labels}


def test_smoothed_masks_are_told_and_many_greys_are_refused(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        save(folder / f"{number}.png", shot(number))
        smooth = Picture.fromarray(disc(number)).resize((96, 80), Picture.Resampling.BICUBIC)
        smooth.resize((48, 40), Picture.Resampling.BICUBIC).save(folder / f"{number}_mask.jpg", quality=60)
    proposal = recognise.recognise(folder)
    assert proposal.options == {"threshold": 128}
    assert "greys from 128 on are taken" in proposal.problems[0]
    assert set(map(tuple, labels_read(proposal, tmp_path / "new").values())) == {(0, 1)}
    for number in range(4):
        Picture.fromarray(shot(50 + number)).save(folder / f"{number}_mask.jpg")
    with pytest.raises(SegtraceError, match="values besides 0"):
        recognise.recognise(folder)


def test_colours_of_images_and_masks(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        grey = shot(number)
        colour = np.stack([grey, grey // 2, grey // 3], -1)
        save(folder / f"{number}.png", colour if number else grey)
        mask = np.zeros((40, 48, 3), np.uint8)
        mask[:9] = (255, 0, 0)
        mask[20:30] = (0, 0, 255)
        save(folder / f"{number}_mask.png", mask)
    proposal = recognise.recognise(folder)
    assert proposal.channels == ["red", "green", "blue"]
    assert proposal.options == {"colours": "rgb", "values": {"#0000ff": 1, "#ff0000": 2}}
    assert set(map(tuple, labels_read(proposal, tmp_path / "new").values())) == {(0, 1, 2)}


def volume(path: Path, *, value: int = 0, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (
        miniatures.box((6, 8, 10), (1, 4), (2, 6), (3, 7), value=value)
        if value
        else miniatures.noise(6, 8, 10, seed=seed)
    )
    path.write_bytes(miniatures.nifti(array, (1.0, 1.0, 2.0)))


@pytest.mark.parametrize("version", [1, 2])
def test_nnunets_layout_with_channels_and_labels(version: int, folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        for channel in range(2):
            volume(folder / f"imagesTr/liver_{number:03d}_{channel:04d}.nii.gz", seed=10 * number + channel)
        volume(folder / f"labelsTr/liver_{number:03d}.nii.gz", value=3)
    volume(folder / "imagesTr/liver_009_0000.nii.gz")
    volume(folder / "imagesTs/liver_100_0000.nii.gz")
    described = (
        {"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "liver", "3": "tumour"}}
        if version == 1
        else {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "liver": 1, "tumour": 3}}
    )
    (folder / "dataset.json").write_text(json.dumps(described))
    proposal = recognise.recognise(folder)
    assert (proposal.reader, proposal.dimensions, proposal.channels) == ("nnunet", 3, ["T1", "T2"])
    assert proposal.labels == {1: "liver", 2: "tumour"}
    assert proposal.options == {"values": {1: 1, 3: 2}}
    assert [p for p in proposal.problems if "liver_009" in p and "no label" in p]
    assert [p for p in proposal.problems if "imagesTs: 1 images" in p]
    assert labels_read(proposal, tmp_path / "new") == {f"liver_{n:03d}": [0, 2] for n in range(4)}


def test_nnunets_reader_names_missing_channels_and_partners(folder: Path) -> None:
    for name in (
        "imagesTr/a_0000",
        "imagesTr/a_0001",
        "imagesTr/b_0000",
        "imagesTr/d_0000",
        "labelsTr/a",
        "labelsTr/b",
        "labelsTr/c",
    ):
        volume(folder / f"{name}.nii.gz")
    with pytest.raises(SegtraceError) as raised:
        datasets.reader("nnunet").cases(folder, {"keep_names": True})
    for part in (
        "3 problems",
        "b.nii.gz: its image has 1 channels, others have 2",
        "c.nii.gz: has no image",
        "d_0000.nii.gz: has no label",
    ):
        assert part in str(raised.value)


def bids(folder: Path, subjects: list[str]) -> None:
    for n, subject in enumerate(subjects):
        for visit in ("1", "2"):
            base = f"sub-{subject}/ses-{visit}/anat/sub-{subject}_ses-{visit}"
            volume(folder / f"{base}_T1w.nii.gz", seed=10 * n + int(visit))
            volume(folder / f"{base}_T2w.nii.gz", seed=500 + 10 * n + int(visit))
            volume(folder / f"derivatives/manual/{base}_desc-expert_dseg.nii.gz", value=4)
    (folder / "derivatives/manual/desc-expert_dseg.tsv").write_text(
        "index\tname\n0\tbackground\n4\tputamen\n9\tother\n"
    )


def test_bids_with_sessions_that_share_the_subject(folder: Path, tmp_path: Path) -> None:
    bids(folder, ["01", "02", "03"])
    volume(folder / "sub-04/anat/sub-04_T1w.nii.gz")
    proposal = recognise.recognise(folder)
    assert (proposal.reader, proposal.channels, proposal.labels) == ("bids", ["T1w"], {1: "putamen"})
    assert [p for p in proposal.problems if "sub-04_T1w.nii.gz: has no label map" in p]
    assert [p for p in proposal.problems if p.startswith("images T2w: not taken in")]
    assert labels_read(proposal, tmp_path / "new") == {
        f"sub-0{n}_ses-{v}": [0, 1] for n in (1, 2, 3) for v in (1, 2)
    }
    found = datasets.reader("bids").cases(tmp_path / "new", proposal.options)
    assert sorted({case.subject for case in found}) == ["sub-01", "sub-02", "sub-03"]


def test_bids_by_hand_with_several_channels(folder: Path) -> None:
    bids(folder, ["01"])
    options = {"images": ["*_T1w", "*_T2w"], "labels": "*_dseg", "values": {4: 1}}
    first = datasets.reader("bids").cases(folder, options)[0]
    assert datasets.reader("bids").read_image(folder, first, options).GetNumberOfComponentsPerPixel() == 2
    volume(folder / "derivatives/other/sub-01_ses-1_dseg.nii.gz", value=4)
    with pytest.raises(SegtraceError, match="label maps of one image; narrow"):
        datasets.reader("bids").cases(folder, options)


@pytest.mark.parametrize(
    ("names", "subjects"),
    [
        ([f"p{p:03d}_slice_{s:02d}" for p in (12, 13, 14) for s in (1, 2)], ["p012", "p013", "p014"]),
        (
            [f"patient {p}/shot {s}" for p in (1, 2, 3) for s in (1, 2)],
            ["patient_1", "patient_2", "patient_3"],
        ),
        ([f"day1_{s}" for s in range(6)], None),
        ([f"ISIC_{s:07d}" for s in range(6)], None),
    ],
)
def test_subjects_by_the_first_number_or_the_folder(
    names: list[str], subjects: list[str] | None, folder: Path, tmp_path: Path
) -> None:
    pairs(folder, names)
    proposal = recognise.recognise(folder)
    found = datasets.reader("pairs").cases(placed(proposal, tmp_path / "new"), proposal.options)
    assert sorted({c.subject for c in found}) == (
        sorted(c.case for c in found) if subjects is None else subjects
    )
