"""Paired comparisons: which methods differ, in what direction and by how much."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.charts import LABEL, drawn, finished, fixed, place, quoted, rows

#: Level at which a difference counts, after Holm's correction.
LEVEL = 0.05
#: Up to so many methods are named above the columns of the significance map.
NAMED = 5
#: Verdict → (symbol, colour). The symbols alone say it; blue and orange are told apart by all readers.
VERDICTS = {
    "better": ("▲", "#2f86cc"),
    "worse": ("▼", "#d9631e"),
    "no difference shown": ("○", "#7f8792"),
    "not tested": ("–", "#7f8792"),
}


def pairs(tests: Sequence[Mapping[str, Any]], *, less_is_better: bool) -> list[dict[str, Any]]:
    """Both directions of each row of the table ``tests``, with the verdict on the first method of each.

    The verdict is that of the permutation test after Holm's correction.
    """
    made = []
    for row in tests:
        p = drawn(row["permutation_holm"])
        for first, second, sign in (
            (row["first"], row["second"], 1.0),
            (row["second"], row["first"], -1.0),
        ):
            ends = [drawn(row[key]) for key in ("low", "high")]
            low, high = ends if sign > 0 else [None if end is None else -end for end in reversed(ends)]
            difference = drawn(row["difference"])
            signed = None if difference is None else sign * difference
            made.append(
                {
                    "first": first,
                    "second": second,
                    "difference": signed,
                    "low": low,
                    "high": high,
                    "p": p,
                    "wilcoxon": drawn(row["wilcoxon_holm"]),
                    "verdict": _verdict(signed, p, less_is_better=less_is_better),
                    "cases": row["cases"],
                }
            )
    return made


def _verdict(difference: float | None, p: float | None, *, less_is_better: bool) -> str:
    if p is None or difference is None:
        return "not tested"
    if p > LEVEL or difference == 0:
        return "no difference shown"
    return "better" if (difference < 0) == less_is_better else "worse"


_COLUMNS = {
    "first": "Method",
    "second": "Compared with",
    "difference": "Mean difference",
    "low": "95 % from",
    "high": "95 % to",
    "p": "p (permutation, Holm)",
    "wilcoxon": "p (Wilcoxon, Holm)",
    "verdict": "Verdict",
    "cases": "Cases",
}


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("first:N", title="method"),
        alt.Tooltip("second:N", title="compared with"),
        alt.Tooltip("verdict:N", title="verdict"),
        alt.Tooltip("difference:Q", title="mean difference", format=".4~g"),
        alt.Tooltip("low:Q", title="95 % interval, from", format=".4~g"),
        alt.Tooltip("high:Q", title="95 % interval, to", format=".4~g"),
        alt.Tooltip("p:Q", title="p (permutation, Holm)", format=".3~g"),
        alt.Tooltip("wilcoxon:Q", title="p (Wilcoxon, Holm)", format=".3~g"),
        alt.Tooltip("cases:Q", title="cases"),
    ]


def _colour() -> alt.Color:
    scale = alt.Scale(domain=list(VERDICTS), range=[value for _, value in VERDICTS.values()])
    return alt.Color("verdict:N", scale=scale, legend=None)


def significance(
    compared: Sequence[Mapping[str, Any]], *, methods: Sequence[str], description: str
) -> dict[str, Any]:
    """A matrix of methods: the sign says whether the method of the row is better than that of the column.

    ``compared`` comes from :func:`pairs`.
    """
    shown = [{**row, "sign": VERDICTS[row["verdict"]][0]} for row in compared]
    # Many names do not fit above their columns: methods are numbered there.
    numbered = len(methods) > NAMED
    number, name = f"({place('value', methods)} + 1)", "datum.value"
    across = alt.X(
        "second:N",
        sort=list(methods),
        scale=alt.Scale(domain=list(methods)),
        axis=alt.Axis(
            orient="top",
            title=None,
            labelAngle=0 if numbered else -45,
            labelExpr=number if numbered else name,
            labelLimit=LABEL,
            labelOverlap=False,
            domain=False,
            ticks=False,
        ),
    )
    down = alt.Y(
        "first:N",
        sort=list(methods),
        scale=alt.Scale(domain=list(methods)),
        axis=alt.Axis(
            title=None,
            labelExpr=f"{number} + '. ' + {name}" if numbered else name,
            labelLimit=LABEL,
            domain=False,
            ticks=False,
        ),
    )
    base = alt.Chart(rows()).encode(x=across, y=down, tooltip=_tooltip())
    cells = base.mark_rect(cornerRadius=3, opacity=0.28, stroke=None).encode(color=_colour())
    size = 15 if len(methods) <= 8 else 12
    signs = base.mark_text(fontSize=size, style="ink").encode(text="sign:N")
    chart = alt.layer(cells, signs).properties(height=max(70, 30 * len(methods)))
    return finished(chart, shown, description=description, columns=_COLUMNS)


def differences(compared: Sequence[Mapping[str, Any]], *, title: str, description: str) -> dict[str, Any]:
    """Mean paired differences with their 95 % intervals, one row a pair, zero as a line.

    ``compared`` is one direction of each pair, from :func:`pairs`; pairs without a difference are left out.
    Filled signs differ after Holm's correction, open ones do not.
    """
    kept = [row for row in compared if row["difference"] is not None]
    shown = [{**row, "place": position} for position, row in enumerate(kept)]
    labels = ",".join(f"[{quoted(row['first'])},{quoted('− ' + row['second'])}]" for row in shown)
    y = alt.Y(
        "place:Q",
        scale=alt.Scale(domain=[len(shown) - 0.5, -0.5], nice=False, zero=False),
        axis=alt.Axis(
            values=list(range(len(shown))),
            labelExpr=f"[{labels}][datum.value]",
            labelLimit=LABEL,
            labelBaseline="middle",
            labelOffset=-7,
            title=None,
            grid=False,
            ticks=False,
            domain=False,
        ),
    )
    scale = alt.Scale(zero=True, nice=True)
    base = alt.Chart(rows()).encode(y=y, tooltip=_tooltip())
    interval = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", scale=scale, title=title), x2=alt.X2("high:Q"), color=_colour()
    )
    points = base.mark_point(size=90, strokeWidth=2, opacity=1).encode(
        x=alt.X("difference:Q", scale=scale),
        color=_colour(),
        shape=alt.Shape(
            "verdict:N",
            scale=alt.Scale(
                domain=list(VERDICTS), range=["triangle-up", "triangle-down", "circle", "square"]
            ),
            legend=None,
        ),
        fill=alt.condition("datum.p <= 0.05", _colour(), alt.value("transparent")),
    )
    zero = alt.Chart(fixed([{"zero": 0}])).mark_rule(strokeDash=[4, 3]).encode(x=alt.X("zero:Q", scale=scale))
    chart = alt.layer(zero, interval, points).properties(height=max(80, 40 * len(shown)))
    return finished(chart, shown, description=description, columns=_COLUMNS)
