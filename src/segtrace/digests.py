"""Digests: of values, of a phase's code, of the environment, of a folder's state; and provenance records.

A code digest covers the import closure of a phase's roots inside this package, over the syntax tree
without comments and docstrings: a changed comment changes nothing, a changed line of any module that
the phase can reach does. What a registry imports by name (networks, readers, losses) is not in the
closure; the caller adds that module.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from segtrace.files import sha256_file, write_json

PACKAGE = Path(__file__).parent

#: The modules from which each phase's code is reached. Commands are left out on purpose: they read
#: configuration, whose resolved content has a digest of its own.
PHASE_ROOTS: dict[str, tuple[str, ...]] = {
    "acquire": ("segtrace.acquire.fetch", "segtrace.acquire.unpack", "segtrace.acquire.place"),
    "index": ("segtrace.index.build", "segtrace.index.gate"),
    "prepare": ("segtrace.prepare.cases",),
    "validate": ("segtrace.validate.masks", "segtrace.validate.gate"),
    "split": ("segtrace.split.protocols",),
    "train": ("segtrace.train.loop",),
    "predict": ("segtrace.predict.cases", "segtrace.predict.export"),
    "score": ("segtrace.score.cases",),
    "compare": ("segtrace.compare.tables",),
    "report": ("segtrace.report.page",),
}


def digest(value: Any) -> str:
    """SHA-256 (first 16 hexadecimal digits) of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _module_file(module: str) -> Path | None:
    """The file of a module of this package, or None if it is not one."""
    parts = module.split(".")
    if parts[0] != "segtrace":
        return None
    base = PACKAGE.joinpath(*parts[1:])
    if base.with_suffix(".py").is_file() and len(parts) > 1:
        return base.with_suffix(".py")
    return base / "__init__.py" if (base / "__init__.py").is_file() else None


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


@cache
def _parse(path: Path, _stamp: tuple[int, int]) -> tuple[str, tuple[str, ...]]:
    """(digest of the syntax tree, modules of this package that the file imports)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imported.add(node.module)
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    text = ast.dump(_strip_docstrings(tree))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(
        sorted(m for m in imported if m.startswith("segtrace"))
    )


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def closure(roots: Iterable[str]) -> list[Path]:
    """Files of this package that ``roots`` (module names) reach by import, sorted."""
    waiting, seen = list(roots), set[Path]()
    while waiting:
        module = waiting.pop()
        path = _module_file(module)
        if path is None or path in seen:
            continue
        seen.add(path)
        waiting.extend(_parse(path, _stamp(path))[1])
        if "." in module:  # importing a module runs the __init__ of each package above it
            waiting.append(module.rpartition(".")[0])
    return sorted(seen)


def code_digest(phase: str, *, extra: Iterable[str] = ()) -> str:
    """Digest of a phase's code: the closure of its roots and of the ``extra`` modules, and their templates."""
    files = closure([*PHASE_ROOTS[phase], *extra])
    parts = {str(path.relative_to(PACKAGE)): _parse(path, _stamp(path))[0] for path in files}
    for folder in sorted({path.parent / "templates" for path in files}):
        parts |= {
            str(path.relative_to(PACKAGE)): sha256_file(path) for path in folder.glob("*") if path.is_file()
        }
    return digest(parts)


def prepared_case(row_digest: str, *, recipe: Mapping[str, Any], code: str) -> str:
    """Digest of what a prepared case is made from: its indexed bytes, the recipe (as JSON; where it comes
    from is no part of what it does), and ``code``, the code digest of ``prepare`` with the data set's reader.
    """
    return digest([row_digest, {key: value for key, value in recipe.items() if key != "source"}, code])


def environment_digest(lock: Path = Path("envs/requirements.lock")) -> str:
    """Digest of the environment lock: its pins, without comments; 'none' where there is no lock."""
    if not lock.is_file():
        return "none"
    lines = (line.split("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines())
    return digest(sorted(line for line in lines if line))


def tree_signature(folder: Path) -> str:
    """Digest of a folder's state: path, size, mtime and ctime of each file; 'absent' without a folder.

    It reads no content. The change time is in it because no tool can set it back: a file replaced by
    one with an older modification time, or edited in place with its times restored, still shows.
    """
    if not folder.is_dir():
        return "absent"
    rows: list[tuple[str, int, int, int]] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = os.path.join(root, name)
            status = os.lstat(path)
            rows.append(
                (os.path.relpath(path, folder), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            )
    return digest(sorted(rows))


def write_record(
    output: Path,
    *,
    phase: str,
    inputs: Mapping[str, Any],
    configuration: Any,
    code: str,
    environment: str | None = None,
) -> None:
    """Write ``<output>.prov.json``: what ``output`` was made from. It holds no time and no machine path."""
    write_json(
        output.with_name(output.name + ".prov.json"),
        {
            "output": output.name,
            "phase": phase,
            "inputs": dict(inputs),
            "configuration": digest(configuration),
            "code": code,
            "environment": environment if environment is not None else environment_digest(),
        },
    )
