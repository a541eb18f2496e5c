"""Probes of DVC: its cache type, its cache's disk, its remotes."""

import os
from pathlib import Path

from segtrace.errors import advice
from segtrace.trace.doctor.machine import Answer, Finding, Machine
from segtrace.trace.doctor.probes_storage import room_of
from segtrace.trace.tools import LINKED


def dvc(machine: Machine) -> list[Finding]:
    """DVC's cache type, its cache's disk, and its remote."""
    answer = machine.ask([machine.tool("dvc"), "config", "--list", "--show-origin"])
    if answer.code is None:
        return [Finding("warning", f"DVC's settings are not known: {answer.errors}", "make install")]
    if answer.code != 0:
        return [
            Finding(
                "error",
                f"dvc config --list fails: {_last_line(answer)}",
                "mend the file that the message names",
            )
        ]
    settings = [_setting(line) for line in answer.output.splitlines() if "=" in line]
    if not Path(".dvc").is_dir():
        said = Finding(
            "note", "this folder is no DVC repository: data and results cannot be pinned", "dvc init"
        )
        return [said, _cache_type(settings)]
    return [_cache_type(settings), _cache_room(machine, settings), *_remotes(settings)]


def _last_line(answer: Answer) -> str:
    lines = (answer.errors or answer.output).strip().splitlines()
    return next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no answer")


def _setting(line: str) -> tuple[str, str, str]:
    """(file, key, value) of a line of ``dvc config --list --show-origin``."""
    origin, _, rest = line.rpartition("\t") if "\t" in line else ("", "", line)
    key, _, value = rest.partition("=")
    return origin.strip(), key.strip(), value.strip()


def _value(settings: list[tuple[str, str, str]], key: str) -> tuple[str, str] | None:
    """(file, value) of a key; of several files the last wins: system, user, project, local."""
    found = [(origin, value) for origin, name, value in settings if name == key]
    return found[-1] if found else None


def _cache_type(settings: list[tuple[str, str, str]]) -> Finding:
    found = _value(settings, "cache.type")
    if found is None:
        return Finding("note", "DVC's cache type is its default, reflink,copy: files are their own")
    origin, value = found
    kinds = [part.strip() for part in value.split(",")]
    linked = [kind for kind in kinds if kind in LINKED]
    if linked:
        local = " --local" if origin.endswith("config.local") else ""
        return Finding(
            "error",
            f"DVC's cache type is {value} (from {origin or 'its configuration'}): a file that DVC unprotects is "
            "copied and gets fresh times, and a file that is written in place changes the cache",
            f"dvc config{local} cache.type copy",
        )
    if "reflink" in kinds:
        return Finding(
            "note", f"DVC's cache type is {value}: files are their own, and share blocks if they can"
        )
    return Finding("ok", f"DVC's cache type is {value}")


def _cache_room(machine: Machine, settings: list[tuple[str, str, str]]) -> Finding:
    found = _value(settings, "cache.dir")
    folder = Path(".dvc/cache") if found is None else Path(found[0]).parent / Path(found[1]).expanduser()
    return room_of(machine, folder, "DVC's cache", least=1.0, enough=5.0)


def _remotes(settings: list[tuple[str, str, str]]) -> list[Finding]:
    remotes = {
        name.removeprefix("remote.").removesuffix(".url"): (origin, value)
        for origin, name, value in settings
        if name.startswith("remote.") and name.endswith(".url")
    }
    if not remotes:
        return [
            Finding(
                "note",
                "DVC has no remote: what is pinned can be brought back on this machine alone",
                "dvc remote add -d store /path/to/a/folder (docs/remotes.md)",
            )
        ]
    said = []
    default = _value(settings, "core.remote")
    if default is None:
        said.append(
            Finding(
                "warning", "DVC has remotes but no default one", f"dvc remote default {sorted(remotes)[0]}"
            )
        )
    elif default[1] not in remotes:
        hint = advice(default[1], sorted(remotes))
        said.append(
            Finding(
                "error",
                f"DVC's default remote is {default[1]!r}, which is not configured",
                f"{hint} dvc remote default NAME",
            )
        )
    for name, (origin, url) in sorted(remotes.items()):
        said.append(_remote(name, origin, url))
        verify = _value(settings, f"remote.{name}.verify")
        if verify is None or verify[1].lower() not in ("true", "on", "yes", "1"):
            said.append(
                Finding(
                    "note",
                    f"DVC does not check what it pulls from {name}: bytes that were changed there would pass",
                    f"dvc remote modify {name} verify true",
                )
            )
    return said


def _remote(name: str, origin: str, url: str) -> Finding:
    if "://" in url and not url.startswith("file://"):
        return Finding("ok", f"DVC's remote {name}: {url} (not contacted; dvc status -c does)")
    folder = Path(origin).parent / Path(url.removeprefix("file://")).expanduser()
    shown = os.path.normpath(folder)
    if not folder.is_dir():
        parent = folder.parent.is_dir()
        return Finding(
            "note" if parent else "warning",
            f"DVC's remote {name}: the folder {shown} does not exist"
            + ("; the first dvc push makes it" if parent else ", nor does the one that it lies in"),
            f"mkdir -p {shown}, mount its disk, or dvc remote modify {name} url /another/folder",
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        return Finding(
            "warning", f"DVC's remote {name}: {shown} cannot be read", f"check owner and mode of {shown}"
        )
    if not os.access(folder, os.W_OK):
        return Finding(
            "note", f"DVC's remote {name}: {shown} can be read, but not written to: dvc push will fail"
        )
    return Finding("ok", f"DVC's remote {name}: {shown}")
