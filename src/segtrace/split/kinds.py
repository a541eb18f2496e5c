"""The kinds of protocol: those that place whole clusters, and those that published work followed.

Each takes the chosen rows in the order of their cases and gives, for every fold, case → role.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrace.errors import SegtraceError
from segtrace.split import draws

Roles = dict[str, str]


@dataclass(frozen=True)
class Task:
    """What a kind works on."""

    rows: Sequence[Mapping[str, Any]]
    """Chosen rows of ``cases``, sorted by case, ``voxels`` as a mapping."""
    cluster: Mapping[str, str]
    protocol: Mapping[str, Any]
    labels: Sequence[int]
    kept: Sequence[Mapping[str, Any]]
    """Rows of a split whose cases keep their fold and role."""
    where: str

    @property
    def cases(self) -> list[str]:
        """The chosen cases, sorted."""
        return [row["case"] for row in self.rows]

    def kept_roles(self, fold: int) -> Roles:
        """Case → role of the kept cases of a fold that are still there."""
        return {
            row["case"]: row["role"]
            for row in self.kept
            if row["fold"] == fold and row["case"] in self.cluster
        }

    def kept_clusters(self, fold: int) -> Roles:
        """Cluster → role in a fold of its alphabetically first kept case."""
        found = sorted(self.kept_roles(fold).items(), reverse=True)
        return {self.cluster[case]: role for case, role in found}

    def members(self) -> dict[str, list[str]]:
        """Stratum → clusters."""
        one = not self.protocol["stratify"]
        return draws.strata(self.rows, self.cluster, labels=self.labels, one=one)


def grouped_random(task: Task) -> list[Roles]:
    """``test_fraction`` of the clusters tests; of the rest, ``validation_fraction`` validates."""
    found = []
    for fold in range(task.protocol["repeats"]):
        seed = task.protocol["seed"] + fold
        kept, fraction = task.kept_clusters(fold), task.protocol["test_fraction"]
        tests = _drawn(task, task.members(), fraction, ("test", seed), kept=kept, role="test")
        roles = {case: "test" if name in tests else "train" for case, name in task.cluster.items()}
        found.append(_with_validation(task, roles, ("validation", seed), kept=kept) | task.kept_roles(fold))
    return found


def k_fold(task: Task) -> list[Roles]:
    """Fold k tests on part k of the clusters; of the rest, ``validation_fraction`` validates."""
    seed, count = task.protocol["seed"], task.protocol["folds"]
    kept = [task.kept_clusters(fold) for fold in range(count)]
    fixed = {name: fold for fold in range(count) for name, role in kept[fold].items() if role == "test"}
    if task.protocol["stratify"]:
        part = draws.parts(task.members(), count, "part", seed, fixed=fixed)
    else:
        names = set(task.cluster.values())
        part = {name: int(draws.uniform("part", seed, name) * count) for name in names} | fixed
    found = []
    for fold in range(count):
        roles = {case: "test" if part[name] == fold else "train" for case, name in task.cluster.items()}
        made = _with_validation(task, roles, ("validation", seed, fold), kept=kept[fold])
        found.append(made | task.kept_roles(fold))
    return found


def last_n(task: Task) -> list[Roles]:
    """The last cases of the sorted list test; of the others, shuffled or not, the last ones validate.

    Source: dual self-distillation (Banerjee et al. 2024) and its published code: hippocampus 170/30/60,
    brain tumours 388/72/24.
    """
    tests, validations = task.protocol["test_cases"], task.protocol["validation_cases"]
    cases = task.cases
    if len(cases) <= tests + validations:
        raise SegtraceError(
            f"{task.where}: {len(cases)} cases are too few for {tests} test and {validations} validation cases and one "
            "training case; get the whole data set, or choose a protocol that takes fractions"
        )
    rest = cases[: len(cases) - tests]
    rest = draws.shuffled(rest, by=task.protocol["shuffle"], seed=task.protocol["shuffle_seed"])
    split = len(rest) - validations
    roles = dict.fromkeys(cases[len(cases) - tests :], "test")
    roles.update(dict.fromkeys(rest[:split], "train"))
    roles.update(dict.fromkeys(rest[split:], "val"))
    return [roles]


def plain_k_fold(task: Task) -> list[Roles]:
    """The list, sorted or shuffled, in consecutive blocks; fold k holds out block k, the first ones larger by one.

    Unshuffled it is dual self-distillation's cross-validation on MM-WHS; shuffled by NumPy it is
    scikit-learn's ``KFold(folds, shuffle=True, random_state=shuffle_seed)``.
    """
    order = draws.shuffled(task.cases, by=task.protocol["shuffle"], seed=task.protocol["shuffle_seed"])
    count = task.protocol["folds"]
    least, larger = divmod(len(order), count)
    ends = [least * fold + min(fold, larger) for fold in range(count + 1)]
    return [_held_out(task, set(order[ends[fold] : ends[fold + 1]]), fold) for fold in range(count)]


def plain_random(task: Task) -> list[Roles]:
    """Single cases at random: ⌈``test_fraction`` · n⌉ of them, or ``test_cases``, are held out.

    ``numpy`` is scikit-learn's ``train_test_split(cases, test_size, random_state=shuffle_seed)``, once more with the
    same seed for the validation cases: the first of the shuffled list are held out. ``python`` holds out the last.
    """
    protocol, found = task.protocol, []
    for fold in range(protocol["repeats"]):
        seed = protocol["shuffle_seed"] + fold
        cases = task.cases
        count = protocol["test_cases"] or math.ceil(protocol["test_fraction"] * len(cases))
        held, rest = _cut(cases, count, by=protocol["shuffle"], seed=seed)
        more = math.ceil((protocol["validation_fraction"] or 0.0) * len(rest))
        validation, training = _cut(rest, more, by=protocol["shuffle"], seed=seed) if more else ([], rest)
        roles = dict.fromkeys(held, protocol["held_out"])
        roles |= dict.fromkeys(validation, "val") | dict.fromkeys(training, "train")
        found.append(roles)
    return found


def _cut(cases: Sequence[str], count: int, *, by: str, seed: int) -> tuple[list[str], list[str]]:
    order = draws.shuffled(cases, by=by, seed=seed)
    if by == "numpy":
        return order[:count], order[count:]
    return order[len(order) - count :], order[: len(order) - count]


def official(task: Task) -> list[Roles]:
    """Each case has the role of the side that its owner put it on."""
    roles = {row["case"]: task.protocol["roles"][row["side"]] for row in task.rows}
    return [_with_validation(task, roles, ("validation", task.protocol["seed"]))]


def side_folds(task: Task) -> list[Roles]:
    """The owner's sides as folds: fold k holds out the cases of the k-th side."""
    sides = task.protocol["sides"]
    return [
        _held_out(task, {row["case"] for row in task.rows if row["side"] == side}, fold)
        for fold, side in enumerate(sides)
    ]


def _held_out(task: Task, held: set[str], fold: int) -> Roles:
    """These cases are held out, the others train and, where that is asked for, validate."""
    roles = {case: task.protocol["held_out"] if case in held else "train" for case in task.cases}
    return _with_validation(task, roles, ("validation", task.protocol["seed"], fold))


def _with_validation(
    task: Task, roles: Roles, key: tuple[Any, ...], *, kept: Mapping[str, str] | None = None
) -> Roles:
    """``roles`` in which ``validation_fraction`` of the clusters that train validates."""
    fraction = task.protocol["validation_fraction"]
    if not fraction:
        return roles
    training = {task.cluster[case] for case, role in roles.items() if role == "train"}
    members = {s: [name for name in names if name in training] for s, names in task.members().items()}
    chosen = _drawn(task, members, fraction, key, kept=kept or {}, role="val")
    return {
        case: "val" if role == "train" and task.cluster[case] in chosen else role
        for case, role in roles.items()
    }


def _drawn(
    task: Task,
    members: Mapping[str, Sequence[str]],
    fraction: float,
    key: tuple[Any, ...],
    *,
    kept: Mapping[str, str],
    role: str,
) -> set[str]:
    """The clusters that get ``role``: the kept ones, and of the others so many as are missing."""
    names = {name for of_stratum in members.values() for name in of_stratum}
    fixed = {name for name in names if kept.get(name) == role}
    if task.protocol["stratify"]:
        return draws.draw(members, fraction, *key, fixed=fixed, barred=(kept.keys() & names) - fixed)
    return fixed | {name for name in names - kept.keys() if draws.uniform(*key, name) < fraction}


KINDS: Mapping[str, Callable[[Task], list[Roles]]] = {
    "grouped_random": grouped_random,
    "k_fold": k_fold,
    "last_n": last_n,
    "plain_k_fold": plain_k_fold,
    "plain_random": plain_random,
    "official": official,
    "side_folds": side_folds,
}
