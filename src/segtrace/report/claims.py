"""The claims of a paper that use an experiment's table: as printed, and recomputed from the printed tables."""

from typing import Any

from segtrace.config import claims, models

#: Verdict → words, and whether it is a fault.
VERDICTS = {
    "yes": "agrees",
    "within rounding": "agrees within the rounding of the table",
    "no": "does not agree",
}
_RELATIONS = {"equal": "", "less_than": "less than ", "more_than": "more than "}
_OPERATIONS = {
    "difference": "first − second",
    "percent_more": "100 · (first / second − 1)",
    "percent_less": "100 · (1 − first / second)",
    "ratio": "first / second",
    "mean_difference": "mean of the differences of the pairs",
    "mean": "mean",
    "sample_variance": "sample variance",
    "value": "the number itself",
}


def of_experiment(name: str, paper: models.Paper) -> list[dict[str, Any]]:
    """The claims of ``paper`` of which a term is a cell of the experiment ``name``, in the paper's order.

    Raises :class:`segtrace.errors.SegtraceError` where a claim names a cell that there is none of.
    """
    made = []
    for claim in paper.claims:
        if name not in {term.experiment for term in claim.terms}:
            continue
        verdict = claims.recompute(claim)
        made.append(
            {
                "claim": claim.claim,
                "where": claim.where,
                "printed": _RELATIONS[claim.relation] + claim.printed.replace("-", "−"),
                "recomputed": verdict.shown.replace("-", "−"),
                "verdict": VERDICTS[verdict.agrees],
                "failed": verdict.agrees == "no",
                "how": _OPERATIONS[claim.operation],
                "terms": [_term(term) for term in claim.terms],
                "note": claim.note,
            }
        )
    return made


def _term(term: Any) -> str:
    """A term in words: the cell that it is, or the number with its source."""
    if term.number is not None:
        return f"{term.number:g} ({term.source})"
    spread = ", its spread" if term.part == "spread" else ""
    return f"{term.row}, {term.column} of {term.experiment}{spread}"
