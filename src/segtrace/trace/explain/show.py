"""A chain as text: what ``segtrace explain`` prints."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Cases printed of a longer list.
CASES = 3
_TITLES = {
    "report": "page",
    "overview": "tables of all experiments",
    "compare": "tables of the experiment",
    "score": "scores of each case",
    "predict": "label maps",
    "train": "checkpoint",
    "split": "split",
    "validate": "prepared cases, judged",
    "prepare": "prepared cases",
    "index": "indexed cases",
    "acquire": "raw files",
}


def lines(found: dict[str, Any], *, every: bool) -> Iterator[str]:
    """The lines of a chain; ``every`` shows all cases instead of the first few."""
    yield _headline(found)
    if found["column"] or found["path"]:
        yield f"  {found['column'] or 'value'} = {_value(found['value'])}"
    elif found["values"]:
        yield "  " + ", ".join(f"{key} {value}" for key, value in found["values"].items() if value)
    for sentence in found["how"]:
        yield f"  {sentence}"
    yield from _recomputed(found)
    yield from _few(
        [f"  {case['case']}  {_value(case['value'])}{_marks(case)}" for case in found["cases"]], every
    )
    for step in found["steps"]:
        yield ""
        yield f"{step['phase']} {step['job']}: {_TITLES[step['phase']]}: {'holds' if step['holds'] else 'DOES NOT HOLD'}"
        for link in step["broken"]:
            yield f"  broken: {link.partition(': ')[2]}"
        for item in step.get("files", ()):
            yield f"  {item['file']}  sha256 {item['sha256'] or 'none: missing'}"
        yield from _SHOW.get(step["phase"], _nothing)(step, every)
        for note in step["notes"]:
            yield f"  {note}"
        yield _record(step["record"])
    yield ""
    yield _end(found)


def _headline(found: dict[str, Any]) -> str:
    if found["row"]:
        named = ", ".join(f"{key}={value}" for key, value in found["row"].items())
        return f"{found['table']}, line {found['line']}: {named}"
    return f"{found['table']}: {found['path']}" if found["path"] else f"{found['table']}: the whole table"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _value(value: Any) -> str:
    return "unknown (empty)" if value in (None, "") else _compact(value)


def _marks(case: dict[str, Any]) -> str:
    words = {"as_worst": "counted as worst", "missing": "a prediction is missing"}
    told = [word for key, word in words.items() if case[key]]
    return f"  ({', '.join(told)})" if told else ""


def _recomputed(found: dict[str, Any]) -> Iterator[str]:
    again = found["recomputed"]
    if again is None:
        return
    if again["equal"]:
        word = "compared" if found["kind"] in ("per_case", "histories") else "recomputed"
        yield f"  {word}: equal" + (f" ({again['cells']} cells)" if again["cells"] > 1 else "")
    for item in again["differences"]:
        yield f"  recomputed: {item['cell']}: the table has {_value(item['table'])}, it comes out as {_value(item['recomputed'])}"


def _few(listed: Sequence[str], every: bool, indent: str = "  ") -> Iterator[str]:
    yield from listed if every else listed[:CASES]
    if not every and len(listed) > CASES:
        yield f"{indent}and {len(listed) - CASES} more (--all)"


def _record(record: dict[str, Any] | None) -> str:
    if record is None:
        return "  no record of what it was made from"
    return (
        f"  code {record['code_digest']}, configuration {record['configuration_digest']}, "
        f"environment {record['environment_digest']}"
    )


def _end(found: dict[str, Any]) -> str:
    edits = sum(item["state"] == "local edit" for step in found["steps"] for item in step.get("raw", ()))
    told = f"; {_count(edits, 'raw file')} not as in the archive (local edits)" if edits else ""
    if found["holds"]:
        return f"every link holds, down to {_origins(found)}{told}"
    return f"{_count(len(found['broken']), 'broken link')}{told}"


def _origins(found: dict[str, Any]) -> str:
    told = []
    for step in found["steps"]:
        if step["phase"] == "acquire":
            told += [f"{entry['archive']} (sha256 {entry['sha256']})" for entry in step["archives"]]
            told += (
                [f"the generator of {step['job']} (code {step['generator']['code']})"]
                if step["generator"]
                else []
            )
            told += [f"the files of {step['job']} as they were put there"] if not told else []
    return ", ".join(told) or "the first step"


# --- what each phase shows ----------------------------------------------------------------------------


def _nothing(step: dict[str, Any], every: bool) -> Iterator[str]:
    del step, every
    yield from ()


def _score(step: dict[str, Any], every: bool) -> Iterator[str]:
    cases: dict[str, list[str]] = {}
    for row in step["rows"]:
        cases.setdefault(row["case"], []).append(str(row["line"]))
    yield f"  {_count(len(step['rows']), 'row')} of {_count(len(cases), 'case')}"
    yield from _few(
        [
            f"    {case}: {'line' if len(numbers) == 1 else 'lines'} {', '.join(numbers)}"
            for case, numbers in cases.items()
        ],
        every,
        "    ",
    )


def _state(recorded: str | None, now: str | None) -> str:
    if now == recorded:
        return "as recorded"
    return "missing" if now is None else f"now sha256 {now}"


def _predict(step: dict[str, Any], every: bool) -> Iterator[str]:
    maps = step["label_maps"]
    yield f"  {_count(len(maps), 'label map')}"
    told = [
        f"    {m['file'].rpartition('/')[2]}  sha256 {m['recorded']}  {_state(m['recorded'], m['now'])}"
        for m in maps
    ]
    yield from _few(told, every, "    ")


def _train(step: dict[str, Any], every: bool) -> Iterator[str]:
    del every
    run = step["run"]
    if not run:
        return
    network, training = run.get("network", {}), run.get("training", {})
    options = ", ".join(f"{key} {value}" for key, value in sorted(network.get("options", {}).items()))
    yield f"  network {network.get('name')}" + (f" ({options})" if options else "")
    yield (
        f"  training {run.get('training_name')}, budget {run.get('budget')}: {training.get('epochs')} epochs, seed "
        f"{run.get('seed')}, fold {run.get('fold')}, {training.get('precision')}, threads {run.get('threads')}"
    )
    cases = run.get("cases", {})
    yield f"  trained on {_count(len(cases.get('train', ())), 'case')}, validated on {len(cases.get('val', ()))}"
    machine = ", ".join(f"{key} {value}" for key, value in sorted((run.get("machine") or {}).items()))
    yield f"  machine: {machine or 'not recorded'}"


def _split(step: dict[str, Any], every: bool) -> Iterator[str]:
    roles: dict[str, dict[str, int]] = {}
    for row in step["rows"]:
        counts = roles.setdefault(row["fold"], {})
        counts[row["role"]] = counts.get(row["role"], 0) + 1
    for fold, counts in sorted(roles.items(), key=lambda item: int(item[0])):
        yield f"  fold {fold}: " + ", ".join(f"{count} {role}" for role, count in counts.items())
    told = [f"    {r['case']}: {r['role']} of fold {r['fold']} (line {r['line']})" for r in step["rows"]]
    yield from _few(told, every, "    ")


def _validate(step: dict[str, Any], every: bool) -> Iterator[str]:
    del every
    yield f"  gate: {'passed' if step['gate']['passed'] else 'not passed'}"


def _prepare(step: dict[str, Any], every: bool) -> Iterator[str]:
    recipe = step["recipe"] or {}
    told = ", ".join(
        f"{key} {_compact(value)}" for key, value in recipe.items() if value not in (None, False, "")
    )
    yield f"  recipe: {told or 'not recorded'}"
    yield f"  {_count(len(step['cases']), 'case')}"
    shown = []
    for case in step["cases"]:
        shown.append(f"    {case['case']}: digest {case['digest']}; {', '.join(case['used'])}")
        shown[-1] += "".join(
            f"\n      {a['file'].rpartition('/')[2]}  sha256 {a['recorded']}  {_state(a['recorded'], a['now'])}"
            for a in case["arrays"]
        )
    yield from _few(shown, every, "    ")


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _index(step: dict[str, Any], every: bool) -> Iterator[str]:
    yield f"  gate: {'passed' if step['gate']['passed'] else 'not passed'}"
    yield f"  {_count(len(step['cases']), 'case')}"
    told = [
        f"    {case['case']}: line {case['line']}, digest {case['digest']}, {', '.join(case['images'] + case['labels'])}"
        for case in step["cases"]
    ]
    yield from _few(told, every, "    ")


def _acquire(step: dict[str, Any], every: bool) -> Iterator[str]:
    raw = step["raw"]
    equal = sum(item["state"] == "as in the receipt" for item in raw)
    yield f"  {_count(len(raw), 'raw file')}, {equal} of them as in the receipt"
    told = [f"    {item['file']}  sha256 {item['now']}  {item['state']}" for item in raw]
    first = [line for line, item in zip(told, raw, strict=True) if item["state"] != "as in the receipt"]
    yield from _few(first + [line for line in told if line not in first], every, "    ")
    for entry in step["archives"]:
        yield f"  archive {entry['archive']}  sha256 {entry['sha256']} ({entry.get('verified_by', 'not verified')})"
    if step["generator"]:
        options = ", ".join(f"{key} {value}" for key, value in sorted(step["generator"]["options"].items()))
        yield f"  generated: code {step['generator']['code']}; {options}"


_SHOW: dict[str, Callable[[dict[str, Any], bool], Iterator[str]]] = {
    "score": _score,
    "predict": _predict,
    "train": _train,
    "split": _split,
    "validate": _validate,
    "prepare": _prepare,
    "index": _index,
    "acquire": _acquire,
}


def command(file: Path | str, keys: Mapping[str, Any], column: str | None = None) -> str:
    """The command that explains a row of a table, or one cell of it; of a JSON file the key ``""`` is the path."""
    row = ",".join(f"{key}={value}" if key else str(value) for key, value in keys.items())
    words = [
        "segtrace",
        "explain",
        str(file),
        *(["--row", row] if row else []),
        *(["--column", column] if column else []),
    ]
    return shlex.join(words)
