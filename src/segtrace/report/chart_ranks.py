"""Ranking: how stable ranks are when the cases are drawn again, and how they hang on the way of ranking.

The forms are those of Wiesenfarth et al., "Methods and open-source toolkit for analyzing and visualizing challenge
results", Scientific Reports 11 (2021): blob plot, line plot over ranking methods, Kendall's tau.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.charts import LABEL, bands, colour, drawn, finished, quoted, rows, shape

#: Ways of ranking, in the order in which they are shown, as two lines of text.
SCHEMES = {
    "aggregate_then_rank": ("aggregate,", "then rank"),
    "rank_then_aggregate": ("rank, then", "aggregate"),
    "test_then_rank": ("test,", "then rank"),
}


def words(scheme: str) -> str:
    """A way of ranking for reading."""
    return " ".join(SCHEMES[scheme])


def blobs(ranks: Sequence[Mapping[str, Any]], *, methods: Sequence[str], description: str) -> dict[str, Any]:
    """How often each method has each rank in the bootstrap samples, as the area of a disc.

    ``ranks`` are rows of the table ``ranks`` of one scheme, label and metric. Methods are sorted by rank; the
    diamond is the rank over all cases, the line holds 95 % of the samples.
    """
    ordered = sorted(ranks, key=lambda row: (row["rank"], row["mean_rank"], row["method"]))
    names = [row["method"] for row in ordered]
    shown = [
        {
            "method": row["method"],
            "place": position,
            "rank": float(rank),
            "share": drawn(share),
            "observed": row["rank"],
            "low": row["low"],
            "high": row["high"],
        }
        for position, row in enumerate(ordered)
        for rank, share in sorted(json.loads(row["frequencies"]).items(), key=lambda item: float(item[0]))
        if share
    ]
    down = alt.Scale(domain=[len(names) - 0.5, -0.5], nice=False, zero=False)
    y = alt.Y("place:Q", scale=down, axis=bands(names))
    x = alt.X("rank:Q", title="rank", scale=_rank_scale(len(names)), axis=_rank_axis(len(names)))
    tooltip = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("rank:Q", title="rank"),
        alt.Tooltip("share:Q", title="share of the samples", format=".1%"),
        alt.Tooltip("observed:Q", title="rank over all cases"),
    ]
    base = alt.Chart(rows()).encode(y=y)
    discs = base.mark_circle(opacity=1).encode(
        x=x,
        size=alt.Size("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 700]), legend=None),
        color=colour(methods),
        tooltip=tooltip,
    )
    # Of each method one row is enough for its line and diamond.
    once = base.transform_window(
        number="row_number()", groupby=["method"], sort=[alt.SortField("rank")]
    ).transform_filter("datum.number == 1")
    line = once.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"))
    diamond = once.mark_point(shape="diamond", size=45, filled=True, opacity=1, style="ink").encode(
        x=alt.X("observed:Q")
    )
    chart = alt.layer(line, discs, diamond).properties(height=max(120, 38 * len(names)))
    columns = {
        "method": "Method",
        "rank": "Rank",
        "share": "Share of the samples",
        "observed": "Rank over all cases",
        "low": "2.5 %",
        "high": "97.5 %",
    }
    return finished(chart, shown, description=description, columns=columns)


def over_schemes(
    ranks: Sequence[Mapping[str, Any]], *, methods: Sequence[str], description: str
) -> dict[str, Any]:
    """The rank of each method under each scheme, one line a method, named at the right.

    ``ranks`` are rows of the table ``ranks`` of one label and metric. Methods that share a rank are drawn a
    little apart; at the right each stands in a line of its own, with its rank.
    """
    schemes = [scheme for scheme in SCHEMES if any(row["scheme"] == scheme for row in ranks)]
    shown: list[dict[str, Any]] = []
    for scheme in schemes:
        of_scheme = sorted(
            (row for row in ranks if row["scheme"] == scheme), key=lambda r: methods.index(r["method"])
        )
        for row in of_scheme:
            sharing = [other["method"] for other in of_scheme if other["rank"] == row["rank"]]
            apart = min(0.18, 0.6 / len(sharing)) * (sharing.index(row["method"]) - (len(sharing) - 1) / 2)
            shown.append(
                {
                    "method": row["method"],
                    "scheme": words(scheme),
                    "place": schemes.index(scheme),
                    "rank": row["rank"],
                    "height": drawn(row["rank"] + apart),
                }
            )
    # Methods that share the last rank leave the ones below it free, where their names have room.
    last = sorted(
        (row for row in shown if row["place"] == len(schemes) - 1), key=lambda row: float(row["height"])
    )
    names = [f"{row['rank']:g}. {row['method']}" for row in last]
    x = alt.X(
        "place:Q",
        scale=alt.Scale(domain=[-0.25, len(schemes) - 0.75], nice=False, zero=False),
        axis=bands([words(scheme) for scheme in schemes])
        if len(schemes) < 2
        else alt.Axis(
            values=list(range(len(schemes))),
            labelExpr="["
            + ",".join("[" + ",".join(map(quoted, SCHEMES[scheme])) + "]" for scheme in schemes)
            + "][datum.value]",
            title=None,
            grid=False,
            labelAngle=0,
        ),
    )
    scale = alt.Scale(domain=[len(methods) + 0.5, 0.5], nice=False, zero=False)
    left = alt.Y("height:Q", title="rank", scale=scale, axis=_rank_axis(len(methods)))
    tooltip = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("scheme:N", title="way of ranking"),
        alt.Tooltip("rank:Q", title="rank"),
    ]
    base = alt.Chart(rows()).encode(x=x, color=colour(methods), tooltip=tooltip)
    lines = base.mark_line(strokeWidth=2).encode(y=left, detail="method:N")
    marks = base.mark_point(filled=True, size=80, opacity=1).encode(y=left, shape=shape(methods))
    right_labels = "[" + ",".join(quoted(name) for name in names) + "]"
    right = alt.Y(
        "rank:Q",
        scale=scale,
        axis=alt.Axis(
            orient="right",
            values=list(range(1, len(methods) + 1)),
            labelExpr=f"{right_labels}[datum.value - 1]",
            title=None,
            grid=False,
            ticks=False,
            domain=False,
            labelLimit=LABEL,
        ),
    )
    named = base.mark_point(opacity=0, size=1).encode(y=right)
    chart = alt.layer(alt.layer(lines, marks), named).resolve_scale(y="independent")
    chart = chart.properties(height=max(140, 34 * len(methods)))
    columns = {"method": "Method", "scheme": "Way of ranking", "rank": "Rank"}
    return finished(chart, shown, description=description, columns=columns)


def taus(ranks: Sequence[Mapping[str, Any]], *, description: str) -> dict[str, Any]:
    """Kendall's tau between the ranking of each bootstrap sample and that of all cases, by scheme.

    ``ranks`` are rows of the table ``ranks`` of one label and metric; tau is the same in all rows of a scheme.
    The point is the median, the line holds 95 % of the samples. Schemes without a tau are left out.
    """
    first = {row["scheme"]: row for row in reversed(ranks) if drawn(row["tau"]) is not None}
    names = [words(scheme) for scheme in SCHEMES if scheme in first]
    shown: list[dict[str, Any]] = [
        {
            "scheme": words(scheme),
            "place": place,
            **{key: drawn(first[scheme][key]) for key in ("tau", "tau_low", "tau_high")},
        }
        for place, scheme in enumerate(scheme for scheme in SCHEMES if scheme in first)
    ]
    least = min((row["tau_low"] for row in shown if row["tau_low"] is not None), default=0.0)
    scale = alt.Scale(domain=[-1 if least < 0 else 0, 1])
    y = alt.Y(
        "place:Q",
        scale=alt.Scale(domain=[len(names) - 0.5, -0.5], nice=False, zero=False),
        axis=bands(names),
    )
    tooltip = [
        alt.Tooltip("scheme:N", title="way of ranking"),
        alt.Tooltip("tau:Q", title="tau, median", format=".3f"),
        alt.Tooltip("tau_low:Q", title="2.5 %", format=".3f"),
        alt.Tooltip("tau_high:Q", title="97.5 %", format=".3f"),
    ]
    base = alt.Chart(rows()).encode(y=y, tooltip=tooltip)
    interval = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("tau_low:Q", scale=scale, title="Kendall's tau"), x2=alt.X2("tau_high:Q")
    )
    points = base.mark_point(shape="diamond", filled=True, size=90, opacity=1, style="ink").encode(
        x=alt.X("tau:Q", scale=scale)
    )
    chart = alt.layer(interval, points).properties(height=38 * max(len(names), 2))
    columns = {"scheme": "Way of ranking", "tau": "Tau, median", "tau_low": "2.5 %", "tau_high": "97.5 %"}
    return finished(chart, shown, description=description, columns=columns)


def _rank_scale(count: int) -> alt.Scale:
    return alt.Scale(domain=[0.5, count + 0.5], nice=False, zero=False)


def _rank_axis(count: int) -> alt.Axis:
    return alt.Axis(values=list(range(1, count + 1)), format="d", labelOverlap=True, grid=True)
