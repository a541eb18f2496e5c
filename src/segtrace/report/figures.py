"""The page's charts, section by section."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.report import (
    scores,
    section_agreement,
    section_cases,
    section_cost,
    section_ranking,
    section_robustness,
    section_training,
)
from segtrace.report.charts import Group
from segtrace.report.subject import Subject


def sections(
    subject: Subject,
    results: scores.Results,
    runs: Sequence[Mapping[str, Any]],
    *,
    costs: Sequence[Mapping[str, Any]],
    drawn: dict[str, dict[str, Any]],
) -> dict[str, list[Group]]:
    """What the templates of the sections with charts show, empty where there is nothing; charts go to ``drawn``.

    ``runs`` come from :func:`segtrace.report.origins.run_rows`, ``costs`` from :func:`segtrace.report.cost.rows`.
    """
    made = {
        "points": section_cases.every_case(subject, results),
        "ranking": section_ranking.ranking(subject, results),
        "agreement": section_agreement.volumes(subject, results),
        "robustness": section_robustness.robustness(subject, results),
        "cost": section_cost.costs(subject, results, costs),
        "curves": section_training.training(subject, runs, costs),
    }
    for groups in made.values():
        for group in groups:
            drawn |= {figure.name: figure.content for figure in group["figures"]}
    return made
