"""Calling the command lines of Snakemake, DVC and git, by lists of arguments."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from segtrace.errors import SegtraceError

#: Cache types of DVC with which cache and project share a file.
LINKED = ("hardlink", "symlink")


def program(name: str) -> str:
    """The program of the running environment if it has it, else whatever the path gives."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else name


def call(name: str, *arguments: str, show: bool = False, extra: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; its standard output, unless it is shown as it comes.

    Raises :class:`SegtraceError` with the end of its output where it fails or is not there.
    """
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"} | dict(extra or {})
    pipe = None if show else subprocess.PIPE
    try:
        done = subprocess.run(
            [program(name), *arguments], stdout=pipe, stderr=pipe, text=True, env=environment, check=False
        )
    except FileNotFoundError:
        raise SegtraceError(
            f"{name}: no such program; run make install, or activate its environment"
        ) from None
    if done.returncode:
        told = "" if show else "\n" + "\n".join((done.stderr or done.stdout).strip().splitlines()[-20:])
        raise SegtraceError(f"{name} {' '.join(arguments)}: ended with {done.returncode}{told}")
    return done.stdout or ""


def has_dvc() -> bool:
    """Whether the project is a DVC repository."""
    return Path(".dvc").is_dir()


def link_types() -> list[str]:
    """How DVC may link its cache into the project, from the project's, the user's and the system's configuration."""
    for line in call("dvc", "config", "--list").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "cache.type":
            return [part.strip() for part in value.split(",")]
    return ["reflink", "copy"]


def refuse_links() -> None:
    """Refuse hard and symbolic links into DVC's cache.

    Before a stage, DVC replaces linked outputs by copies with fresh times, and an edit of a linked file is
    an edit of the cache.
    """
    bad = [kind for kind in link_types() if kind in LINKED]
    if bad:
        raise SegtraceError(
            f"DVC's cache.type is {', '.join(link_types())}: with {' and '.join(bad)} an edited file would change the "
            "cache, and outputs would get new times without being made anew. Set it to copy: dvc config cache.type copy"
        )


def unclean() -> list[str]:
    """What ``dvc status`` finds changed, one line each. That ``index`` is always run is no change."""
    status = json.loads(call("dvc", "status", "--json") or "{}")
    found = []
    for stage, changes in status.items():
        for change in changes:
            if change == "always changed":
                continue
            for kind, files in change.items() if isinstance(change, dict) else [(str(change), {})]:
                listed = ", ".join(f"{name} {what}" for name, what in files.items()) if files else ""
                found.append(f"{stage}: {kind}" + (f": {listed}" if listed else ""))
    return found
