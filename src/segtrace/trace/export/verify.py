"""Is a folder the crate that it should be? A structural check that needs no network and no other program.

It is run after each export, and it is stricter than the profiles where segtrace promises more: checksums of
all files, no raw data, no path of the machine.
"""

import getpass
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segtrace.files import sha256_file
from segtrace.trace.jobs import RECORD

METADATA = "ro-crate-metadata.json"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
#: The profiles that the crate follows: address and name.
PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate"),
)
WORKFLOW_TYPES = {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
COMPLETED = "http://schema.org/CompletedActionStatus"
#: Properties whose value may be an address that the crate says nothing else about.
_OUTWARD = {"conformsTo", "url", "identifier"}
_TEXTS = {"", ".csv", ".json", ".yaml", ".smk", ".rst", ".lock"}
_HOMES = (
    "home|Users|root|tmp|mnt|media|scratch|srv|data|work|workspace|opt|var|private|Volumes|lustre|gpfs|nfs"
)
Entities = Mapping[str, Mapping[str, Any]]


def check_crate(folder: Path) -> list[str]:
    """Every fault of the crate in ``folder``, as one readable line each; none if it is what it should be."""
    try:
        document = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        graph = document["@graph"]
        entities = {entity["@id"]: entity for entity in graph}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{METADATA}: no JSON-LD of an RO-Crate ({error!r})"]
    checks = (_descriptor, _root, _main_entity, _action)
    found = [fault for check in checks for fault in check(entities)]
    if len(entities) < len(graph):
        found.append(f"{METADATA}: an @id is given twice")
    found += _references(entities)
    sums = {path.relative_to(folder).as_posix(): sha256_file(path) for path in _paths(folder)}
    found += _files(folder, entities, sums)
    found += _records(folder, entities)
    found += _machine(folder)
    return [*found, *_raw(folder, sums)]


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / METADATA)


def listed(value: Any) -> list[Any]:
    """The values of a property: JSON-LD gives one by itself and several in a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _ids(entity: Mapping[str, Any], key: str) -> list[str]:
    return [value["@id"] for value in listed(entity.get(key)) if isinstance(value, dict) and "@id" in value]


def _descriptor(entities: Entities) -> Iterator[str]:
    descriptor = entities.get(METADATA, {})
    if SPECIFICATION not in _ids(descriptor, "conformsTo"):
        yield f"{METADATA}: its descriptor does not conform to {SPECIFICATION}"
    if _ids(descriptor, "about") != ["./"]:
        yield f"{METADATA}: its descriptor is not about ./"


def _root(entities: Entities) -> Iterator[str]:
    top = entities.get("./", {})
    for key in ("name", "description", "license", "datePublished", "hasPart"):
        if not top.get(key):
            yield f"./: no {key}"
    for url, name in PROFILES:
        if url not in _ids(top, "conformsTo"):
            yield f"./: does not conform to {name} ({url})"


def _main_entity(entities: Entities) -> Iterator[str]:
    name = (_ids(entities.get("./", {}), "mainEntity") or ["none"])[0]
    missing = WORKFLOW_TYPES - set(listed(entities.get(name, {}).get("@type")))
    if missing:
        yield f"./: its mainEntity {name} lacks the types {', '.join(sorted(missing))}"
    elif not _ids(entities[name], "programmingLanguage"):
        yield f"{name}: no programmingLanguage"


def _action(entities: Entities) -> Iterator[str]:
    top = entities.get("./", {})
    runs = {name: e for name, e in entities.items() if "CreateAction" in listed(e.get("@type"))}
    if not runs:
        yield "no CreateAction: nothing says what was run"
    for name, run in runs.items():
        if _ids(run, "instrument") != _ids(top, "mainEntity"):
            yield f"{name}: its instrument is not the workflow"
        yield from (f"{name}: no {key}" for key in ("object", "result") if not _ids(run, key))
        if run.get("actionStatus") != COMPLETED:
            yield f"{name}: its actionStatus is not {COMPLETED}"
        if name not in _ids(top, "mentions"):
            yield f"{name}: not mentioned by ./"
        apart = set(_ids(run, "result")) - set(_ids(top, "hasPart"))
        yield from (f"{result}: a result that is not in hasPart" for result in sorted(apart))


def _references(entities: Entities) -> Iterator[str]:
    for name, entity in entities.items():
        for key in entity:
            for target in _ids(entity, key):
                outward = key in _OUTWARD and re.match("https?://", target)
                if target not in entities and not outward:
                    yield f"{name}: {key} refers to {target}, which the crate does not describe"


def _files(folder: Path, entities: Entities, sums: Mapping[str, str]) -> Iterator[str]:
    """Each described file is there with its checksum, and each file that is there is described."""
    described = {name: e for name, e in entities.items() if "File" in listed(e.get("@type"))}
    for name, entity in described.items():
        if name not in sums:
            yield f"{name}: no such file in the crate"
            continue
        size = str((folder / name).stat().st_size)
        if entity.get("sha256") != sums[name]:
            yield f"{name}: sha256 {entity.get('sha256')} is described, the file has {sums[name]}"
        if entity.get("contentSize") != size:
            yield f"{name}: size {entity.get('contentSize')} is described, the file has {size}"
        if not entity.get("encodingFormat"):
            yield f"{name}: no encodingFormat"
    yield from (f"{name}: a file that the crate does not describe" for name in sums if name not in described)


def _records(folder: Path, entities: Entities) -> Iterator[str]:
    """Each output's provenance record names the bytes that are there."""
    for path in _paths(folder):
        name = path.relative_to(folder).as_posix()
        described = entities.get(name.removesuffix(RECORD), {}).get("sha256")
        if name.endswith(RECORD) and described is not None and _read(path).get("sha256") != described:
            yield f"{name}: records sha256 {_read(path).get('sha256')}, the crate holds {described}"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _machine(folder: Path) -> Iterator[str]:
    """Absolute paths, and the user's login where a path or an address would show it."""
    here = "|".join(re.escape(str(path)) for path in (Path.cwd(), Path.home()) if len(path.parts) > 1)
    patterns = [
        re.compile(rf"(?<![\w/.~}}>)\]-])(?:/(?:{_HOMES})/|(?:{here or '(?!)'})(?![\w.-]))[^\s\"'<>,;)]*"),
        re.compile(r"\bfile:/{1,3}[^\s\"'<>,;)]+|\b[A-Za-z]:\\+Users\\+[^\s\"'<>,;)]+"),
    ]
    with suppress(OSError, KeyError):  # an account without a name
        patterns.append(re.compile(rf"\b{re.escape(getpass.getuser())}@[\w.-]+"))
    for path in [folder / METADATA, *_paths(folder)]:
        if path.suffix in _TEXTS:
            text = path.read_text(encoding="utf-8", errors="replace")
            for match in filter(None, (pattern.search(text) for pattern in patterns)):
                yield f"{path.relative_to(folder)}: names a place or a user of this machine: {match.group()}"


def _raw(folder: Path, sums: Mapping[str, str]) -> Iterator[str]:
    """Raw and prepared images, under their own names or under others."""
    known: dict[str, str] = {}
    for receipt in sorted(folder.glob("data/raw/*.receipt.json")):
        known |= {sha256: name for name, (size, sha256) in _read(receipt).get("files", {}).items() if size}
    for name, sha256 in sums.items():
        receipt_like = re.fullmatch(rf"data/raw/[^/]+\.receipt\.json(?:{re.escape(RECORD)})?", name)
        if name.startswith("data/raw/") and not receipt_like:
            yield f"{name}: raw data, which does not belong in a crate"
        elif name.endswith(".npy"):
            yield f"{name}: a prepared array, which does not belong in a crate"
        # A predicted mask may well equal a published one, such as an empty one.
        elif not name.startswith("predictions/") and (same := known.get(sha256)):
            yield f"{name}: has the bytes of the raw file {same}, which does not belong in a crate"
