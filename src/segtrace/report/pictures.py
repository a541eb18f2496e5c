"""Everything that a page draws of its cases, each read once: panel, viewer, surfaces, each method's own cases."""

from typing import Any

from segtrace import layout
from segtrace.aggregation import mean
from segtrace.overlays import pictures_of
from segtrace.report import cases, choice, panels, scores, surfaces, viewer
from segtrace.report.packing import colour
from segtrace.report.subject import Subject

#: Of more methods than this, best, median and worst cases of each are not drawn: the page would be too large.
OWN_METHODS = 6


def build(subject: Subject, results: scores.Results) -> dict[str, Any]:
    """What the templates ``pictures`` and ``viewer`` lay out.

    ``panel`` are the rows of :mod:`segtrace.report.panels` with the reasons of each case; ``views`` holds by
    case what the viewer and the surfaces need; ``own`` are best, median and worst cases by method.
    """
    by_run = scores.label_dice(subject, results)
    runs = _runs(subject, results)
    together = choice.side_by_side(subject, results)
    own = scores.chosen_cases(subject, results) if len(subject.methods) <= OWN_METHODS else []
    wanted: dict[str, list[layout.RunName]] = {
        chosen.case: [
            runs[method, chosen.case] for method in subject.methods if (method, chosen.case) in runs
        ]
        for chosen in together
    }
    for entry in own:
        entry["run"] = runs[entry["method"], entry["case"]]
        of_case = wanted.setdefault(entry["case"], [])
        of_case += [entry["run"]] if entry["run"] not in of_case else []
        entry["words"] = _dice(by_run.get(_key(entry["run"], entry["case"]), {}))
    rows, views = {}, {}
    voxels = viewer.VOXELS // max(1, len(together))
    shown = {chosen.case for chosen in together}
    for case in cases.read(subject, wanted):
        for entry in own:
            if entry["case"] == case.name:
                entry |= _own_pictures(case, entry["method"])
        if case.name not in shown:
            continue
        scored = {
            method: _scored(subject, by_run, runs.get((method, case.name)), case.name)
            for method in subject.methods
        }
        rows[case.name] = panels.row_of(case, scored=scored, labels=subject.dataset.labels)
        if not case.problem and case.scene.volume:
            views[case.name] = _views(subject, case, scored=scored, voxels=voxels)
    grouped: dict[str, list[dict[str, Any]]] = {}
    for entry in own:
        grouped.setdefault(entry["method"], []).append(entry)
    return {
        "panel": [{"chosen": chosen, "row": rows[chosen.case]} for chosen in together],
        "views": [{"case": chosen.case, **views[chosen.case]} for chosen in together if chosen.case in views],
        "own": [{"method": method, "cases": entries} for method, entries in grouped.items()],
        "own_methods": OWN_METHODS,
        "colours": {name: colour(i) for i, name in enumerate(subject.dataset.labels.values())},
        "drawn_seed": _drawn_seed(subject),
    }


def _drawn_seed(subject: Subject) -> int | None:
    """The seed whose predictions are drawn, where there are several."""
    return subject.runs[0].seed if len(subject.seeds) > 1 else None


def _runs(subject: Subject, results: scores.Results) -> dict[tuple[str, str], layout.RunName]:
    """(method, case) → the run whose prediction is drawn: of the fold that scores the case, the first seed."""
    scored = {(row["method"], row["fold"], row["seed"], row["case"]) for row in results.scores}
    found: dict[tuple[str, str], layout.RunName] = {}
    for run in subject.runs:
        for case in {key[3] for key in scored if key[:3] == (run.method, run.fold, run.seed)}:
            found.setdefault((run.method, case), run)
    return found


def _key(run: layout.RunName, case: str) -> tuple[str, int, int, str]:
    return run.method, run.fold, run.seed, case


def _dice(of_labels: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in of_labels.items())


def _scored(
    subject: Subject,
    by_run: dict[tuple[str, int, int, str], dict[str, float]],
    run: layout.RunName | None,
    case: str,
) -> panels.Scored:
    """What a run's prediction of a case scored, as the scores have it."""
    of_labels = by_run.get(_key(run, case), {}) if run else {}
    values = list(of_labels.values())
    return panels.Scored(
        mean=scores.number(mean(values) if values else None, 3),
        labels=tuple(
            (label, name, scores.number(of_labels.get(name), 3))
            for label, name in sorted(subject.dataset.labels.items())
        ),
        fold=run.fold if run else None,
        seed=run.seed if run else None,
    )


def _own_pictures(case: cases.Case, method: str) -> dict[str, Any]:
    """The pictures of a method's own case, or the reason why there are none."""
    problem = case.problem or case.problems.get(method, "")
    if problem:
        return {"problem": problem, "pictures": ()}
    drawn = tuple(pictures_of(case.image, case.reference, case.predictions[method]))
    return {"problem": "", "pictures": drawn}


def _views(
    subject: Subject, case: cases.Case, *, scored: dict[str, panels.Scored], voxels: int
) -> dict[str, Any]:
    """What viewer and surfaces need of a volume."""
    labels = subject.dataset.labels
    words = {method: entry.words for method, entry in scored.items()}
    slices = viewer.content(case.scene, labels=labels, dice=words, voxels=voxels)
    made: dict[str, Any] = {"slices": slices, "said": viewer.sentence(slices), "surfaces": None}
    found = surfaces.views(case.scene, list(labels))
    if found is not None:
        frame, views = found
        made["surfaces"] = {
            "cell": frame.cell_mm,
            "stills": {name: surfaces.still(parts, frame) for name, parts in views.items()},
            "data": {
                "low": frame.low,
                "high": frame.high,
                "turn": surfaces.TURN,
                "tilt": surfaces.TILT,
                "light": surfaces.LIGHT,
                "colours": [colour(i) for i in range(len(labels))],
                "views": {name: surfaces.content(parts, frame) for name, parts in views.items()},
            },
        }
    return made
