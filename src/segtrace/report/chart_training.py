"""Curves of the trainings: one line a run, the best epoch marked, methods picked in the legend."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.aggregation import mean
from segtrace.report.charts import colour, drawn, finished, rows, shape

#: At most so many points of a training curve are drawn.
CURVE_POINTS = 200


def curves(
    epochs: Sequence[Mapping[str, Any]],
    *,
    methods: Sequence[str],
    field: str,
    title: str,
    description: str,
) -> dict[str, Any]:
    """One line a run over epochs, coloured by method; ``epochs`` have run, method, epoch, ``field`` and best.

    ``best`` is 1 in the epoch of the run's best validation Dice, which gets the method's shape. Choosing a
    method in the legend fades the others; shift chooses several. Where there are rows of :func:`mean_rows` too, they are
    thick lines, and those of runs are thin.
    """
    averaged = any(row.get("mean") for row in epochs)
    if averaged:
        epochs = [{**row, "mean": row.get("mean", 0)} for row in epochs]
    shown = [{**row, field: drawn(row[field])} for row in epochs]
    chosen = alt.selection_point(name="chosen", fields=["method"], bind="legend")
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(zero=True))
    y = alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=field != "loss"))
    tooltip = [
        alt.Tooltip("run:N", title="run"),
        alt.Tooltip("epoch:Q", title="epoch"),
        alt.Tooltip(f"{field}:Q", title=title, format=".4~g" if field == "learning_rate" else ".4f"),
    ]
    legend = alt.Legend(orient="bottom", title=None, columns=2, labelLimit=150, symbolOpacity=1)
    base = alt.Chart(rows()).encode(x=x, y=y, detail="run:N", tooltip=tooltip)
    of_runs = base.transform_filter("datum.mean == 0") if averaged else base
    lines = of_runs.mark_line(strokeWidth=0.6 if averaged else 1.6, clip=True).encode(
        color=colour(methods, legend=legend),
        opacity=alt.condition(chosen, alt.value(1), alt.value(0.08)),
    )
    few = len(shown) <= CURVE_POINTS * 4
    points = of_runs.mark_point(filled=True, size=10).encode(
        color=colour(methods, legend=legend),
        opacity=alt.condition(chosen, alt.value(1), alt.value(0.04)),
    )
    best = (
        base.transform_filter("datum.best == 1")
        .mark_point(filled=True, size=90, strokeWidth=1)
        .encode(
            color=colour(methods, legend=legend),
            shape=shape(methods, legend=legend),
            opacity=alt.condition(chosen, alt.value(1), alt.value(0.08)),
        )
    )
    thick = (
        base.transform_filter("datum.mean == 1")
        .mark_line(strokeWidth=3, clip=True)
        .encode(
            color=colour(methods, legend=legend),
            opacity=alt.condition(chosen, alt.value(1), alt.value(0.08)),
        )
    )
    layers = [lines.add_params(chosen), *([points] if few else []), *([thick] if averaged else []), best]
    chart = alt.layer(*layers).properties(height=260)
    columns = {"run": "Run", "epoch": "Epoch", field: title}
    return finished(chart, shown, description=description, columns=columns)


def thinned(epochs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most :data:`CURVE_POINTS` of a curve's rows, evenly spaced; the last and the best ones always kept."""
    step = -(-len(epochs) // CURVE_POINTS)
    return [
        row
        for position, row in enumerate(epochs)
        if (len(epochs) - 1 - position) % step == 0 or row.get("best")
    ]


def history_rows(runs: Sequence[Mapping[str, Any]], *, field: str) -> list[dict[str, Any]]:
    """The rows of :func:`curves` from runs with method, fold, seed and history (rows of ``history.csv``).

    Where several epochs reach the best validation Dice, the first is the best; epochs without a value of
    ``field`` are left out.
    """
    made = []
    for run in runs:
        dice = [row["val_dice"] for row in run["history"] if row["val_dice"] == row["val_dice"]]
        best = next((row["epoch"] for row in run["history"] if dice and row["val_dice"] == max(dice)), None)
        known = [
            {
                "run": f"{run['method']}, fold {run['fold']}, seed {run['seed']}",
                "method": run["method"],
                "epoch": row["epoch"],
                field: row[field],
                "best": int(row["epoch"] == best),
            }
            for row in run["history"]
            if row[field] == row[field]
        ]
        made += [dict(row) for row in thinned(known)]
    return made


def mean_rows(runs: Sequence[Mapping[str, Any]], *, field: str) -> list[dict[str, Any]]:
    """Rows of :func:`curves`: of each method with several runs, the mean of ``field`` over them.

    It is of the epochs in which every run of the method has a value, so that no step of the line comes from a run that
    ends. Their ``mean`` is 1.
    """
    made: list[dict[str, Any]] = []
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [
            {row["epoch"]: row[field] for row in run["history"] if row[field] == row[field]}
            for run in runs
            if run["method"] == method and run["history"]
        ]
        if len(own) < 2:
            continue
        shared = sorted(set(own[0]).intersection(*own[1:]))
        found = [
            {
                "run": f"{method}, mean of {len(own)} runs",
                "method": method,
                "epoch": epoch,
                field: mean([curve[epoch] for curve in own]),
                "best": 0,
                "mean": 1,
            }
            for epoch in shared
        ]
        made += [dict(row) for row in thinned(found)]
    return made
