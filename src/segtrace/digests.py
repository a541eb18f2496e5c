"""Digests: of values, of a phase's code, of the environment.

A code digest covers the import closure of a phase's roots inside this package, over the syntax tree
without comments and docstrings: a changed comment changes nothing, a changed line of any module that
the phase can reach does. What a registry imports by name (networks, readers, losses) is not in the
closure; the caller adds that module.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from segtrace.files import sha256_file

PACKAGE = Path(__file__).parent

#: The modules from which a phase's code is reached. A phase that writes tables also depends on their form.
PHASE_ROOTS: dict[str, tuple[str, ...]] = {
    "acquire": ("segtrace.acquire.command",),
    "index": ("segtrace.index.command", "segtrace.tables"),
    "prepare": ("segtrace.prepare.command", "segtrace.tables"),
    "validate": ("segtrace.validate.command", "segtrace.tables"),
    "split": ("segtrace.split.command", "segtrace.tables"),
    "train": ("segtrace.train.command",),
    "predict": ("segtrace.predict.command", "segtrace.tables"),
    "score": ("segtrace.score.command", "segtrace.tables"),
    "compare": ("segtrace.compare.command", "segtrace.tables"),
    "report": ("segtrace.report.command", "segtrace.tables"),
}
#: What one case depends on, where a job redoes only the cases that need it: not the form of the table.
CASE_ROOTS: dict[str, tuple[str, ...]] = {
    "prepare": ("segtrace.prepare.cases",),
    "predict": ("segtrace.predict.cases", "segtrace.predict.export"),
}
#: Modules whose work is itself part of what a job is compared by, so that their code need not be: resolved
#: configuration, paths, digests; the reading of tables, whose content counts; and what only shows or ends.
CUT = (
    "segtrace.config",
    "segtrace.trace",
    "segtrace.digests",
    "segtrace.seen",
    "segtrace.layout",
    "segtrace.tables",
    "segtrace.errors",
    "segtrace.options",
    "segtrace.progress",
    "segtrace.gpus",
    "segtrace.leases",
    "segtrace.train.tracking",
    "segtrace.train.interruption",
    "segtrace.train.launch",
)

LOCK = Path("envs/requirements.lock")
#: Packages whose versions decide numbers.
DECISIVE = (
    "torch",
    "monai",
    "numpy",
    "scipy",
    "simpleitk",
    "pillow",
    "einops",
    "safetensors",
    "pandas",
    "pydicom",
    "highdicom",
)


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
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, path)
            imported.add(module)
            imported.update(f"{module}.{alias.name}" for alias in node.names)
    text = ast.dump(_strip_docstrings(tree))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(
        sorted(m for m in imported if m.startswith("segtrace"))
    )


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """The full name of the module that ``from … import`` names in the file ``path``."""
    if not node.level:
        return node.module or ""
    package = ["segtrace", *path.relative_to(PACKAGE).parent.parts]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def closure(roots: Iterable[str], *, cut: Iterable[str] = ()) -> list[Path]:
    """Files of this package that ``roots`` (module names) reach by import, sorted.

    The search does not enter modules of ``cut``, unless one is a root itself.
    """
    cut = tuple(cut)
    waiting, seen = list(roots), set[Path]()
    entered = set(waiting)
    while waiting:
        module = waiting.pop()
        path = _module_file(module)
        if path is None or path in seen:
            continue
        if module not in entered and any(module == name or module.startswith(name + ".") for name in cut):
            continue
        seen.add(path)
        waiting.extend(_parse(path, _stamp(path))[1])
        if "." in module:  # importing a module runs the __init__ of each package above it
            waiting.append(module.rpartition(".")[0])
    return sorted(seen)


@cache
def _modules(roots: tuple[str, ...]) -> dict[str, str]:
    """File → digest of all that ``roots`` reach; once a process, for many runs share their code."""
    files = closure(roots, cut=CUT)
    found = {str(path.relative_to(PACKAGE)): _parse(path, _stamp(path))[0][:16] for path in files}
    for folder in sorted({path.parent / "templates" for path in files}):
        found |= {
            str(path.relative_to(PACKAGE)): sha256_file(path)[:16]
            for path in folder.rglob("*")
            if path.is_file()
        }
    return found


def code_of(phase: str, *, extra: Iterable[str] = ()) -> dict[str, str]:
    """File of this package → digest of its code, for all that a phase and the ``extra`` modules reach."""
    return dict(_modules((*PHASE_ROOTS[phase], *extra)))


def code_digest(phase: str, *, extra: Iterable[str] = ()) -> str:
    """Digest of a phase's code: the closure of its roots and of the ``extra`` modules, and their templates."""
    return digest(code_of(phase, extra=extra))


def case_code(phase: str, *, extra: Iterable[str] = ()) -> str:
    """Digest of the code that makes one case of ``prepare`` or ``predict``, and of the environment it runs in."""
    return digest([_modules((*CASE_ROOTS[phase], *extra)), environment_digest()])


def prepared_case(row_digest: str, *, recipe: Mapping[str, Any], code: str) -> str:
    """Digest of what a prepared case is made from: its indexed bytes, the recipe (as JSON; where it comes
    from is no part of what it does), and ``code``, the code digest of ``prepare`` with the data set's reader.
    """
    return digest(
        [row_digest, {key: value for key, value in recipe.items() if key not in ("source", "faults")}, code]
    )


def environment_digest(lock: Path = LOCK) -> str:
    """Digest of the environment: the pins of the lock, without comments, and what is installed instead of them.

    Of the packages that decide numbers, a version that is installed and is not the pinned one counts
    too, so an upgrade by hand is a change. A build tag (``+cpu``) is none. 'none' where there is no lock.
    """
    lines = _lines(lock)
    if lines is None:
        return "none"
    for name, version in pins(lock).items():
        installed = _installed(name.lower())
        if installed is not None and installed != version.split("+")[0]:
            lines.append(f"{name}=={installed} is installed")
    return digest(sorted(lines))


def pins(lock: Path = LOCK) -> dict[str, str]:
    """Package → version that the lock names; nothing where there is no lock."""
    found = (line.split(";")[0].partition("==") for line in _lines(lock) or ())
    return {name.strip(): version.strip() for name, equal, version in found if equal}


def _lines(lock: Path) -> list[str] | None:
    """The lines of a lock without comments; None where there is none."""
    if not lock.is_file():
        return None
    lines = (line.split("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


@cache
def _installed(name: str) -> str | None:
    """The installed version of a package that decides numbers; None for others, and where it is not installed."""
    if name not in DECISIVE:
        return None
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        return None
