"""Splits of whole clusters: kept together, balanced, hardly moved by new cases; leaks found."""

import hashlib
import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace.errors import SegtraceError
from segtrace.split import clusters, draws
from split_helpers import LABELS, assign, cases_of, grouped, k_fold, last_n, many, roles, row

LAW = settings(max_examples=50, deadline=None)


def test_k_fold_tests_each_case_once():
    split = assign(many(60, per_subject=2), k_fold())
    tested = [entry["case"] for entry in split if entry["role"] == "test"]
    assert sorted(tested) == [f"case_{i:03d}" for i in range(60)]
    assert len(split) == 180
    assert [entry["fold"] for entry in split] == sorted(entry["fold"] for entry in split)


@pytest.mark.parametrize("stratify", [True, False])
def test_the_validation_draw_is_its_own(stratify):
    """Another validation fraction moves no case into or out of the test set."""
    small = assign(many(100), grouped(validation_fraction=0.1, stratify=stratify))
    large = assign(many(100), grouped(validation_fraction=0.5, stratify=stratify))
    assert cases_of(small, "test") == cases_of(large, "test")
    assert set(cases_of(small, "val")) < set(cases_of(large, "val"))


def test_unstratified_fractions_are_about_right_and_seeds_differ():
    first = assign(many(600), grouped(stratify=False))
    second = assign(many(600), grouped(stratify=False, seed=1))
    assert 140 < len(cases_of(first, "test")) < 220
    assert 55 < len(cases_of(first, "val")) < 115
    assert first != second


def test_repetitions_are_splits_of_their_own():
    split = assign(many(100), grouped(repeats=3))
    tests = [tuple(cases_of(split, "test", fold)) for fold in range(3)]
    assert len(set(tests)) == 3
    assert tests[1] == tuple(cases_of(assign(many(100), grouped(seed=1)), "test"))


def test_clusters_join_subjects_identical_images_and_near_duplicates():
    rows = [
        row("a", "s1", "x"),
        row("b", "s2", "x"),
        row("c", "s2", "y"),
        row("d", "s3", "y"),
        row("e", "s4", duplicates="pair"),
        row("f", "s5", duplicates="pair"),
        row("g", "s6"),
    ]
    found = clusters.clusters(rows)
    assert found == {"a": "s1", "b": "s1", "c": "s1", "d": "s1", "e": "s4", "f": "s4", "g": "s6"}


def test_groups_are_chosen_and_unknown_groups_refused():
    rows = [row(f"{g}_{i}", group=g) for g in ("benign", "normal") for i in range(20)]
    split = assign(rows, grouped(groups=["benign"]))
    assert {entry["case"].split("_")[0] for entry in split} == {"benign"}
    with pytest.raises(
        SegtraceError, match=r"here: no case has the group 'malign'; groups .*'benign', 'normal'"
    ):
        assign(rows, grouped(groups=["malign"]))


def test_an_empty_role_is_named_with_numbers_and_remedy():
    with pytest.raises(
        SegtraceError, match=r"(?s)2 cases in 1 clusters leave a role empty.*no case for .*another seed"
    ):
        assign(many(2, per_subject=2), grouped())
    assert not cases_of(assign(many(40), grouped(validation_fraction=0.0)), "val")


@pytest.mark.parametrize("seed", range(20))
def test_a_few_cases_of_many_strata_fill_every_role(seed):
    rows = [row(f"c{i}", group="ab"[i % 2], foreground=4**i) for i in range(4)]
    protocol = grouped(test_fraction=0.2, validation_fraction=0.1, seed=seed)
    assert set(roles(assign(rows, protocol)).values()) == {"train", "val", "test"}


def test_leaks_are_listed_with_their_cases():
    rows = [
        row("a", "s1", "x", duplicates="x"),
        row("b", "s1", "y"),
        row("c", "s2", "x", duplicates="x"),
        row("d", "s3", "z", duplicates="near"),
        row("e", "s4", "w", duplicates="near"),
    ]
    sides = {"a": "train", "b": "test", "c": "val", "d": "test", "e": "train"}
    split = [{"case": case, "fold": 0, "role": role} for case, role in sides.items()]
    image = rows[0]["pixels_sha256"][:16]
    assert clusters.leaks(rows, split) == {
        0: [
            f"fold 0: identical image {image} lies in train: a; val: c",
            "fold 0: near-duplicates near lie in train: e; test: d",
            "fold 0: subject s1 lies in train: a; test: b",
        ]
    }
    assert clusters.leaks(rows, [entry | {"fold": i} for i, entry in enumerate(split)]) == {
        i: [] for i in range(5)
    }


def test_last_n_through_a_subject_is_a_leak():
    rows = many(20, per_subject=4)
    split = assign(rows, last_n(test_cases=5, validation_cases=2, shuffle_seed=None))
    assert clusters.leaks(rows, split)[0] == [
        "fold 0: subject subject_003 lies in train: case_012; val: case_013, case_014; test: case_015"
    ]
    assert clusters.shared(split, "test", fold=0) == 1


def test_size_bins_are_powers_of_four_and_do_not_move():
    shares = {0: "empty", 1000: "1/1", 251: "1/1", 250: "1/4", 63: "1/4", 62: "1/16", 1: "1/256"}
    for inside, name in shares.items():
        assert draws.size_bin({"0": 1000 - inside, "1": inside}, labels=LABELS) == name


# --- laws ----------------------------------------------------------------------------------------------

cases = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 20), st.integers(0, 9), st.sampled_from([0, 2, 20, 300])),
    min_size=1,
    max_size=30,
)  # (subject, pixels, group of duplicates, foreground) of each case


def build(found: list[tuple[int, int, int, int]], prefix: str = "c") -> list[dict]:
    return [
        row(
            f"{prefix}{i:02d}",
            f"{prefix}-subject-{s}",
            f"{prefix}-pixels-{p}",
            duplicates=f"{prefix}-{d}" if d < 4 else None,
            group="ab"[p % 2],
            foreground=f,
        )
        for i, (s, p, d, f) in enumerate(found)
    ]


@LAW
@given(cases, st.integers(0, 5), st.booleans())
def test_split_laws(found, seed, stratify):
    """Every fold is a partition of the cases, no cluster is divided, and nothing leaks."""
    rows = build(found)
    try:
        split = assign(rows, k_fold(seed=seed, stratify=stratify))
    except SegtraceError as error:
        assert "leave a role empty" in str(error)  # noqa: PT017 - too few clusters is the one lawful refusal
        return
    for fold in range(3):
        assert sorted(roles(split, fold)) == [entry["case"] for entry in rows]
    sides: dict[tuple, set] = {}
    for entry in split:
        sides.setdefault((entry["fold"], entry["cluster"]), set()).add(entry["role"])
    assert all(len(held) == 1 for held in sides.values())
    assert not any(clusters.leaks(rows, split).values())


@LAW
@given(cases, cases, st.integers(0, 5))
def test_without_strata_adding_cases_moves_no_old_one(old, new, seed):
    """New subjects, and new cases of known subjects, leave every old case where it was."""
    base = many(30) + build(old)
    more = [*build(new, "n"), row("again", "subject_004")]
    for kind in (grouped(seed=seed, stratify=False), k_fold(seed=seed, folds=2, stratify=False)):
        try:
            before = assign(base, kind)
        except SegtraceError:
            continue
        after = assign(more + base, kind)
        for fold in (0, 1):
            now = roles(after, fold)
            assert all(now[case] == role for case, role in roles(before, fold).items())


strata = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1)


def named(sizes: dict[str, int]) -> dict[str, list[str]]:
    return {stratum: [f"{stratum}{i:03d}" for i in range(count)] for stratum, count in sizes.items()}


@LAW
@given(strata, st.floats(0.01, 0.99), st.integers(0, 50))
def test_each_stratum_gives_its_fraction_to_within_one(sizes, fraction, seed):
    members = named(sizes)
    chosen = draws.draw(members, fraction, "test", seed)
    if len(chosen) > 1:  # a single one may stand in for strata that are all too small
        for names in members.values():
            assert abs(len(chosen.intersection(names)) - fraction * len(names)) < 1 + 1e-9


@LAW
@given(strata, st.integers(2, 10), st.integers(0, 50))
def test_each_part_has_its_share_of_each_stratum_to_within_one(sizes, count, seed):
    members = named(sizes)
    found = draws.parts(members, count, "part", seed, fixed={})
    assert sorted(found) == sorted(itertools.chain(*members.values()))
    for names in members.values():
        held = Counter(found[name] for name in names)
        assert all(abs(held[part] - len(names) / count) < 1 for part in range(count))


@LAW
@given(st.integers(0, 40), st.integers(0, 3000), st.floats(0.01, 0.99), st.integers(0, 50))
def test_one_more_cluster_moves_one_other_at_most(count, new, fraction, seed):
    """Over the test set's boundary, and over that of the validation set that is drawn from the rest."""
    old = {f"old{i}" for i in range(count)}
    tests, validations = [], []
    for names in (old, old | {f"new{new}"}):
        drawn = draws.draw({"": sorted(names), "other": ["x", "y"] * 20}, fraction, "test", seed)
        rest = {"": sorted(names - drawn), "other": []}
        tests.append(drawn & old)
        validations.append(draws.draw(rest, fraction, "validation", seed) & old)
    assert len(tests[0] ^ tests[1]) <= 1
    if all(len(drawn) > 1 for drawn in validations):  # none stands in for strata that are too small
        swapped = validations[0] ^ validations[1]
        assert len(swapped - (tests[0] ^ tests[1])) <= 1


@LAW
@given(st.integers(0, 60), st.integers(0, 3000), st.integers(2, 8), st.integers(0, 50))
def test_one_more_cluster_moves_one_other_over_each_boundary_of_parts(count, new, folds, seed):
    old = [f"old{i}" for i in range(count)]
    before = draws.parts({"": old}, folds, "part", seed, fixed={})
    after = draws.parts({"": [*old, f"new{new}"]}, folds, "part", seed, fixed={})
    for boundary in range(1, folds):
        assert sum((before[name] < boundary) != (after[name] < boundary) for name in old) <= 1


def test_small_strata_are_fair():
    """A cluster alone in its stratum tests as often as the fraction says, over many strata."""
    members = {f"s{i}": [f"c{i}"] for i in range(2000)}
    chosen = draws.draw(members, 0.2, "test", 0)
    assert abs(len(chosen) / 2000 - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 2000)


@LAW
@given(cases, cases, st.integers(0, 5))
def test_kept_cases_stay_and_new_ones_fill_up(old, new, seed):
    base = many(30) + build(old)
    grown = [*base, *build(new, "n"), *many(40)[30:], row("again", "subject_004")]
    for kind in (grouped(seed=seed), k_fold(seed=seed)):
        before = assign(base, kind)
        after = assign(grown, kind, kept=before)
        for fold in range(kind.fold_count):
            now = roles(after, fold)
            assert all(now[case] == role for case, role in roles(before, fold).items())
            assert now["again"] == now["case_004"]
        assert not any(clusters.leaks(grown, after).values())


def test_kept_cases_are_completed_to_the_fraction():
    few, more = many(40), many(80)
    kept = assign(few, grouped())
    after = assign(more, grouped(), kept=kept)
    assert abs(len(cases_of(after, "test")) - 0.3 * 80) < 1
    assert abs(len(cases_of(after, "val")) - 0.2 * (80 - len(cases_of(after, "test")))) < 1
    folds = assign(more, k_fold(), kept=assign(few, k_fold()))
    assert all(abs(len(cases_of(folds, "test", fold)) - 80 / 3) < 1 for fold in range(3))


def test_two_kept_cases_that_turn_out_to_be_one_subject_are_a_leak():
    kept = assign(many(40), grouped())
    roles_now = roles(kept)
    one, other = (next(c for c, r in roles_now.items() if r == role) for role in ("train", "test"))
    rows = [entry | {"subject": "same"} if entry["case"] in (one, other) else entry for entry in many(40)]
    split = assign(rows, grouped(), kept=kept)
    assert roles(split)[one] == "train"
    assert roles(split)[other] == "test"
    assert clusters.leaks(rows, split) == {0: [f"fold 0: subject same lies in train: {one}; test: {other}"]}


def test_a_subset_is_of_the_least_hashes_whatever_else_is_asked_for():
    """Hashes by hand: the first 13 hexadecimal digits of the SHA-256 of 'subset/NAME'."""

    def digits(name: str) -> str:
        return hashlib.sha256(f"subset/{name}".encode()).hexdigest()[:13]

    rows = many(50)
    wanted = sorted(sorted((entry["case"] for entry in rows), key=digits)[:12])
    for protocol in (grouped(subset=12), grouped(subset=12, seed=5), k_fold(subset=12)):
        assert sorted(roles(assign(rows, protocol))) == wanted
        assert assign(rows[::-1], protocol) == assign(rows, protocol)
    assert grouped(subset=12).words.endswith(
        "; 12 of the cases only, those whose names have the least hashes"
    )


def test_a_case_more_displaces_at_most_one_of_a_subset():
    before = set(roles(assign(many(50), grouped(subset=20))))
    after = set(roles(assign([*many(50), row("a_new_one")], grouped(subset=20))))
    assert len(before - after) <= 1


def test_a_subset_larger_than_the_data_set_is_refused():
    with pytest.raises(SegtraceError, match="here: 50 cases, the protocol takes a subset of 51"):
        assign(many(50), grouped(subset=51))


def test_five_folds_of_a_subset_test_each_of_its_cases_once():
    split = assign(many(300), k_fold(subset=120, folds=5, validation_fraction=0.0))
    tested = [entry["case"] for entry in split if entry["role"] == "test"]
    assert len(tested) == len(set(tested)) == 120
    assert {len(cases_of(split, "test", fold)) for fold in range(5)} == {24}
    assert not cases_of(split, "val")
