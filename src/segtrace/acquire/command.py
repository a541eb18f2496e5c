"""``segtrace acquire DATASET``."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from segtrace.acquire import fetch, place
    from segtrace.config import models

#: Local edits printed one by one; the receipt holds all.
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("dataset", help="name of a file in config/datasets")
    parser.add_argument(
        "--mirror",
        metavar="DIR",
        help="folder with archives under their published names "
        "(default: the environment's SEGTRACE_MIRROR, then 'mirror' in config/config.yaml)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Bring a data set to ``data/raw`` with a receipt; a tree that is there already is only compared."""
    from segtrace import datasets, digests, files
    from segtrace.acquire import place
    from segtrace.config import load
    from segtrace.trace import jobs, record

    name = arguments.dataset
    data = load.dataset(name)
    job = jobs.acquire(name)
    made = record.begin(job)
    module = datasets.module_name(data.reader or name)
    code = digests.code_digest("acquire", extra=[module])
    places = place.places_of(name)
    with files.hold(places.tree, what="acquire"):
        place.settle(places)
        if data.access == "embedded":
            receipt = _embedded(name, data, places, code)
        else:
            receipt = _published(name, data, places, arguments.mirror)
        record.write(job, made)
    _say_edits(places, receipt)
    print(f"{name}: {len(receipt['files'])} files in {places.tree}; receipt: {places.receipt}")


def _say_edits(places: "place.Places", receipt: dict[str, Any]) -> None:
    edits = receipt["local_edits"]
    if not edits:
        return
    print(
        f"{places.tree} differs from what its receipt says was put there, and stays as it is; local edits: {len(edits)}"
    )
    for edit in edits[:SHOWN]:
        print(f"  {edit}")
    if len(edits) > SHOWN:
        print(f"  and {len(edits) - SHOWN} more, all in {places.receipt}")


def _licence(data: "models.Dataset") -> dict[str, Any]:
    return {"terms": data.licence, "url": data.licence_url, "redistribution": data.redistribution}


def _say_licence(name: str, data: "models.Dataset") -> None:
    terms = [f"{name}: licence: {data.licence}" + (f" ({data.licence_url})" if data.licence_url else "")]
    if "-NC" in data.licence.upper() or "noncommercial" in data.licence.lower().replace("-", ""):
        terms.append("for non-commercial use only")
    if not data.redistribution:
        terms.append("do not redistribute the data")
    print("; ".join(terms))
    if data.reference:
        print(f"{name}: cite {data.reference}")


# --- published data ------------------------------------------------------------------------------------


def _published(
    name: str, data: "models.Dataset", places: "place.Places", mirror: str | None
) -> dict[str, Any]:
    from segtrace.acquire import place
    from segtrace.errors import SegtraceError

    wanted = [source.archive for source in data.sources]
    receipt = place.read_receipt(places.receipt, name)
    if places.tree.is_dir():
        if receipt is not None:
            _check_archives(receipt, data, places)
            made, entries, left_out = (
                place.files_of(receipt),
                receipt["archives"],
                receipt.get("left_out", {}).get("AppleDouble", 0),
            )
        elif not wanted:  # files that the user put there: what is there is what there is
            made, entries, left_out = place.measure(places.tree), [], 0
        else:
            print(f"{places.tree} has no receipt: it is compared with its archives, and not changed")
            made, entries, left_out = _bring(data, places, mirror, into=None)
        receipt = place.receipt_of(
            name,
            licence=_licence(data),
            archives=entries,
            files=made,
            left_out=left_out,
            local_edits=place.edits(places.tree, made),
        )
        place.write_receipt(places, receipt)
        _drop_downloads(data, places)
        return receipt
    if not wanted and data.access == "own":
        raise SegtraceError(
            f"{places.tree} does not exist, and {name} is a data set of your own: run 'segtrace add-dataset DIR --name "
            f"{name}' on the folder that holds it, put the files there by hand, or run 'dvc pull' where they are pinned"
        )
    if not wanted:
        raise SegtraceError(
            f"config/datasets/{name}.yaml names no sources, and {places.tree} does not exist: "
            "put the files there, or name their archives under 'sources'"
        )
    _say_licence(name, data)
    with place.fresh_folder(places) as folder:
        made, entries, left_out = _bring(data, places, mirror, into=folder)
        _check_layout(name, data, entries, folder, places)
        _say_origin(name, entries)
        if receipt is not None and not place.same(receipt["archives"], entries):
            print(f"{places.receipt}: an earlier receipt listed other archives; it is replaced")
        receipt = place.receipt_of(
            name, licence=_licence(data), archives=entries, files=made, left_out=left_out
        )
        place.publish(places, receipt)
    _drop_downloads(data, places)
    return receipt


def _say_origin(name: str, entries: list[dict[str, Any]]) -> None:
    """Say which archives are a mirror's own, a subset for instance, and not what the owner published."""
    own = [entry["archive"] for entry in entries if entry["origin"] == "mirror"]
    if own:
        print(f"{name}: not the owner's bytes but the mirror's, by its own checksums: {', '.join(own)}")


def _check_layout(
    name: str, data: "models.Dataset", entries: list[dict[str, Any]], folder: "Path", places: "place.Places"
) -> None:
    """Refuse archives that no checksum vouches for, such as those fetched by hand, if the reader cannot list them."""
    from segtrace import datasets
    from segtrace.errors import SegtraceError

    unknown = [entry["archive"] for entry in entries if entry["verified_by"].startswith("nothing")]
    if not unknown:
        return
    try:
        cases = datasets.reader(data.reader or name).cases(folder, data.options)
    except SegtraceError as error:
        reason = str(error).replace(str(folder), str(places.tree)).replace(datasets.REFETCH, "").rstrip()
        raise SegtraceError(
            f"{', '.join(unknown)}: no checksum is published, and what was unpacked is not the layout of {name}:\n"
            f"{reason}\nNothing was kept but the archives. Fetch the right ones, or unpack and mend them in "
            f"{places.tree} by hand, and run the same command again."
        ) from None
    print(
        f"{name}: no checksum is published for {', '.join(unknown)}; the layout is right: {len(cases)} cases"
    )


def _check_archives(receipt: dict[str, Any], data: "models.Dataset", places: "place.Places") -> None:
    """Refuse a tree of other archives than the configuration names: it is not the data set asked for."""
    from segtrace.errors import raise_all

    held = {entry["archive"]: entry for entry in receipt["archives"]}
    problems = [
        f"{source.archive} is not in the tree" for source in data.sources if source.archive not in held
    ]
    named = {source.archive: source for source in data.sources}
    for archive, entry in held.items():
        if archive not in named:
            problems.append(f"the tree holds {archive}, which the configuration does not name")
        elif entry["origin"] == "published" and named[archive].sha256 not in (None, entry["sha256"]):
            problems.append(
                f"{archive}: the tree's has sha256 {entry['sha256']}, the configuration says {named[archive].sha256}"
            )
    raise_all(
        problems,
        heading=f"{places.tree} was unpacked from other archives than config/datasets/{places.dataset}.yaml names",
        remedy=f"It is not overwritten: move {places.tree} and {places.receipt} away and run again to fetch anew.",
    )


def _archive(source: "models.Source") -> "fetch.Archive":
    from segtrace.acquire import fetch

    return fetch.Archive(
        name=source.archive,
        urls=tuple(source.urls),
        size=source.bytes,
        sha256=source.sha256,
        md5=source.md5,
        manual=source.manual,
    )


def _mirror(option: str | None) -> "Path | None":
    import os
    from pathlib import Path

    from segtrace.config import load

    given = option or os.environ.get("SEGTRACE_MIRROR") or load.main_config().mirror
    return Path(given).expanduser() if given else None


def _bring(
    data: "models.Dataset", places: "place.Places", mirror: str | None, *, into: "Path | None"
) -> tuple["place.Files", list[dict[str, Any]], int]:
    """Fetch every archive, then unpack all of them into ``into``, or only read them without it."""
    from segtrace.acquire import fetch, names, unpack
    from segtrace.errors import SegtraceError

    folder = _mirror(mirror)
    fetched, problems = [], []
    for source in data.sources:
        try:
            fetched.append(fetch.fetch(_archive(source), folder=places.downloads, mirror=folder))
        except SegtraceError as error:
            problems.append(str(error))
    if problems:
        raise SegtraceError("\n".join(problems))
    made: place.Files = {}
    taken, left_out = names.Names(), 0
    for item in fetched:
        found = unpack.unpack(item.path, into, names=taken)
        made |= found.files
        left_out += found.left_out
    entries = [
        {
            "archive": source.archive,
            "bytes": item.size,
            "sha256": item.sha256,
            "origin": item.origin,
            "verified_by": item.verified_by,
        }
        for source, item in zip(data.sources, fetched, strict=True)
    ]
    return made, entries, left_out


def _drop_downloads(data: "models.Dataset", places: "place.Places") -> None:
    """Remove the archives that were downloaded: tree and receipt hold what they held. A file put there by
    hand has no note, and stays.
    """
    from segtrace.acquire import download

    for source in data.sources:
        path = places.downloads / source.archive
        if download.note_of(path).exists():
            path.unlink(missing_ok=True)
            download.forget(path)
    for folder in (places.downloads, places.downloads.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


# --- embedded data -------------------------------------------------------------------------------------


def _embedded(name: str, data: "models.Dataset", places: "place.Places", code: str) -> dict[str, Any]:
    from segtrace import datasets
    from segtrace.acquire import place
    from segtrace.errors import SegtraceError

    generator = {"options": data.options, "code": code}
    receipt = place.read_receipt(places.receipt, name)
    there = places.tree.is_dir()
    if there and receipt is not None and place.same(receipt.get("generator"), generator):
        made = place.files_of(receipt)
        receipt = place.receipt_of(
            name,
            licence=_licence(data),
            archives=[],
            files=made,
            local_edits=place.edits(places.tree, made),
            generator=generator,
        )
        place.write_receipt(places, receipt)
        return receipt
    with place.fresh_folder(places) as folder:
        module = datasets.reader(data.reader or name)
        if not hasattr(module, "generate"):
            raise SegtraceError(
                f"config/datasets/{name}.yaml: access is embedded, but reader {module.__name__} generates nothing"
            )
        module.generate(folder, data.options)
        made = place.measure(folder)
        new = place.receipt_of(name, licence=_licence(data), archives=[], files=made, generator=generator)
        edits = place.edits(places.tree, made) if there else []
        if there and edits:
            before = None if receipt is None else place.files_of(receipt)
            edited = [] if before is None else place.edits(places.tree, before)
            if edited and before != made:
                raise SegtraceError(_edited(name, places, edited))
            if edited or before is None:  # the tree would come out as it did: the edits are the user's own
                new["local_edits"] = edits
        if not there or (edits and not new["local_edits"]):
            place.publish(places, new)
        else:
            place.write_receipt(places, new)
    return new


def _edited(name: str, places: "place.Places", edited: list[str]) -> str:
    shown = edited[:SHOWN] + ([f"and {len(edited) - SHOWN} more"] if len(edited) > SHOWN else [])
    return "\n".join(
        [
            f"{places.tree} was edited since it was generated, and since then the options of {name} or its "
            "generator have changed: it is not overwritten",
            *(f"  - {edit}" for edit in shown),
            f"Undo the edits, or move {places.tree} away to have it generated anew, and run the same command again.",
        ]
    )
