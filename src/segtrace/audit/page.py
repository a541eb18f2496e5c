"""The audit's page: it loads nothing and runs no script; the same inputs give the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from segtrace import __version__, duplicates, layout, pages
from segtrace.audit import findings, pictures
from segtrace.audit.findings import Audit
from segtrace.audit.overlaps import SLASH, Overlap

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def build(audits: Sequence[Audit], overlaps: Sequence[Overlap], *, limit: int) -> str:
    """The page as HTML; at most ``limit`` pairs are shown of each data set and of each overlap."""
    rows = {f"{one.name}{SLASH}{row['case']}": row for one in audits for row in one.rows}
    environment = pages.environment(TEMPLATES)
    return environment.get_template("audit.html.j2").render(
        version=__version__,
        policy=POLICY,
        style=Markup((TEMPLATES / "audit.css").read_text(encoding="utf-8")),
        names=[one.name for one in audits],
        dice_limit=duplicates.DICE,
        audits=[
            {
                "name": one.name,
                "title": one.title,
                "sentences": findings.sentences(one),
                "splits": one.splits,
                "file": str(layout.duplicates(one.name)),
                "pairs": _pairs(one.pairs, rows, prefix=f"{one.name}{SLASH}", limit=limit),
                "total": len(one.pairs),
            }
            for one in audits
        ],
        overlaps=[
            {
                "one": shared.one,
                "other": shared.other,
                "ids": shared.ids,
                "unlike": [_sides(rows, shared, case) for case in shared.unlike[:limit]],
                "unlike_total": len(shared.unlike),
                "counts": [shared.count(kind) for kind in duplicates.KINDS],
                "pairs": _pairs(shared.pairs, rows, prefix="", limit=limit),
                "total": len(shared.pairs),
            }
            for shared in overlaps
        ],
    )


def _sides(rows: Mapping[str, Mapping[str, Any]], shared: Overlap, case: str) -> list[dict[str, Any]]:
    """What is shown of a case that two data sets name alike."""
    ends = [f"{name}{SLASH}{case}" for name in (shared.one, shared.other)]
    return [{"name": end, "row": rows[end], "shown": pictures.picture(rows[end])} for end in ends]


def _pairs(
    pairs: Sequence[Mapping[str, Any]], rows: Mapping[str, Mapping[str, Any]], *, prefix: str, limit: int
) -> list[dict[str, Any]]:
    """The pairs to show, those that contradict each other first, then the surest."""
    order = sorted(
        pairs,
        key=lambda pair: (
            not pair["contradiction"],
            duplicates.KINDS.index(pair["kind"]),
            -pair["correlation"],
            pair["first"],
            pair["second"],
        ),
    )
    return [
        {
            **pair,
            "mask_dice": None if pair["mask_dice"] != pair["mask_dice"] else pair["mask_dice"],
            "sides": [
                {"name": pair[end], "row": row, "shown": pictures.picture(row)}
                for end in ("first", "second")
                for row in (rows[prefix + pair[end]],)
            ],
        }
        for pair in order[:limit]
    ]
