"""Networks, losses and frameworks by name: each is a module of its package with a function ``build``.

Only the module that is asked for is imported, so listing them is quick. A module whose name begins with an
underscore is registered nowhere.
"""

import ast
import importlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from segtrace.errors import SegtraceError, advice

#: What the things of a package are called.
KINDS = {"networks": "network", "losses": "loss", "distill": "framework"}
#: Parameters of ``build`` that data and network give, and a configuration may not set.
GIVEN = {
    "networks": ("in_channels", "out_channels", "spatial_dims"),
    "losses": (),
    "distill": (
        "encoder_channels",
        "encoder_scales",
        "decoder_channels",
        "decoder_scales",
        "out_channels",
        "background",
        "spatial_dims",
        "loss_of",
    ),
}


def names(package: str) -> list[str]:
    """The names registered in ``package``, sorted."""
    return sorted(path.stem for path in (Path(__file__).parent / package).glob("[!_]*.py"))


def module_of(package: str, name: str) -> str:
    """The dotted name of the module that holds ``name``; an unknown name names the nearest."""
    known = names(package)
    if name not in known:
        raise SegtraceError(f"no {KINDS[package]} {name!r}; {advice(name, known)}")
    return f"segtrace.{package}.{name}"


@cache
def source_of(package: str, name: str) -> ast.Module:
    """The module that holds ``name``, parsed and not imported."""
    file = f"{module_of(package, name).rpartition('.')[2]}.py"
    return ast.parse((Path(__file__).parent / package / file).read_text(encoding="utf-8"))


def build_of(package: str, name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """The function ``build`` of ``name``, which takes all of ``options``; else :class:`SegtraceError` with all :func:`faults`."""
    found = faults(package, name, options)
    if found:
        raise SegtraceError("\n".join(found))
    build: Callable[..., Any] = importlib.import_module(module_of(package, name)).build
    return build


def faults(package: str, name: str, options: Mapping[str, Any]) -> list[str]:
    """A line for each of ``options`` that ``name`` does not have (the nearest is named), or has for other values.

    Their values are of the kinds that ``build`` declares: true or false, whole numbers from 1 on, numbers from 0 on,
    lists of whole numbers, words. The module is read and not imported, so that a configuration can be checked before
    anything is computed; what a value within its kind means is for ``build`` to judge.
    """
    known = {key: kinds for key, kinds in declared(package, name).items() if key not in GIVEN[package]}
    found = []
    for option, value in options.items():
        if option not in known:
            hint = advice(option, list(known), otherwise="it has")
            found.append(f"{KINDS[package]} {name!r} has no option {option!r}; {hint}")
        elif expected := _refusal(value, known[option]):
            found.append(f"{KINDS[package]} {name!r}: {option} {value!r}; it takes {expected}")
    return found


@cache
def declared(package: str, name: str) -> dict[str, frozenset[str]]:
    """The parameters of ``build`` of ``name``, and the kinds that it declares for each: ``int``, ``None``, ``Sequence[int]``."""
    for node in source_of(package, name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            parameters = [*node.args.args, *node.args.kwonlyargs]
            return {one.arg: frozenset(_kinds(one.annotation)) for one in parameters}
    raise SegtraceError(
        f"{module_of(package, name)}: has no function 'build'; {KINDS[package]} {name!r} needs one"
    )


def _kinds(annotation: ast.expr | None) -> Iterator[str]:
    """The members of a union, as they are written."""
    if isinstance(annotation, ast.BinOp):
        yield from _kinds(annotation.left)
        yield from _kinds(annotation.right)
    elif annotation is not None:
        yield ast.unparse(annotation)


def _refusal(value: Any, kinds: Collection[str]) -> str:
    """What an option of these kinds takes, where it does not take ``value``; else nothing.

    YAML has 1e-4 for a word, "no" in quotes is true, and yes without them is no word.
    """
    if "None" in kinds and value is None:
        return ""
    otherwise = ", or null" if "None" in kinds else ""
    if "bool" in kinds and not isinstance(value, bool):
        return f"true or false, without quotes{otherwise}"
    if "int" in kinds and not _whole(value):
        return f"a whole number from 1 on{otherwise}"
    if "str" in kinds and not isinstance(value, str):
        return f"a word{otherwise}"
    if any(one.startswith("Sequence[") for one in kinds) and not (
        isinstance(value, Sequence) and not isinstance(value, str) and all(map(_whole, value))
    ):
        return f"a list of whole numbers from 1 on{otherwise}"
    if "float" in kinds and not (_number(value) and math.isfinite(value) and value >= 0):
        point = isinstance(value, str) and "e" in value.lower()
        return "a number from 0 on" + (
            "; YAML takes such a number only with a point: 1.0e-4" if point else otherwise
        )
    return ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
