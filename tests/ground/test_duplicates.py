"""Pairs of duplicates, their contradictions and their groups."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segtrace import duplicates, fingerprints, likeness, tables
from segtrace.fingerprints import SIDE
from textures import picture

NONE = np.zeros((90, 130), np.uint8)


def row(case: str, **changes) -> dict:
    values = {
        "case": case,
        "group": "",
        "image_sha256": f"bytes of {case}",
        "pixels_sha256": f"pixels of {case}",
        "voxels": json.dumps({"0": 90, "1": 10}),
    }
    return values | changes


def greys(*images: np.ndarray) -> np.ndarray:
    return np.stack([fingerprints.thumbnails(image[None], NONE)[0] for image in images])


# --- groups -------------------------------------------------------------------------------------------


def test_groups_are_transitive_and_named_by_their_first_case():
    cases = ["a", "b", "c", "d", "e", "f"]
    assert duplicates.groups(cases, [("c", "f"), ("f", "b"), ("e", "d")]) == ["a", "b", "b", "d", "d", "b"]
    assert duplicates.groups(cases, []) == cases
    assert duplicates.groups([], []) == []


@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), order=st.randoms())
@settings(max_examples=60, deadline=None)
def test_groups_are_the_components_whatever_the_order(pairs, order):
    cases = [f"c{n}" for n in range(10)]
    joined = [(cases[one], cases[other]) for one, other in pairs]
    found = dict(zip(cases, duplicates.groups(cases, joined), strict=True))
    reached = {case: {case} for case in cases}
    for _ in cases:
        for one, other in joined:
            reached[one] |= reached[other]
            reached[other] |= reached[one]
        for case in cases:
            reached[case] = set().union(*(reached[other] for other in reached[case]))
    assert found == {case: min(reached[case]) for case in cases}
    shuffled = order.sample(cases, len(cases))
    again = duplicates.groups(shuffled, order.sample(joined, len(joined)))
    assert dict(zip(shuffled, again, strict=True)) == found


# --- pairs --------------------------------------------------------------------------------------------


def test_copies_pair_with_the_first_of_their_equals_by_the_surest_kind():
    rows = [
        row("a"),
        row("b", image_sha256="bytes of a", pixels_sha256="pixels of a"),
        row("c", pixels_sha256="pixels of a"),
        row("d"),
    ]
    assert duplicates.copies(rows) == [(0, 1, "bytes"), (0, 2, "pixels")]


@pytest.mark.parametrize(
    ("one", "other", "dice", "expected"),
    [
        ({}, {}, 0.9, ""),
        ({}, {}, duplicates.DICE, ""),
        ({}, {}, 0.69, "masks differ"),
        ({}, {"voxels": '{"0": 100, "1": 0}'}, 0.0, "one mask is empty"),
        ({"voxels": '{"0": 100, "1": 0}'}, {"voxels": '{"0": 100, "1": 0}'}, math.nan, ""),
        ({"group": "benign"}, {"group": "malignant"}, 0.95, "classes differ"),
        ({"group": "benign"}, {"voxels": '{"0": 100}'}, 0.0, "classes differ; one mask is empty"),
    ],
)
def test_labels_contradict_each_other_by_class_emptiness_or_dice(one, other, dice, expected):
    first, second = row("a", **one), row("b", **other)
    assert duplicates.contradiction(first, second, dice=dice) == expected
    assert duplicates.contradiction(second, first, dice=dice) == expected


def test_planted_copies_are_found_in_their_placement_and_nothing_else():
    images = [picture(seed) for seed in range(8)]
    planted = {
        8: (0, "flipped left-right", images[0][:, ::-1]),
        9: (1, "turned clockwise", np.rot90(images[1], -1)),
        10: (2, "none", ndimage.zoom(images[2], 0.7, order=1)),
        11: (3, "none", images[3][3:-2, 4:-3]),
        12: (4, "none", images[4][4:, 6:]),
        13: (5, "none", np.clip(images[5] * 1.1, 0, 255)),
        14: (
            6,
            "flipped up-down",
            images[6][::-1][2:-2, 3:-3] + np.random.default_rng(0).normal(0, 4, (86, 124)),
        ),
    }
    found = duplicates.near(greys(*images, *(image for _, _, image in planted.values())))
    told = {(pair["first"], pair["second"]): fingerprints.TRANSFORMS[pair["transform"]] for pair in found}
    assert told == {(first, second): name for second, (first, name, _) in planted.items()}
    assert all(pair["correlation"] >= duplicates.CONFIRMED for pair in found)


def test_a_common_outline_makes_no_duplicates():
    """A field of view with sharp borders, the same in all images, around detail that differs."""
    inside = np.hypot(*(np.indices((90, 130)) - np.array([44.5, 64.5])[:, None, None])) < 42
    found = duplicates.near(greys(*(np.where(inside, 120 + picture(seed) // 4, 0) for seed in range(6))))
    assert found == []


def test_images_that_show_nothing_are_no_near_duplicates():
    assert duplicates.near(greys(NONE, NONE + 9, NONE + 80)) == []
    assert duplicates.near(np.zeros((0, SIDE, SIDE), np.uint8)) == []


def mask(top: int, left: int, size: int = 30) -> np.ndarray:
    made = NONE.copy()
    made[top : top + size, left : left + size] = 1
    return made


def test_masks_are_compared_where_the_images_lie_on_each_other():
    image, other = picture(1), picture(2)
    cases = [
        (image, mask(20, 30)),
        (image[::-1, ::-1], mask(20, 30)[::-1, ::-1]),
        (image[3:-3, 4:-4], mask(20, 30)[3:-3, 4:-4]),
        (other, mask(20, 30)),
        (other[:, ::-1], mask(20, 30)),
        (other.T, NONE.T),
    ]
    thumbnails = np.stack([fingerprints.thumbnails(shown[None], label) for shown, label in cases])
    rows = [row(f"c{n}") for n in range(5)] + [row("c5", voxels='{"0": 100}')]
    pairs = duplicates.pairs(rows, thumbnails)
    found = {(pair["first"], pair["second"]): pair for pair in pairs}
    assert set(found) == {("c0", "c1"), ("c0", "c2"), ("c1", "c2"), ("c3", "c4"), ("c3", "c5"), ("c4", "c5")}
    assert found["c0", "c1"]["mask_dice"] == 1.0
    assert found["c0", "c2"]["mask_dice"] > 0.93
    assert found["c1", "c2"]["transform"] == "turned by 180"
    assert found["c3", "c4"]["contradiction"] == "masks differ"
    assert found["c3", "c5"]["contradiction"] == "one mask is empty"
    assert (found["c0", "c1"]["hamming"], found["c0", "c1"]["kind"]) == (0, "near")


def test_a_copy_is_compared_with_its_first_alone_and_the_table_is_the_same_every_time(tmp_path):
    image = picture(3)
    thumbnails = np.stack([fingerprints.thumbnails(i[None], mask(5, 5)) for i in (image, image, image[::-1])])
    rows = [row("a"), row("b", image_sha256="bytes of a"), row("c")]
    for name in ("one.csv", "other.csv"):
        tables.write("duplicates", duplicates.pairs(rows, thumbnails), tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()
    told = tables.read("duplicates", tmp_path / "one.csv")
    assert told[["first", "second", "kind"]].to_numpy().tolist() == [["a", "b", "bytes"], ["a", "c", "near"]]
    tables.write("duplicates", [], tmp_path / "none.csv")
    assert tables.read("duplicates", tmp_path / "none.csv").empty


# --- large sets ---------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), count=st.integers(0, 40), columns=st.sampled_from([1, 7, 4096]))
@settings(max_examples=20, deadline=None)
def test_candidates_are_all_close_pairs_however_they_are_compared(seed, count, columns):
    codes = np.random.default_rng(seed).integers(0, 2**63, count, dtype=np.uint64) & ~np.uint64(1)
    codes[count // 2 :] = codes[: count - count // 2] ^ np.uint64(6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "COLUMNS", columns)
        patch.setattr(duplicates, "ROWS", 3)
        found = {tuple(int(n) for n in pair) for pair in zip(*duplicates.candidates(codes), strict=True)}
    placed = fingerprints.placed(codes) if count else np.zeros((8, 0), np.uint64)
    expected = {
        (t, one, other)
        for t in range(8)
        for one in range(count)
        for other in range(one + 1, count)
        if int(placed[t, one] ^ codes[other]).bit_count() <= duplicates.DISTANCE
    }
    assert found == expected


def test_of_a_set_with_too_many_candidates_the_nearer_ones_are_looked_at(monkeypatch):
    codes = np.arange(300, dtype=np.uint64) * 2
    assert duplicates.distance_limit(codes) == duplicates.DISTANCE
    every = len(duplicates.candidates(codes)[0])
    monkeypatch.setattr(duplicates, "MOST", every // 50)
    limit = duplicates.distance_limit(codes)
    assert 0 < limit < duplicates.DISTANCE
    assert 0 < len(duplicates.candidates(codes)[0]) <= every // 40


def test_of_too_many_likely_candidates_the_most_alike_are_compared(monkeypatch):
    images = [picture(seed) for seed in range(6)]
    copies = [image[:, ::-1] for image in images[:3]] + [image[4:-4, 5:-5] for image in images[3:]]
    every = {(pair["first"], pair["second"]) for pair in duplicates.near(greys(*images, *copies))}
    assert every == {(n, n + 6) for n in range(6)}
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 3)
    fewer = {(pair["first"], pair["second"]) for pair in duplicates.near(greys(*images, *copies))}
    assert fewer == {(n, n + 6) for n in range(3)}


@given(shift=st.tuples(st.integers(-6, 6), st.integers(-6, 6)))
@settings(max_examples=15, deadline=None)
def test_a_shift_is_found_and_undone(shift):
    large = picture(7, (SIDE + 16, SIDE + 16))
    one = large[8 : 8 + SIDE, 8 : 8 + SIDE]
    other = large[8 + shift[0] : 8 + shift[0] + SIDE, 8 + shift[1] : 8 + shift[1] + SIDE]
    match = likeness.compare(np.stack([one, other]), np.array([0]), np.array([1]), 0)
    assert (likeness.MATCHES[int(match.match[0])], tuple(match.shift[0])) == ((0, 0), shift)
    assert match.correlation[0] > 0.9
