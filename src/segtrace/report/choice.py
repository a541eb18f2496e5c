"""Which cases are drawn side by side: by rules on the scores alone, so that nobody picks them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segtrace.aggregation import mean
from segtrace.report.scores import Results
from segtrace.report.subject import Subject


@dataclass(frozen=True)
class Chosen:
    """A case to draw and why, in words; ``mean`` is its Dice over the methods."""

    case: str
    reasons: tuple[str, ...]
    mean: float


def dice_by_case(subject: Subject, results: Results) -> dict[str, dict[str, float]]:
    """Case → method → Dice of the main label, as the tables average it: a missing prediction counts as 0.

    A case in which a method has no value is left out, so that the methods stand beside each other.
    """
    found: dict[str, dict[str, float]] = {}
    for value in results.values:
        if (value.label, value.metric) == (subject.main_label, "dice") and value.value is not None:
            found.setdefault(value.case, {})[value.method] = value.value
    return {case: values for case, values in sorted(found.items()) if len(values) == len(subject.methods)}


def first_two(subject: Subject, values: dict[str, dict[str, float]]) -> tuple[str, ...]:
    """The methods with the highest and second highest mean Dice over cases; of equals the one named first."""
    means = {method: mean([of[method] for of in values.values()]) for method in subject.methods}
    return tuple(sorted(means, key=lambda method: -means[method]))[:2]


def side_by_side(subject: Subject, results: Results) -> list[Chosen]:
    """The cases of the panel, in this order and each once, with every reason for which it was chosen.

    Best, median and worst case by Dice (main label) averaged over methods; of an even number the median is
    the lower of the two middle ones. Then the case with the largest difference between the highest and the
    lowest method, and, of more than two methods, the one with the largest difference between the two that
    lead the table. Ties go to the case id that comes first.
    """
    values = dice_by_case(subject, results)
    if not values:
        return []
    means = {case: mean(list(of.values())) for case, of in values.items()}
    ranked = sorted(means, key=lambda case: (means[case], case))
    over = "" if len(subject.methods) == 1 else " by the mean over methods"
    reasons: dict[str, list[str]] = {}
    # max, not the last of the ranking: of equally good cases the first id is taken
    for case, words in (
        (max(values, key=lambda case: means[case]), f"best{over}"),
        (ranked[(len(ranked) - 1) // 2], f"median{over}"),
        (ranked[0], f"worst{over}"),
    ):
        # of fewer than three cases the last word would contradict the first
        if case not in reasons:
            reasons[case] = [words]
    for apart, words in _disagreements(subject, values):
        case = max(values, key=lambda case: apart(values[case]))
        if (difference := apart(values[case])) > 0:
            reasons.setdefault(case, []).append(f"{words} ({difference:.3f})")
    return [Chosen(case=case, reasons=tuple(words), mean=means[case]) for case, words in reasons.items()]


def _disagreements(
    subject: Subject, values: dict[str, dict[str, float]]
) -> Sequence[tuple[Callable[[dict[str, float]], float], str]]:
    """What two or more methods disagree by in a case, and the words for it."""
    if len(subject.methods) < 2:
        return ()
    rules: list[tuple[Callable[[dict[str, float]], float], str]] = [
        (lambda of: max(of.values()) - min(of.values()), "largest spread of Dice between methods")
    ]
    if len(subject.methods) > 2:
        first, second = first_two(subject, values)
        rules.append(
            (
                lambda of: abs(of[first] - of[second]),
                f"largest difference between {first} and {second}, which lead by mean Dice",
            )
        )
    return rules
