"""Corrupted variants: segmented with the same weights, kept beside the clean ones, and the same every time."""

import numpy as np
import pytest

from segtrace import files, images, layout, store, tables
from segtrace.corruption import corrupted
from segtrace.geometry import Grid
from segtrace.predict import cases

CLEAN = "test-last-native-none"
NAMES = ("noise_0.5", "blur_1", "contrast_0.5", "scale_0.5")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_each_corruption_is_a_variant_of_its_own_on_the_native_grid(request, monkeypatch, dimensions) -> None:
    project = request.getfixturevalue("pictures" if dimensions == 2 else "volumes")
    before = {path.name: path.read_bytes() for path in project.predict(CLEAN).iterdir()}
    record = files.read_json(project.prepared / "a.json")
    native, prepared = (Grid.from_json(record[f"{name}_grid"]) for name in ("native", "prepared"))
    clean = np.array(store.open_case(project.prepared, "a").image)
    seen, own = [], cases.labels_of

    def watched(networks, image, **options):
        seen.append((image, options["prepared"], options["target"]))
        return own(networks, image, **options)

    monkeypatch.setattr(cases, "labels_of", watched)
    for name in NAMES:
        seen.clear()
        folder = project.predict(f"test-last-native-{name}")
        table = tables.read("predictions", folder / "predictions.csv")
        assert table["case"].tolist() == ["a", "b", "c"]
        assert table["sha256"].tolist() == [files.sha256_file(folder / file) for file in table["file"]]
        if dimensions == 3:
            assert images.grid_of(images.read_volume(folder / "a.nii.gz")).differences(native) == []
        else:
            assert images.read_picture(folder / "a.png").shape == native.array_shape
        image, grid = corrupted(clean, prepared, name, case="a")
        np.testing.assert_array_equal(seen[0][0], image)
        assert seen[0][1:] == (grid, native)
        assert image.shape != clean.shape or (image != clean).any()
    assert {path.name: path.read_bytes() for path in project.folder(CLEAN).iterdir()} == before


def test_noise_is_the_same_again_and_in_any_order(pictures) -> None:
    folder = pictures.predict("test-last-native-noise_0.5")
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    (folder / "b.png").unlink()  # one case alone, as after a kill
    pictures.predict("test-last-native-noise_0.5")
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == before


def test_another_scale_on_the_prepared_grid(pictures) -> None:
    folder = pictures.predict("test-last-prepared-scale_1.5")
    assert images.read_picture(folder / "a.png").shape == (14, 10)


def test_a_network_of_one_size_takes_another_scale_in_windows(pictures, monkeypatch) -> None:
    load, seen = cases.load_network, []

    def fixed(*arguments, **options):
        network = load(*arguments, **options)
        network.fixed_size = (16, 16)
        network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
        return network

    monkeypatch.setattr(cases, "load_network", fixed)
    pictures.predict("test-last-native-scale_2")
    assert set(seen) == {(16, 16)}


def test_a_strength_that_is_not_written_as_it_is_named_is_refused(pictures, capsys) -> None:
    from segtrace.cli import main

    assert main(["predict", str(pictures.run), "test-last-native-noise_0.50"]) == 1
    assert "no corruption 'noise_0.50'" in capsys.readouterr().err
    assert not layout.predictions(pictures.run, "test-last-native-noise_0.50").exists()
