"""Trainings that were measured: those of this folder, and those of the table that comes with the project."""

import csv
import errno
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from segtrace import benchmark, layout
from segtrace.errors import SegtraceError
from segtrace.files import atomic, read_json
from segtrace.plan.work import Counter, Work, of_run

#: Measured trainings of other machines, which ``segtrace plan --record`` writes.
TABLE = Path("benchmarks/trainings.csv")


@dataclass(frozen=True)
class Recorded:
    """One measured training."""

    run: str
    network: str
    device: str
    """``cpu`` or ``gpu``."""
    processor: str
    threads: int
    gmac: float
    seconds: float
    memory_gb: float
    devices: int = 1
    """How many trained it together."""

    @property
    def rate(self) -> float:
        """10⁹ multiply-accumulates a second of one device, all that a training does besides included."""
        return self.gmac / (self.seconds * self.devices)


def of_project(counter: Counter) -> list[Recorded]:
    """The trainings of this folder of which Snakemake's measurement and ``run.json`` are there.

    A run that the configuration no longer has is left out, and so is one of which nothing was measured, or the last
    piece alone.
    """
    found = []
    for file in sorted((benchmark.FOLDER / "train").rglob("*.tsv")):
        name = str(file.relative_to(benchmark.FOLDER / "train").with_suffix(""))
        path = layout.run(name) / "run.json"
        taken = benchmark.of_training(name)
        if not path.is_file() or not taken["minutes"] > 0:
            continue
        try:
            made = read_json(path)
            threads, devices = int(made["threads"]), max(1, int(made.get("devices", 1)))
            work = of_run(layout.parse_run(name), threads=threads, counter=counter, variants=0)
            machine = dict(made.get("machine") or {})
        except (SegtraceError, AttributeError, KeyError, TypeError, ValueError):  # damaged, or of no run
            continue
        found.append(
            Recorded(
                run=name,
                network=work.network,
                device="gpu" if machine.get("device") == "cuda" else "cpu",
                processor=str(machine.get("processor", "")),
                threads=threads,
                gmac=work.gmac,
                seconds=60 * taken["minutes"],
                memory_gb=taken["memory_gb"],
                devices=devices,
            )
        )
    return [one for one in found if math.isfinite(one.gmac)]


def of_table(path: Path = TABLE) -> list[Recorded]:
    """The trainings of a table that ``segtrace plan --record`` wrote; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        rows, columns = list(reader), reader.fieldnames or ()
    # a table of an earlier version lacks the fields that have a default
    kinds = {
        field.name: field.type
        for field in fields(Recorded)
        if field.default is MISSING or field.name in columns
    }
    try:
        return [
            Recorded(**{name: kind(row[name]) for name, kind in kinds.items()})  # type: ignore[operator]
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SegtraceError(
            f"{path}: not what 'segtrace plan --record' writes ({error!r}); delete it"
        ) from None


def write(found: Iterable[Recorded], path: Path) -> None:
    """Write a table of measured trainings, sorted by run; raises :class:`SegtraceError` where it cannot lie there."""
    remedy = "give --record a file in a folder that can be written to, such as trainings.csv"
    try:
        if path.is_dir():  # such as '.', of which the system says that it is busy
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        with atomic(path) as handle:
            writer = csv.DictWriter(handle, [field.name for field in fields(Recorded)], lineterminator="\n")
            writer.writeheader()
            for one in sorted(found, key=lambda one: one.run):
                numbers = {key: f"{getattr(one, key):.6g}" for key in ("gmac", "seconds", "memory_gb")}
                writer.writerow(asdict(one) | numbers)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # the place will do; the command says what to do
            raise
        why = error.strerror or str(error)
        raise SegtraceError(f"{path}: cannot write measured trainings there: {why}; {remedy}") from None


def same(work: Work, known: Sequence[Recorded], *, device: str) -> list[Recorded]:
    """Measurements of this very training but for fold and seed, on that kind and number of devices."""
    wanted = (device, work.devices, _stem(str(work.run)))
    return [one for one in known if (one.device, one.devices, _stem(one.run)) == wanted]


def nearest(work: Work, known: Sequence[Recorded], *, device: str) -> tuple[str, list[Recorded]]:
    """In what the nearest measurements agree with a run, and these: none where nothing was measured on such a device."""
    of_device = [one for one in known if one.device == device]
    parts = layout.parse_run
    tests = {
        "method and data set": lambda one: (
            (parts(one.run).method, parts(one.run).dataset) == (work.run.method, work.run.dataset)
        ),
        "method": lambda one: parts(one.run).method == work.run.method,
        "network": lambda one: one.network == work.network,
        "data set": lambda one: parts(one.run).dataset == work.run.dataset,
        "device": lambda one: True,
    }
    for words, agrees in tests.items():
        found = [one for one in of_device if agrees(one)]
        if found:
            return words, found
    return "", []


def _stem(run: str) -> str:
    return re.sub(r"/fold-\d+_seed-\d+$", "", run)
