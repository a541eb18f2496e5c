"""Train a resolved run on a bare machine: ``python -m segtrace.train run.json [FOLDER]``."""

import sys
from pathlib import Path

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.files import read_json
from segtrace.train.loop import train

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m segtrace.train RUN_JSON [FOLDER]   (FOLDER: checkpoints/RUN by default)")
    try:
        run = read_json(Path(sys.argv[1]))
        train(run, folder=Path(sys.argv[2]) if len(sys.argv) == 3 else layout.run(run["run"]))
    except SegtraceError as error:
        sys.exit(f"segtrace train: {error}")
