"""Splits: published order, hash placement, clusters kept together, leaks found."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrace.errors import SegtraceError
from segtrace.split import protocols

BASE = {
    "groups": None,
    "test_cases": None,
    "validation_cases": None,
    "shuffle_seed": None,
    "folds": None,
    "test_fraction": None,
    "validation_fraction": None,
    "seed": 0,
}


def row(case: str, subject: str | None = None, pixels: str | None = None, group: str = "") -> dict[str, str]:
    text = pixels if pixels is not None else f"pixels of {case}"
    sha = hashlib.sha256(text.encode()).hexdigest()
    return {"case": case, "subject": subject or case, "group": group, "pixels_sha256": sha}


def many(count: int, *, per_subject: int = 1) -> list[dict[str, str]]:
    return [row(f"case_{i:03d}", f"subject_{i // per_subject:03d}") for i in range(count)]


def roles(split: list[dict], fold: int = 0) -> dict[str, str]:
    return {entry["case"]: entry["role"] for entry in split if entry["fold"] == fold}


def last_n(**changes) -> dict:
    return BASE | {"kind": "last_n", "test_cases": 60, "validation_cases": 30, "shuffle_seed": 0} | changes


def k_fold(**changes) -> dict:
    return BASE | {"kind": "k_fold", "folds": 3, "validation_fraction": 0.2} | changes


def grouped(**changes) -> dict:
    return BASE | {"kind": "grouped_random", "test_fraction": 0.3, "validation_fraction": 0.2} | changes


def test_published_hippocampus_split():
    rows = many(260)
    random.Random(7).shuffle(rows)  # the order of the index must not matter
    found = roles(protocols.assign(rows, last_n(), where="here"))
    expected = [f"case_{i:03d}" for i in range(200)]
    random.Random(0).shuffle(expected)
    assert [case for case, role in found.items() if role == "test"] == [
        f"case_{i:03d}" for i in range(200, 260)
    ]
    assert {case for case, role in found.items() if role == "train"} == set(expected[:170])
    assert {case for case, role in found.items() if role == "val"} == set(expected[170:])


def test_last_n_needs_a_training_case():
    with pytest.raises(
        SegtraceError, match=r"here: 90 cases are too few for 60 test and 30 validation cases"
    ):
        protocols.assign(many(90), last_n(), where="here")
    assert list(roles(protocols.assign(many(91), last_n(), where="here")).values()).count("train") == 1


def test_k_fold_tests_each_case_once():
    split = protocols.assign(many(60, per_subject=2), k_fold(), where="here")
    tested = [entry["case"] for entry in split if entry["role"] == "test"]
    assert sorted(tested) == [f"case_{i:03d}" for i in range(60)]
    assert len(split) == 180
    assert [entry["fold"] for entry in split] == sorted(entry["fold"] for entry in split)


def test_the_validation_draw_is_its_own():
    """Another validation fraction moves no case into or out of the test set."""
    small = roles(protocols.assign(many(100), grouped(validation_fraction=0.1), where="here"))
    large = roles(protocols.assign(many(100), grouped(validation_fraction=0.5), where="here"))
    assert {c for c, r in small.items() if r == "test"} == {c for c, r in large.items() if r == "test"}
    assert {c for c, r in small.items() if r == "val"} < {c for c, r in large.items() if r == "val"}


def test_fractions_are_about_right_and_seeds_differ():
    first = roles(protocols.assign(many(600), grouped(), where="here"))
    second = roles(protocols.assign(many(600), grouped(seed=1), where="here"))
    assert 140 < list(first.values()).count("test") < 220
    assert 55 < list(first.values()).count("val") < 115
    assert first != second


def test_clusters_join_subjects_and_identical_images():
    rows = [
        row("a", "s1", "x"),
        row("b", "s2", "x"),
        row("c", "s2", "y"),
        row("d", "s3", "y"),
        row("e", "s4"),
    ]
    found = protocols.clusters(rows)
    assert found == {"a": "s1", "b": "s1", "c": "s1", "d": "s1", "e": "s4"}


def test_groups_are_chosen_and_unknown_groups_refused():
    rows = [row(f"{g}_{i}", group=g) for g in ("benign", "normal") for i in range(20)]
    split = protocols.assign(rows, grouped(groups=["benign"]), where="here")
    assert {entry["case"].split("_")[0] for entry in split} == {"benign"}
    with pytest.raises(
        SegtraceError, match=r"here: no case has the group 'malign'; groups .*'benign', 'normal'"
    ):
        protocols.assign(rows, grouped(groups=["malign"]), where="here")


def test_an_empty_role_is_named_with_numbers_and_remedy():
    with pytest.raises(
        SegtraceError, match=r"(?s)2 cases in 1 clusters leave a role empty.*no case for .*another seed"
    ):
        protocols.assign(many(2, per_subject=2), grouped(), where="here")
    without = protocols.assign(many(40), grouped(validation_fraction=0.0), where="here")
    assert "val" not in roles(without).values()


def test_leaks_are_listed_with_their_cases():
    rows = [row("a", "s1", "x"), row("b", "s1", "y"), row("c", "s2", "x"), row("d", "s3", "z")]
    split = [
        {"case": c, "subject": s, "cluster": s, "fold": 0, "role": r}
        for c, s, r in (("a", "s1", "train"), ("b", "s1", "test"), ("c", "s2", "val"), ("d", "s3", "test"))
    ]
    assert protocols.leaks(rows, split) == [
        "fold 0: identical image lies in train: a; val: c",
        "fold 0: subject s1 lies in train: a; test: b",
    ]
    assert protocols.leaks(rows, [entry | {"fold": i} for i, entry in enumerate(split)]) == []


def test_last_n_through_a_subject_is_a_leak():
    rows = many(20, per_subject=3)
    split = protocols.assign(rows, last_n(test_cases=4, validation_cases=2), where="here")
    assert any("subject subject_005" in leak for leak in protocols.leaks(rows, split))


cases = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 20)), min_size=1, max_size=30
)  # (subject, pixels) of each case


def build(pairs: list[tuple[int, int]], prefix: str = "c") -> list[dict[str, str]]:
    return [
        row(f"{prefix}{i:02d}", f"{prefix}-subject-{s}", f"{prefix}-pixels-{p}")
        for i, (s, p) in enumerate(pairs)
    ]


@given(cases, st.integers(0, 5))
def test_split_laws(pairs, seed):
    """Every fold is a partition of the cases, no cluster is divided, and nothing leaks."""
    rows = build(pairs)
    protocol = k_fold(seed=seed)
    try:
        split = protocols.assign(rows, protocol, where="here")
    except SegtraceError as error:
        assert "leave a role empty" in str(error)  # noqa: PT017 - too few clusters is the one lawful refusal
        return
    for fold in range(3):
        assert sorted(roles(split, fold)) == [entry["case"] for entry in rows]
    sides: dict[tuple, set] = {}
    for entry in split:
        sides.setdefault((entry["fold"], entry["cluster"]), set()).add(entry["role"])
    assert all(len(found) == 1 for found in sides.values())
    assert protocols.leaks(rows, split) == []


@given(cases, cases, st.integers(0, 5))
def test_adding_cases_moves_no_old_one(old, new, seed):
    """New subjects, and new cases of known subjects, leave every old case where it was."""
    base = many(30) + build(old)
    more = [*build(new, "n"), row("again", "subject_004")]
    for kind in (grouped(seed=seed), k_fold(seed=seed, folds=2)):
        try:
            before = protocols.assign(base, kind, where="here")
        except SegtraceError:
            continue
        after = protocols.assign(more + base, kind, where="here")
        for fold in (0, 1):
            now = roles(after, fold)
            assert all(now[case] == role for case, role in roles(before, fold).items())
