"""What differs between a job's record and the present, part by part, down to the key and the file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segtrace import digests
from segtrace.config import models
from segtrace.errors import SegtraceError
from segtrace.trace import check, identity, jobs, record
from segtrace.trace.jobs import Job

#: What stands for a value that one of the two sides does not have.
NOTHING = "nothing"


@dataclass(frozen=True)
class Change:
    """One key, file or input with its two values, as text."""

    what: str
    recorded: str
    now: str


@dataclass(frozen=True)
class Part:
    """One part of what a job is made from; it is the same where ``changes`` is empty."""

    name: str
    changes: tuple[Change, ...] = ()

    @property
    def same(self) -> bool:
        """Whether record and present agree."""
        return not self.changes


def parts(job: Job, config: models.Config) -> list[Part] | None:
    """Every part of what ``job`` is made from, compared; None where there is no record to compare with.

    A part that cannot be computed now, for a table that it reads is not there, has one change that says so.
    """
    made = record.read(jobs.outputs(job)[0])
    if made is None:
        return None
    found: list[Part] = []
    try:
        now = plain(identity.inputs(job, config))
        names = sorted(made["inputs"].keys() | now.keys())
        found += [Part(f"inputs.{name}", _inputs(name, made["inputs"], now)) for name in names]
    except SegtraceError as error:
        found.append(Part("inputs", (Change("what it reads", "there", f"not there ({error})"),)))
    readers: dict[str, Callable[[], tuple[Change, ...]]] = {
        "configuration": lambda: keys(made["configuration"], identity.configuration(job, config)),
        "code": lambda: _files(made["code"], identity.code(job, config)),
        "environment": lambda: _environment(str(made["environment"])),
    }
    for name, compare in readers.items():
        try:
            found.append(Part(name, compare()))
        except SegtraceError as error:
            found.append(Part(name, (Change(name, "there", f"not there ({error})"),)))
    return found


def between(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Part]:
    """Every part of what two records of one job say, compared."""
    names = sorted(then["inputs"].keys() | now["inputs"].keys())
    found = [Part(f"inputs.{name}", _inputs(name, then["inputs"], now["inputs"])) for name in names]
    locks = str(then["environment"]), str(now["environment"])
    return [
        *found,
        Part("configuration", keys(then["configuration"], now["configuration"])),
        Part("code", _files(then["code"], now["code"])),
        Part("environment", () if locks[0] == locks[1] else (Change("envs/requirements.lock", *locks),)),
    ]


def plain(value: Any) -> Any:
    """A value as it comes back from JSON: keys are text, tuples are lists."""
    return json.loads(json.dumps(value))


def keys(then: Any, now: Any) -> tuple[Change, ...]:
    """The dotted keys at which two configurations differ, with both values as JSON."""
    before, after = flat(plain(then)), flat(plain(now))
    return tuple(
        Change(key or "(all of it)", _text(before, key), _text(after, key))
        for key in sorted(before.keys() | after.keys())
        if _text(before, key) != _text(after, key)
    )


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings, and lists that hold mappings or lists, as one mapping of dotted keys."""
    if isinstance(value, dict) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [(str(place), item) for place, item in enumerate(value)]
    else:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{prefix}.{key}" if prefix else key)
    return found


def _text(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], sort_keys=True, ensure_ascii=False) if key in values else NOTHING


def _inputs(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Change, ...]:
    before, after = then.get(name, NOTHING), now.get(name, NOTHING)
    if isinstance(before, dict) and isinstance(after, dict):
        return _files(before, after)
    return () if before == after else (Change("digest", _sum(before), _sum(after)),)


def _files(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(file, _sum(then.get(file, NOTHING)), _sum(now.get(file, NOTHING)))
        for file in sorted(then.keys() | now.keys())
        if then.get(file) != now.get(file)
    )


def _sum(value: Any) -> str:
    """A digest as text; None is that of a file that is not there."""
    return "missing" if value is None else str(value)


def _environment(then: str) -> tuple[Change, ...]:
    now = digests.environment_digest()
    return () if then == now else (Change("envs/requirements.lock", then, now),)


def spelled_out(problem: check.Problem, compared: list[Part] | None) -> list[Change]:
    """A problem down to its keys and files, where it is about a part; else the problem itself."""
    for part in compared or []:
        if part.name == problem.what and part.changes:
            return [
                Change(f"{part.name}: {change.what}", change.recorded, change.now) for change in part.changes
            ]
    return [Change(problem.what, problem.recorded, problem.now)]


def reasons(job: Job, config: models.Config, compared: list[Part] | None) -> list[dict[str, str]]:
    """Why a job itself does not hold: bytes first, then parts down to their keys and files; none if it holds."""
    problems = check.problems(job, config)
    return [asdict(change) for problem in problems for change in spelled_out(problem, compared)]


def told(change: Mapping[str, str]) -> str:
    """A change with its two values, in words."""
    return f"{change['what']}: recorded {change['recorded']}, now {change['now']}"


def short(changes: Sequence[Mapping[str, str]]) -> str:
    """The first of several changes in a few words, and how many more there are."""
    state = "is missing" if changes[0]["now"].startswith("missing") else "has changed"
    return f"{changes[0]['what']} {state}" + (f", and {len(changes) - 1} more" if len(changes) > 1 else "")
