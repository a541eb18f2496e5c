"""Splits as published work made them, against what is known of each; and what a protocol may say."""

import random

import numpy as np
import pytest
from pydantic import ValidationError

from segtrace.config.models import Protocol
from segtrace.errors import SegtraceError
from split_helpers import assign, cases_of, grouped, last_n, many, roles, row


def test_published_hippocampus_split():
    rows = many(260)
    random.Random(7).shuffle(rows)  # the order of the index must not matter
    split = assign(rows, last_n(train_cases=170))
    expected = [f"case_{i:03d}" for i in range(200)]
    random.Random(0).shuffle(expected)
    assert cases_of(split, "test") == [f"case_{i:03d}" for i in range(200, 260)]
    assert set(cases_of(split, "train")) == set(expected[:170])
    assert set(cases_of(split, "val")) == set(expected[170:])


def test_published_brain_tumour_split():
    """388/72/24: the last 24 test; the published validation list starts at these indices."""
    rows = [row(f"BRATS_{i:03d}") for i in range(1, 485)]
    split = assign(rows, last_n(test_cases=24, validation_cases=72, train_cases=388))
    assert [len(cases_of(split, role)) for role in ("train", "val", "test")] == [388, 72, 24]
    assert cases_of(split, "test")[0] == "BRATS_461"
    assert {f"BRATS_{i + 1:03d}" for i in (290, 97, 32, 360, 166)} <= set(cases_of(split, "val"))


def test_an_incomplete_copy_is_no_published_split():
    with pytest.raises(SegtraceError, match="fold 0: 169 cases train, the protocol has 170"):
        assign(many(259), last_n(train_cases=170))


def test_last_n_needs_a_training_case():
    with pytest.raises(
        SegtraceError, match=r"here: 90 cases are too few for 60 test and 30 validation cases"
    ):
        assign(many(90), last_n())
    assert len(cases_of(assign(many(91), last_n()), "train")) == 1


def test_last_n_unshuffled_takes_the_cases_in_order():
    split = assign(many(10), Protocol(kind="last_n", test_cases=3, validation_cases=2))
    assert list(roles(split).values()) == ["train"] * 5 + ["val"] * 2 + ["test"] * 3


def test_published_heart_folds_are_consecutive_and_validate():
    rows = [row(f"ct_train_{i}") for i in range(1001, 1021)]
    split = assign(rows, Protocol(kind="plain_k_fold", folds=5, held_out="val"))
    for fold in range(5):
        first = 1001 + 4 * fold
        assert cases_of(split, "val", fold) == [f"ct_train_{i}" for i in range(first, first + 4)]
        assert len(cases_of(split, "train", fold)) == 16
    assert not any(entry["role"] == "test" for entry in split)


def test_shuffled_folds_are_those_of_scikit_learn():
    """``KFold(n_splits=4, shuffle=True, random_state=3)`` of 10 cases: shuffled indices, cut 3, 3, 2, 2."""
    order = np.arange(10)
    np.random.RandomState(3).shuffle(order)
    protocol = Protocol(kind="plain_k_fold", folds=4, shuffle="numpy", shuffle_seed=3)
    split = assign(many(10), protocol)
    for fold, (low, high) in enumerate([(0, 3), (3, 6), (6, 8), (8, 10)]):
        assert cases_of(split, "test", fold) == [f"case_{i:03d}" for i in sorted(order[low:high])]


def test_random_split_is_that_of_scikit_learn():
    """``train_test_split(cases, test_size=0.2, random_state=41)``: the first ⌈0.2 n⌉ of a permutation test."""
    order = np.random.RandomState(41).permutation(647)
    protocol = {"kind": "plain_random", "test_fraction": 0.2, "shuffle": "numpy", "shuffle_seed": 41}
    split = assign(many(647), Protocol(**protocol, repeats=3))
    assert cases_of(split, "test") == [f"case_{i:03d}" for i in sorted(order[:130])]
    assert len({tuple(cases_of(split, "test", fold)) for fold in range(3)}) == 3
    nested = assign(many(647), Protocol(**protocol, validation_fraction=0.2))
    rest = order[130:]
    again = np.random.RandomState(41).permutation(517)
    assert cases_of(nested, "test") == cases_of(split, "test")
    assert cases_of(nested, "val") == [f"case_{i:03d}" for i in sorted(rest[again[:104]])]


def test_counts_may_stand_for_a_fraction():
    """ISIC 2018 as 1886/808 of 2694, where the same 808 cases chose and scored the model."""
    protocol = Protocol(kind="plain_random", test_cases=808, train_cases=1886, shuffle_seed=0, held_out="val")
    rows = [row(f"ISIC_{i:07d}") for i in range(2694)]
    split = assign(rows, protocol)
    order = [entry["case"] for entry in rows]
    random.Random(0).shuffle(order)
    assert cases_of(split, "val") == sorted(order[1886:])


def test_the_owners_sides_become_roles():
    rows = [row(f"{side}{i}", side=side) for side in ("training", "validation", "test") for i in range(20)]
    official = {"training": "train", "validation": "val", "test": "test"}
    split = assign(rows, Protocol(kind="official", roles=official))
    assert {(case.rstrip("0123456789"), role) for case, role in roles(split).items()} == set(official.items())
    some = assign(
        rows,
        Protocol(kind="official", roles={"training": "train", "test": "test"}, validation_fraction=0.25),
    )
    assert {case[:4] for case in cases_of(some, "val")} == {"trai"}
    assert len(cases_of(some, "val")) == 5
    assert len(roles(some)) == 40
    with pytest.raises(SegtraceError, match=r"no case has the side 'tets'; sides .*'test', 'training'"):
        assign(rows, Protocol(kind="official", roles={"training": "train", "tets": "test"}))


def test_the_owners_sides_as_folds():
    rows = [row(f"JPC{i:03d}", side=f"fold{1 + i % 2}") for i in range(247)]
    split = assign(rows, Protocol(kind="side_folds", sides=["fold1", "fold2"]))
    assert [len(cases_of(split, "test", fold)) for fold in (0, 1)] == [124, 123]
    assert cases_of(split, "test", 0) == cases_of(split, "train", 1)


def test_a_random_split_may_be_of_some_sides_only():
    rows = [row(f"{side}{i}", side=side) for side in ("training", "validation", "test") for i in range(20)]
    split = assign(rows, grouped(sides=["training", "validation"]))
    assert not any(case.startswith("test") for case in roles(split))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "last_n", "test_cases": 3}, "kind last_n needs validation_cases"),
        ({"kind": "plain_random", "shuffle_seed": 1}, "needs test_fraction or test_cases"),
        ({"kind": "plain_k_fold", "folds": 5, "test_cases": 3}, "has no use for test_cases"),
        ({"kind": "plain_k_fold", "folds": 1}, "greater than or equal to 2"),
        ({"kind": "side_folds", "sides": ["a"]}, "at least two sides"),
        ({"kind": "official", "roles": {"a": "test"}}, "no side whose role is train"),
        ({"kind": "plain_k_fold", "folds": 5, "published": True}, "needs a source"),
        (
            {"kind": "plain_k_fold", "folds": 5, "held_out": "val", "validation_fraction": 0.1},
            "held_out is val already",
        ),
        (
            {"kind": "k_fold", "folds": 2, "validation_fraction": 0.1, "keep": "../x.csv"},
            "a file that lies in config/datasets",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        Protocol(**values)


def test_a_protocol_tells_itself_in_words():
    assert grouped(groups=["benign"]).words == (
        "random split of whole groups, 0.3 of the cases test, 0.2 of the others validate, "
        "stratified by class and lesion size, seed 0; groups benign only"
    )
    assert (
        last_n().words == "the last 60 of the sorted cases test, 30 validate, shuffled by python with seed 0"
    )
    assert "validates and is scored once" in Protocol(kind="plain_k_fold", folds=5, held_out="val").words
