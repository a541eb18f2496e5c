"""Reading configuration files, with errors that name the file, the key and the nearest known key."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from segtrace.config import models
from segtrace.errors import SegtraceError, advice, raise_all
from segtrace.files import check_safe_name

ROOT = Path("config")
KINDS: dict[str, type[models.Model]] = {
    "datasets": models.Dataset,
    "methods": models.Method,
    "training": models.Training,
    "budgets": models.Budget,
    "experiments": models.Experiment,
    "papers": models.Paper,
    "mappings": models.Mapping,
}
M = TypeVar("M", bound=models.Model)
P = ParamSpec("P")
R = TypeVar("R")
_settled = False


def settle() -> None:
    """Take the configuration as it is now until this process ends: no file is read, or looked at, twice.

    For a process that asks the same of it for thousands of jobs, as Snakemake does; each job's own process reads
    what there is when it starts.
    """
    global _settled
    _settled = True


def once(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` of the configuration, computed once for equal arguments after :func:`settle`, and each time before."""
    kept: dict[Any, R] = {}

    @wraps(function)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> R:
        if not _settled:
            return function(*arguments, **options)
        key = (arguments, tuple(sorted(options.items())))
        if key not in kept:
            kept[key] = function(*arguments, **options)
        return kept[key]

    return wrapper


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error, not the last one's silent win."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            line = key_node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(None, None, f"a key must be a plain word (line {line})")
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=deep)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice (line {line})")
        seen.add(key)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping; a fault is an error that names the file and line."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise SegtraceError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SegtraceError(f"{path}: not valid YAML: {error}") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise SegtraceError(f"{path}: expected keys and values, found {type(value).__name__}")
    raise_all(list(_not_finite(value, "")), heading=str(path), remedy="Give a number, or leave the key out.")
    return value


def _not_finite(value: Any, where: str) -> Iterator[str]:
    """A line for each number below ``where`` that is none: neither JSON nor a digest can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"key {where!r} is {value}, which is no finite number"
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _not_finite(part, f"{where}.{key}".lstrip("."))


def _model_at(model: Any, location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The model type that holds the field at ``location`` (all but its last part)."""
    current: Any = model
    for part in location[:-1]:
        candidates = [current, *get_args(current)]
        candidates += [inner for c in candidates for inner in get_args(c)]
        found = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if isinstance(part, str) and found is not None and part in found.model_fields:
            current = found.model_fields[part].annotation
        elif found is not None and not get_args(current):
            return None
    candidates = [current, *get_args(current)]
    candidates += [inner for c in candidates for inner in get_args(c)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _explain(model: type[BaseModel], error: Any) -> str:
    location = tuple(error["loc"])
    key = ".".join(str(part) for part in location) or "(top level)"
    if error["type"] == "extra_forbidden":
        owner = _model_at(model, location)
        known = list(owner.model_fields) if owner is not None else []
        hint = advice(str(location[-1]), known, otherwise="known keys")
        return f"unknown key {key!r}: {hint}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    shown = repr(error["input"])
    return f"key {key!r}: {message}; the value is {shown if len(shown) < 80 else shown[:77] + '...'}"


def validate(model: type[M], value: dict[str, Any], *, where: str) -> M:
    """``value`` as ``model``; every fault is listed, under the name ``where``."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise_all(
            [_explain(model, item) for item in error.errors()],
            heading=where,
            remedy="Mend the file and run again.",
        )
        raise


@once
def names(kind: str) -> list[str]:
    """Names of all files of a kind: ``datasets``, ``methods``, ``training``, ``budgets``, ``experiments``."""
    if not ROOT.is_dir():
        raise SegtraceError(f"no folder 'config' in {Path.cwd()}: run segtrace from the project's root")
    return sorted(path.stem for path in (ROOT / kind).glob("*.yaml"))


@once
def load(kind: str, name: str) -> Any:
    """The configuration file ``config/KIND/NAME.yaml``; an unknown name is an error that names the nearest."""
    path = ROOT / kind / f"{check_safe_name(name, what=f'{kind}: the name')}.yaml"
    if not path.is_file():
        known = experiments() if kind == "experiments" else names(kind)
        hint = advice(name, known)
        raise SegtraceError(f"{path}: no such file; {hint}")
    return _load_cached(kind, path, path.stat().st_mtime_ns)


@cache
def _load_cached(kind: str, path: Path, _mtime_ns: int) -> models.Model:
    return validate(KINDS[kind], read_yaml(path), where=str(path))


def dataset(name: str) -> models.Dataset:
    """The data set ``name``."""
    return load("datasets", name)


def method(name: str) -> models.Method:
    """The method ``name``."""
    return load("methods", name)


@once
def experiment(name: str) -> models.Experiment:
    """The experiment ``name``: its file's, or the default one of the data set of that name."""
    files = ROOT / "experiments" / f"{name}.yaml", ROOT / "datasets" / f"{name}.yaml"
    if not files[0].is_file() and files[1].is_file():
        return models.default_experiment(name, dataset(name))
    found: models.Experiment = load("experiments", name)
    _check_published_labels(found, where=str(files[0]))
    return found


def require_experiments(wanted: Iterable[str]) -> None:
    """Raise one :class:`SegtraceError` with all that is wrong with the experiments ``wanted``."""
    problems = []
    for name in wanted:
        try:
            experiment(name)
        except SegtraceError as error:
            problems.append(str(error))
    if problems:
        raise SegtraceError("\n".join(problems))


def _check_published_labels(given: models.Experiment, *, where: str) -> None:
    """Refuse columns of published values that are of a label which the data set does not have."""
    if given.published is None:
        return
    known = {0, *dataset(given.dataset).scored}
    raise_all(
        [
            f"key 'published.columns': {column.name!r} is of label {column.label}"
            for column in given.published.columns
            if column.label not in known
        ],
        heading=where,
        remedy=f"{given.dataset} has the labels {', '.join(map(str, sorted(known - {0})))}, and 0 for their mean.",
    )


@once
def experiments() -> list[str]:
    """All experiments there are: those of files, and the default one of each data set whose name no file has."""
    return sorted({*names("experiments"), *names("datasets")})


def _listed(value: Any) -> Any:
    """A command line gives one name or several joined by commas; a file gives a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else value


def main_config(overrides: dict[str, Any] | None = None) -> models.Config:
    """``config/config.yaml`` with ``overrides`` (from ``snakemake --config`` or options) in place."""
    value = read_yaml(ROOT / "config.yaml") | {k: v for k, v in (overrides or {}).items() if v is not None}
    for key in ("experiments", "seeds", "tracking"):
        if key in value:
            value[key] = _listed(value[key])
    where = str(ROOT / "config.yaml") + (" with the options of the command line" if overrides else "")
    return validate(models.Config, value, where=where)


def part(owner: str, kind: str, parts: dict[str, Any], name: str) -> Any:
    """``parts[name]``: a recipe or protocol of a data set; an unknown name is an error naming the nearest."""
    if name not in parts:
        hint = advice(name, list(parts))
        raise SegtraceError(f"{ROOT}/datasets/{owner}.yaml: no {kind} {name!r}; {hint}")
    return parts[name]
