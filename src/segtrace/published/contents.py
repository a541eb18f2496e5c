"""What ``segtrace published`` shows, as plain values."""

from typing import Any

from segtrace.config import claims, load
from segtrace.config.models import Claim, Experiment, Paper
from segtrace.errors import SegtraceError, advice


def experiments() -> dict[str, Experiment]:
    """The experiments that have published values, by name."""
    found = {name: load.experiment(name) for name in load.names("experiments")}
    return {name: experiment for name, experiment in found.items() if experiment.published is not None}


def overview() -> dict[str, Any]:
    """All papers, each with its tables."""
    return {"papers": [_paper_row(name) for name in load.names("papers")]}


def named(name: str) -> dict[str, Any]:
    """A paper with its tables and claims, or a table with the claims that rest on it.

    Raises :class:`SegtraceError`, which names the nearest, where it is neither.
    """
    if name in load.names("papers"):
        paper: Paper = load.load("papers", name)
        return {
            **_paper_row(name),
            "authors": paper.authors,
            "venue": paper.venue,
            "url": paper.url,
            "claims": [_claim_row(claim) for claim in paper.claims],
            "notes": paper.notes,
        }
    known = experiments()
    if name in known:
        return _table(name, known[name])
    if name in load.names("experiments"):
        raise SegtraceError(f"config/experiments/{name}.yaml has no published values (key 'published')")
    raise SegtraceError(
        f"{name}: no paper of config/papers and no experiment with published values; "
        + advice(name, [*load.names("papers"), *known])
    )


def _paper_row(name: str) -> dict[str, Any]:
    paper: Paper = load.load("papers", name)
    tables = [
        {
            "experiment": experiment,
            "table": found.published.table,
            "title": found.title,
            "rows": len(found.published.rows),
            "answered": sum(row.method is not None for row in found.published.rows),
        }
        for experiment, found in experiments().items()
        if found.published is not None and found.published.paper == name
    ]
    return {"paper": name, "title": paper.title, "year": paper.year, "tables": tables}


def _table(name: str, experiment: Experiment) -> dict[str, Any]:
    published = experiment.published
    if published is None:
        raise ValueError(f"{name} has no published values")
    paper: Paper = load.load("papers", published.paper)
    return {
        "experiment": name,
        "title": experiment.title,
        "paper": published.paper,
        "paper_title": paper.title,
        "dataset": experiment.dataset,
        "recipe": experiment.recipe,
        "protocol": experiment.protocol,
        "training": ", ".join(experiment.recipes),
        **published.model_dump(mode="json", exclude={"paper"}),
        "claims": [_claim_row(claim) for claim in paper.claims if _rests_on(claim, name)],
        "experiment_notes": experiment.notes,
    }


def _rests_on(claim: Claim, experiment: str) -> bool:
    return any(term.experiment == experiment for term in claim.terms)


def _claim_row(claim: Claim) -> dict[str, Any]:
    found = claims.recompute(claim)
    return {
        "claim": claim.claim,
        "printed": claim.printed,
        "relation": claim.relation,
        "where": claim.where,
        "operation": claim.operation,
        "recomputed": found.recomputed,
        "low": found.low,
        "high": found.high,
        "shown": found.shown,
        "agrees": found.agrees,
        "note": claim.note,
    }
