"""The panel: cases chosen by rule, contours midway between pixels, what is absent is named."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segtrace.aggregation import CaseValue
from segtrace.report import choice, panels
from segtrace.report.cases import Case, Scene


def chosen(table: dict[str, list[float | None]]) -> list[tuple[str, tuple[str, ...]]]:
    """Cases and reasons for Dice values by method; cases are named a, b, c, …"""
    values = [
        CaseValue(method=method, case="abcdefgh"[i], label=1, metric="dice", value=value)
        for method, row in table.items()
        for i, value in enumerate(row)
    ]
    subject = SimpleNamespace(methods=dict.fromkeys(table), main_label=1)
    found = choice.side_by_side(subject, SimpleNamespace(values=values))
    assert len({entry.case for entry in found}) == len(found)
    return [(entry.case, entry.reasons) for entry in found]


def test_best_median_worst_and_disagreements_are_chosen_once_with_all_reasons():
    found = chosen(
        {
            #       a     b     c     d     e
            "x": [0.90, 0.70, 0.60, 0.10, 0.80],
            "y": [0.90, 0.70, 0.20, 0.10, 0.45],
            "z": [0.90, 0.10, 0.60, 0.10, 0.60],
        }
    )
    # x leads with 0.62 before y with 0.47
    assert found == [
        ("a", ("best by the mean over methods",)),
        ("b", ("median by the mean over methods", "largest spread of Dice between methods (0.600)")),
        ("d", ("worst by the mean over methods",)),
        ("c", ("largest difference between x and y, which lead by mean Dice (0.400)",)),
    ]


def test_of_equal_cases_the_first_is_taken_and_equal_methods_disagree_nowhere():
    assert chosen({"x": [0.5, 0.5, 0.5, 0.5]}) == [("a", ("best",)), ("b", ("median",))]
    assert chosen({"x": [0.3], "y": [0.3]}) == [("a", ("best by the mean over methods",))]


def test_a_case_that_a_method_has_no_value_of_is_not_compared():
    assert [case for case, _ in chosen({"x": [0.9, 0.5, 0.1], "y": [None, 0.5, 0.3]})] == ["b", "c"]
    assert chosen({"x": [None], "y": [0.5]}) == []


def filled(path: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask that closed contours enclose: pixels whose centre has an odd number of lines to its left."""
    found = np.zeros(shape, int)
    for part in path.split("M")[1:]:
        assert part.endswith("z")
        numbers = part[:-1].split("l")
        x, y = map(int, numbers[0].split())
        for step in numbers[1:]:
            dx, dy = map(int, step.split())
            for row in range(shape[0]):
                level = 2 * row + 1  # the pixels' centre in half pixels
                if min(y, y + dy) <= level < max(y, y + dy):
                    at = x + dx * (level - y) / dy
                    found[row] += 2 * np.arange(shape[1]) + 1 > at
            x, y = x + dx, y + dy
    return found % 2 == 1


def test_contours_enclose_exactly_the_mask():
    draw = np.random.default_rng(3)
    mask = np.zeros((12, 15), np.uint8)
    mask[2:9, 3:12] = draw.integers(0, 2, (7, 9))
    mask[3:6, 4:7] = 3
    made = panels.outlines(mask, {1: "organ", 3: "nodule"})
    assert [line.label for line in made] == [1, 3]
    assert len({line.colour for line in made}) == 2
    for line in made:
        assert (filled(line.path, mask.shape) == (mask == line.label)).all()
    assert panels.outlines(np.zeros((4, 4), np.uint8), {1: "organ"}) == ()


def test_contours_are_open_where_the_picture_ends():
    mask = np.zeros((6, 6), np.uint8)
    mask[:, :3] = 1
    (line,) = panels.outlines(mask, {1: "organ"})
    assert line.path.startswith("M6 ")
    assert "z" not in line.path
    assert line.path.count("l") == 1


def scene(shape: tuple[int, ...], *, spacing: tuple[float, ...]) -> Scene:
    reference, prediction = np.zeros((2, *shape), np.uint8)
    middle = tuple(slice(n // 4, n // 2) for n in shape)
    reference[middle], prediction[middle] = 1, 1
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return Scene(grey, 0.0, 255.0, spacing, reference, {"x": prediction})


def scored() -> panels.Scored:
    return panels.Scored(mean="0.900", labels=((1, "organ", "0.900"),), fold=0, seed=0)


def drawn(made: Scene, problems: dict[str, str] | None = None) -> panels.Row:
    case = Case("case_7", problems=problems or {})
    case.__dict__["scene"] = made
    return panels.row_of(case, scored={"x": scored(), "y": scored()}, labels={1: "organ"})


@pytest.mark.parametrize(
    ("spacing", "place", "sides"),
    [
        ((5.0, 1.0, 1.0), "axial, slice 5 of 12", (24.0, 20.0)),
        ((1.0, 1.0, 1.0), "axial, slice 5 of 12", (24.0, 20.0)),
        ((1.0, 4.0, 1.0), "coronal, slice 8 of 20", (24.0, 12.0)),
        ((1.0, 1.0, 3.0), "sagittal, slice 10 of 24", (20.0, 12.0)),
    ],
)
def test_a_volume_is_shown_in_the_plane_it_was_acquired_in(spacing, place, sides):
    row = drawn(scene((12, 20, 24), spacing=spacing))
    assert row.place == place
    # cut to the labelled box with a margin, which here is half of each side or all that is needed
    assert 0.4 * sides[0] <= row.width <= sides[0]
    assert 0.4 * sides[1] <= row.height <= sides[1]


def test_a_prediction_that_is_not_there_is_named_and_the_others_are_drawn():
    row = drawn(
        scene((20, 24), spacing=(1.0, 1.0)), problems={"y": "the prediction is not on this machine: q"}
    )
    here, absent = row.cells
    assert here.outlines
    assert not here.problem
    assert (absent.outlines, absent.problem) == ((), "the prediction is not on this machine: q")
    assert here.scored.words == "Dice organ 0.900"


def test_pictures_are_bounded():
    row = drawn(scene((2100, 3000), spacing=(1.0, 1.0)))
    picture = Image.open(io.BytesIO(base64.b64decode(row.png.removeprefix("data:image/png;base64,"))))
    assert max(picture.size) == panels.SIDE
    assert row.reduced == 3
    # in the picture's own units the contour lies where the label is, whatever was reduced
    x, y = map(int, row.reference[0].path[1:].split("l")[0].split())
    assert abs(x * row.scale[0] - 1500) <= 3
    assert 525 - 3 <= y * row.scale[1] <= 1050 + 3
