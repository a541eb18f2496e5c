"""What each phase adds to a chain, and what it was made from in turn.

Each function takes a step, looks up what is needed of its job, notes what is shown and which links do not
hold, and adds to what is needed of the jobs below.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from segtrace import layout
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.trace import jobs
from segtrace.trace.cells import FIRST
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import Needs, Step, file_entry, need, row_of
from segtrace.trace.identity import members
from segtrace.trace.raw import together

# --- tables and scores --------------------------------------------------------------------------------


def _tables(step: Step, needs: Needs, facts: Facts) -> None:
    del needs
    step.shown["files"] = [file_entry(path, facts.sums(step.job)) for path in jobs.outputs(step.job)]
    asked, now = facts.asked(step.job), facts.config
    keys = ("experiments", "budget", "seeds") if step.job.phase == "overview" else ("budget", "seeds")
    step.notes += [
        f"made for {key} {getattr(asked, key)}; config/config.yaml asks for {getattr(now, key)}"
        for key in keys
        if getattr(asked, key) != getattr(now, key)
    ]


def _score(step: Step, needs: Needs, facts: Facts) -> None:
    wanted, table = needs[step.job], jobs.outputs(step.job)[0]
    run, variant = jobs.run_of(step.job), jobs.variant_of(step.job)
    step.shown["files"] = [file_entry(table, facts.sums(step.job))]
    step.shown["rows"] = [
        {"line": number, "case": row["case"], "label": row["label"], "reason": row.get("reason", "")}
        for number, row in enumerate(facts.rows(table), FIRST)
        if row["label"] in wanted.get(row["case"], ())
    ]
    found = {(row["case"], row["label"]) for row in step.shown["rows"]}
    for case, labels in sorted(wanted.items()) if facts.rows(table) else ():
        for label in sorted(labels - {label for of, label in found if of == case}):
            step.broken(f"{table}: row of case {case}, label {label}", recorded="there", now="missing")
    need(needs, jobs.predict(run, variant), wanted, "scored")
    need(needs, jobs.split(run.dataset, run.protocol), wanted, str(run.fold))
    need(needs, jobs.index(run.dataset), wanted, "reference")
    if variant.grid == "prepared":
        need(needs, jobs.validate(run.dataset, run.recipe), wanted, "reference")


# --- predictions and checkpoints ----------------------------------------------------------------------


def _predict(step: Step, needs: Needs, facts: Facts) -> None:
    wanted, table = needs[step.job], jobs.outputs(step.job)[0]
    run, variant = jobs.run_of(step.job), jobs.variant_of(step.job)
    rows, sums = facts.rows(table), facts.sums(step.job)
    step.shown["files"] = [file_entry(table, sums)]
    step.shown["label_maps"] = []
    for number, row in enumerate(rows, FIRST):
        if row["case"] in wanted:
            path = str(table.parent / row["file"])
            step.scope[path] = row["case"]
            step.shown["label_maps"].append(
                {
                    "case": row["case"],
                    "line": number,
                    "file": path,
                    "recorded": row["sha256"],
                    "now": sums.get(path),
                }
            )
    absent = sorted(set(wanted) - set(step.scope.values()))
    if absent and rows:
        step.notes.append(f"cases without a prediction, scored as missing: {', '.join(absent)}")
    weights = layout.WEIGHTS[variant.checkpoint]
    need(needs, jobs.train(run), (weights, "run.json"), "predicted with")
    need(needs, jobs.split(run.dataset, run.protocol), wanted, str(run.fold))
    need(needs, jobs.validate(run.dataset, run.recipe), wanted, "predicted")


def _train(step: Step, needs: Needs, facts: Facts) -> None:
    run, sums = jobs.run_of(step.job), facts.sums(step.job)
    step.shown["files"] = [
        file_entry(path, sums) for path in jobs.outputs(step.job) if path.name in needs[step.job]
    ]
    resolved = facts.json(layout.run(run) / "run.json")
    step.shown["run"] = resolved
    try:
        used = members(run, ("train", "val"))
    except SegtraceError:  # no split: its own step says so
        used = []
    listed = resolved.get("cases", {})
    told = [(case, role) for role in ("train", "val") for case in listed.get(role, ())]
    if resolved and used and sorted(told) != sorted(used):
        step.broken("cases of run.json and of the split", recorded=len(told), now=f"{len(used)}, others")
    for role, use in (("train", "trained on"), ("val", "validated on")):
        cases = [case for case, its in sorted({*used, *told}) if its == role]
        need(needs, jobs.split(run.dataset, run.protocol), cases, str(run.fold))
        need(needs, jobs.validate(run.dataset, run.recipe), cases, use)


def _split(step: Step, needs: Needs, facts: Facts) -> None:
    table, wanted = jobs.outputs(step.job)[0], needs[step.job]
    step.shown["files"] = [file_entry(path, facts.sums(step.job)) for path in jobs.outputs(step.job)]
    step.shown["rows"] = [
        {"line": number, "case": row["case"], "fold": row["fold"], "role": row["role"]}
        for number, row in enumerate(facts.rows(table), FIRST)
        if row["fold"] in wanted.get(row["case"], ())
    ]
    step.shown["rows"].sort(key=lambda row: ("test", "val", "train").index(row["role"]))
    missing = set(wanted) - {row["case"] for row in step.shown["rows"]}
    for case in sorted(missing) if facts.rows(table) else ():
        step.broken(f"{table}: row of case {case}", recorded="there", now="missing")
    need(needs, jobs.index(jobs.dataset_of(step.job)), wanted, "split")


# --- prepared and indexed cases -----------------------------------------------------------------------


def _validate(step: Step, needs: Needs, facts: Facts) -> None:
    dataset, recipe = step.job.name.split("/")
    wanted, outputs = needs[step.job], jobs.outputs(step.job)
    step.shown["files"] = [file_entry(path, facts.sums(step.job)) for path in outputs]
    step.shown["gate"] = {"passed": facts.json(outputs[2]).get("passed")}
    if step.shown["gate"]["passed"] is not True:
        step.broken(f"{outputs[2]}: passed", recorded=True, now=step.shown["gate"]["passed"])
    rows = facts.rows(outputs[0])
    for case in sorted(wanted):
        found = row_of(step, outputs[0], rows, case)
        batch = int(found[1]["batch"]) if found else layout.batch_of(case, load.dataset(dataset).batches)
        for use in wanted[case]:
            need(needs, jobs.prepare(dataset, recipe, batch), (case,), use)
    need(needs, jobs.index(dataset), (), "")


def _prepare(step: Step, needs: Needs, facts: Facts) -> None:
    table, sums = jobs.outputs(step.job)[0], facts.sums(step.job)
    rows, wanted = facts.rows(table), needs[step.job]
    made = facts.made(step.job) or {}
    step.shown["files"] = [file_entry(table, sums)]
    step.shown["recipe"] = made.get("configuration", {}).get("recipe")
    step.shown["cases"] = []
    for case in _scored_first(wanted, "predicted"):
        found = row_of(step, table, rows, case)
        if found is None:
            continue
        number, row = found
        used = sorted(wanted[case])
        arrays = []
        for kind in ("image",) if used == ["predicted"] else ("image", "label"):  # prediction reads no label
            path = str(table.parents[1] / f"{case}.{kind}.npy")
            if row[f"{kind}_sha256"]:
                arrays.append({"file": path, "recorded": row[f"{kind}_sha256"], "now": sums.get(path)})
                step.scope[path] = case
        step.shown["cases"].append(
            {"case": case, "line": number, "digest": row["digest"], "used": used, "arrays": arrays}
        )
    need(needs, jobs.index(jobs.dataset_of(step.job)), wanted, "prepared")


def _index(step: Step, needs: Needs, facts: Facts) -> None:
    table, gate, *more = jobs.outputs(step.job)
    folder = layout.raw(step.job.name)
    present = facts.tree(folder)
    rows = facts.rows(table)
    step.shown["files"] = [file_entry(path, facts.sums(step.job)) for path in (table, gate, *more)]
    step.shown["gate"] = {"passed": facts.json(gate).get("passed")}
    if step.shown["gate"]["passed"] is not True:
        step.broken(f"{gate}: passed", recorded=True, now=step.shown["gate"]["passed"])
    step.shown["cases"] = []
    for case in _scored_first(needs[step.job], "reference"):
        found = row_of(step, table, rows, case)
        if found is None:
            continue
        number, row = found
        entry: dict[str, Any] = {"case": case, "line": number, "digest": row["digest"]}
        for kind in ("image", "label"):
            names = json.loads(row[f"{kind}s"])
            now = together([present.get(name) for name in names])
            entry[f"{kind}s"], entry[f"{kind}_sha256"] = names, row[f"{kind}_sha256"]
            if now != row[f"{kind}_sha256"]:
                where = ", ".join(str(folder / name) for name in names)
                step.broken(
                    where,
                    recorded=f"sha256 {row[f'{kind}_sha256']}",
                    now=f"sha256 {now}" if now else "missing",
                )
            need(needs, jobs.acquire(step.job.name), names, case)
        step.shown["cases"].append(entry)
    need(needs, jobs.acquire(step.job.name), (), "")


def _scored_first(wanted: Mapping[str, set[str]], use: str) -> list[str]:
    """Cases in order, those that a number is about before those that the network was trained on."""
    return sorted(wanted, key=lambda case: (use not in wanted[case], case))


def _acquire(step: Step, needs: Needs, facts: Facts) -> None:
    path, folder = layout.receipt(step.job.name), layout.raw(step.job.name)
    receipt, present = facts.json(path), facts.tree(folder)
    listed = receipt.get("files", {})
    step.shown["files"] = [file_entry(path, facts.sums(step.job))]
    step.shown["raw"] = []
    for name, cases in needs[step.job].items():  # in the order of the indexed cases
        now, entry = present.get(name), listed.get(name)
        recorded = None if entry is None else entry[1]
        edited = "local edit" if listed else "no receipt"
        state = "missing" if now is None else "as in the receipt" if now == recorded else edited
        step.shown["raw"].append(
            {
                "file": str(folder / name),
                "cases": sorted(cases),
                "now": now,
                "receipt": recorded,
                "state": state,
            }
        )
        if state == "local edit":
            told = f"the receipt has sha256 {recorded}" if recorded else "the receipt does not list it"
            step.notes.append(f"local edit: {folder / name}: {told}, the file sha256 {now}")
    step.shown["archives"] = receipt.get("archives", [])
    step.shown["generator"] = receipt.get("generator")
    if receipt and not step.shown["archives"] and not step.shown["generator"]:
        step.notes.append(
            "no archive: these files were put here by hand, and the receipt is the first record of them"
        )


FOLLOW: dict[str, Callable[[Step, Needs, Facts], None]] = {
    "report": _tables,
    "overview": _tables,
    "compare": _tables,
    "score": _score,
    "predict": _predict,
    "train": _train,
    "split": _split,
    "validate": _validate,
    "prepare": _prepare,
    "index": _index,
    "acquire": _acquire,
}
