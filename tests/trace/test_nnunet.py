"""Data sets in nnU-Net's layout: what is read back is what the reader gives, and cases are where the protocol has them."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image as Picture

from segtrace import cli, datasets, images, layout, tables
from segtrace.config import load
from segtrace.config.data_models import Dataset
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.trace.export import nnunet

ROOT = Path(__file__).parents[2]
SIZES = {"phantom2d": {"subjects": 12, "frames": 2}, "phantom3d": {"subjects": 8, "scans": 1}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with both phantoms, indexed and split."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "config", folder / "config")
    for name, sizes in SIZES.items():
        path = folder / f"config/datasets/{name}.yaml"
        content = yaml.safe_load(path.read_text())
        content["options"] = {"seed": 1, **sizes}
        content["gate"] = {"empty_masks": [0.0, 1.0]}
        content["redistribution"] = name == "phantom2d"
        content["protocols"]["folds"] = {"kind": "k_fold", "folds": 2, "validation_fraction": 0.3}
        content["protocols"]["none"] = content["protocols"]["random"] | {"validation_fraction": 0.0}
        path.write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in SIZES:
            assert cli.main(["acquire", name]) == 0
            assert cli.main(["index", name, "--workers", "1"]) == 0
            for protocol in ("random", "folds", "none") if name == "phantom2d" else ("random",):
                assert cli.main(["split", name, protocol]) == 0, protocol
    return folder


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def read_back(path: Path) -> sitk.Image:
    if path.suffix == ".png":
        return images.picture_image(np.asarray(Picture.open(path)))
    return images.read_volume(path)


@pytest.mark.parametrize(("name", "ending"), [("phantom2d", ".png"), ("phantom3d", ".nii.gz")])
def test_read_back_it_is_what_the_reader_gives(
    name: str, ending: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "--nnunet", name, "--output", str(tmp_path), "--protocol", "random"]) == 0
    said = capsys.readouterr().out
    data = load.dataset(name)
    assert ("do not hand these files on" in said) == (not data.redistribution)
    folder = tmp_path / f"Dataset501_{name}"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    description = json.loads((folder / "dataset.json").read_text())
    roles = {
        row["case"]: row["role"]
        for row in tables.read("split", layout.split(name, "random")).to_dict("records")
    }
    cases = datasets.reader(name).cases(layout.raw(name), data.options)
    assert {case.case for case in cases} == set(roles)
    for case in cases:
        side = "Ts" if roles[case.case] == "test" else "Tr"
        for kind, read in (
            (
                f"images{side}/{case.case}_0000",
                datasets.reader(name).read_image(layout.raw(name), case, data.options),
            ),
            (
                f"labels{side}/{case.case}",
                datasets.reader(name).read_label(layout.raw(name), case, data.options)[0],
            ),
        ):
            found = read_back(folder / f"{kind}{ending}")
            np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(read))
            assert images.grid_of(found).differences(images.grid_of(read), tolerance_mm=1e-4) == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 2 * len(cases) + 2
    training = [case for case, role in roles.items() if role != "test"]
    assert description["numTraining"] == len(training) == len(list((folder / "imagesTr").iterdir()))
    assert len(list((folder / "imagesTs").iterdir())) == list(roles.values()).count("test") > 0
    assert description["labels"] == {"background": 0} | {text: value for value, text in data.labels.items()}
    assert description["channel_names"] == {"0": data.channels[0]}
    assert description["file_ending"] == ending
    assert description.get("overwrite_image_reader_writer") == (
        "NaturalImage2DIO" if ending == ".png" else None
    )
    assert data.licence in description["licence"]
    (split,) = json.loads((folder / "splits_final.json").read_text())
    assert {role: sorted(c for c, r in roles.items() if r == role) for role in ("train", "val")} == split


def test_two_exports_are_the_same_bytes_and_nothing_is_overwritten(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in ("7", "8"):
        command = ["export", "--nnunet", "phantom2d", "--output", str(tmp_path), "--number", number]
        assert cli.main(command) == 0
    first, second = tmp_path / "Dataset007_phantom2d", tmp_path / "Dataset008_phantom2d"
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert not (first / "splits_final.json").exists()
    assert list((first / "imagesTs").iterdir()) == []
    capsys.readouterr()
    assert cli.main(["export", "--nnunet", "phantom3d", "--output", str(tmp_path), "--number", "7"]) == 1
    assert "Dataset007_phantom2d is there already" in capsys.readouterr().err


def test_in_a_protocol_of_several_folds_each_case_is_judged_once(project: Path, tmp_path: Path) -> None:
    assert (
        cli.main(["export", "--nnunet", "phantom2d", "--output", str(tmp_path), "--protocol", "folds"]) == 0
    )
    folder = tmp_path / "Dataset501_phantom2d"
    splits = json.loads((folder / "splits_final.json").read_text())
    roles = tables.read("split", layout.split("phantom2d", "folds")).to_dict("records")
    assert len(splits) == 2
    judged = [case for split in splits for case in split["val"]]
    assert sorted(judged) == sorted({row["case"] for row in roles})
    for fold, split in enumerate(splits):
        assert set(split["train"]) == {r["case"] for r in roles if (r["fold"], r["role"]) == (fold, "train")}
    assert list((folder / "imagesTs").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --output"),
        (["--output", "o", "--number", "1000"], "from 1 to 999"),
        (["--output", "o", "--protocol", "none"], "fold 0 has no val cases"),
        (["--output", "o", "--protocol", "randm"], "did you mean 'random'"),
        (["--output", "o", "--with", "predictions"], "--with does not go with --nnunet"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(
    arguments: list[str], message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "--nnunet", "phantom2d", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (project / "o").exists() or not any((project / "o").iterdir())


def test_what_does_not_hold_is_refused_and_a_damaged_case_leaves_nothing(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "project"
    shutil.copytree(project, copied)
    monkeypatch.chdir(copied)
    raw = next((copied / "data/raw/phantom3d/labels").iterdir())
    raw.write_bytes(raw.read_bytes()[:-100])
    command = ["export", "--nnunet", "phantom3d", "--output", str(tmp_path / "out")]
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert "its index does not hold" in said
    assert "inputs.raw" in said
    monkeypatch.setattr(nnunet, "refuse_broken", lambda *_, **__: None)
    assert cli.main(command) == 1
    assert raw.name in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "shape", "ending", "stored"),
    [
        (np.uint16, (3, 4, 5), ".png", np.uint16),
        (np.uint8, (1, 4, 5), ".png", np.uint8),
        (np.float32, (1, 4, 5), ".nii.gz", np.float32),
        (np.uint16, (2, 3, 4, 5), ".nii.gz", np.int32),
        (np.float64, (1, 3, 4, 5), ".nii.gz", np.float32),
    ],
)
def test_each_channel_is_a_file_in_a_type_that_holds_it(
    kind: type,
    shape: tuple[int, ...],
    ending: str,
    stored: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n = len(shape) - 1
    size = tuple(reversed(shape[1:]))
    turned = np.eye(n)[:, ::-1] * ([1] * (n - 1) + [-1])
    plain = ending == ".png"
    grid = Grid(
        size,
        (1.0,) * n if plain else (0.5, 0.75, 2.0)[:n],
        (0.0,) * n if plain else (1.0, -2.0, 3.0)[:n],
        tuple((np.eye(n) if plain else turned).ravel()),
    )
    values = (np.arange(np.prod(shape)).reshape(shape) * (1000 if kind == np.uint16 else 1)).astype(kind)
    image = images.from_array(values, grid)
    label = images.from_array(np.ones(shape[1:], np.uint8), grid)
    reader = SimpleNamespace(read_image=lambda *_: image, read_label=lambda *_: (label, []))
    monkeypatch.setattr(datasets, "reader", lambda _: reader)
    case = Case("a", "a", (), ())
    nnunet.write_case(nnunet.Work("x", {}, tmp_path, case, tmp_path / "a", tmp_path / "label", ending))
    for number, channel in enumerate(values):
        back = read_back(tmp_path / f"a_{number:04d}{ending}")
        array = sitk.GetArrayFromImage(back)
        assert array.dtype == stored
        np.testing.assert_array_equal(array.reshape(channel.shape), channel)
        if n == 2 and not plain:
            assert back.GetSpacing() == pytest.approx((0.5, 0.75, 999 * 0.75))  # one slice, never cut across
            np.testing.assert_allclose(np.reshape(back.GetDirection(), (3, 3))[:2, :2], turned, atol=1e-6)
        elif n == 3:
            assert images.grid_of(back).differences(grid, tolerance_mm=1e-4) == []
    assert len(list(tmp_path.iterdir())) == len(values) + 1


def test_names_are_safe_and_differ() -> None:
    assert nnunet._names(["a.b", "c-1_2"]) == {"a.b": "a_b", "c-1_2": "c-1_2"}
    with pytest.raises(SegtraceError, match=r"a\.b and A_b would both be 'a_b'"):
        nnunet._names(["a.b", "A_b"])


def test_labels_that_nnunet_takes_otherwise_are_refused() -> None:
    data = load.validate(
        Dataset,
        {
            "title": "t", "dimensions": 2, "modality": "CT", "licence": "l", "access": "embedded", "channels": ["x"],
            "labels": {1: "ignore"}, "recipes": {}, "protocols": {},
        },
        where="x",
    )  # fmt: skip
    with pytest.raises(SegtraceError, match="not background or ignore"):
        nnunet._description("x", data, training=1, ending=".png")
    fine = nnunet._description("x", data.model_copy(update={"labels": {1: "a"}}), training=1, ending=".png")
    assert fine["channel_names"] == {"0": "CT"}


def test_options_of_the_other_form_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "--ro-crate", "demo_2d", "--protocol", "random"]) == 1
    assert "--protocol does not go with --ro-crate" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # neither form
        cli.main(["export", "demo_2d"])
