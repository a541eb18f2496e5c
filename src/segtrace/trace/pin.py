"""``segtrace pin DATASET``: write ``data/raw/DATASET.dvc``, which names the raw files' bytes for this commit.

One pin holds the raw folder, its receipt and the receipt's record, so that they travel together.
"""

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="names of files in config/datasets")


def run(arguments: argparse.Namespace) -> None:
    """Pin the raw files of the data sets.

    Raises :class:`SegtraceError` where a data set is not there or the project is no DVC repository.
    """
    from segtrace import files, layout
    from segtrace.config import load
    from segtrace.errors import SegtraceError, raise_all
    from segtrace.trace import jobs, tools

    if not tools.has_dvc():
        raise SegtraceError("this project has no .dvc folder; make one with: dvc init")
    tools.refuse_links()
    known = {name: load.dataset(name) for name in arguments.datasets}
    raise_all(
        [
            f"{path}: not there; run 'segtrace acquire {name}' first"
            for name in known
            for path in (layout.raw(name), layout.receipt(name))
            if not path.exists()
        ],
        heading="pin",
    )
    for name, data in known.items():
        outputs = [layout.raw(name), layout.receipt(name), jobs.record_of(layout.receipt(name))]
        pin = layout.pin(name)
        with files.hold(pin, what="pin"):
            _pin([path for path in outputs if path.exists()], pin)
        print(f"{pin}: commit it with git; 'dvc push' sends the bytes", flush=True)
        if not data.redistribution:
            print(
                f"{name}: its licence ({data.licence}) does not allow to pass the data on: mind who can read the remote"
            )


def _pin(outputs: list[Path], pin: Path) -> None:
    """Write a pin of several outputs; DVC computes their checksums and takes them into its cache."""
    import yaml

    from segtrace.files import write_text
    from segtrace.trace import tools

    before = pin.read_text(encoding="utf-8") if pin.is_file() else None
    content = {"outs": [{"path": path.name, "hash": "md5"} for path in outputs]}
    write_text(pin, yaml.safe_dump(content, sort_keys=False))
    try:
        tools.call("dvc", "commit", "--force", "--quiet", str(pin))
    except BaseException:
        if before is None:
            os.unlink(pin)
        else:
            write_text(pin, before)
        raise
