"""Train a resolved run on a bare machine: ``python -m segtrace.train run.json [FOLDER]``."""

import argparse
import sys
from pathlib import Path

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.files import read_json
from segtrace.train.loop import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m segtrace.train", description=__doc__)
    parser.add_argument("run", metavar="RUN_JSON", type=Path)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", help="checkpoints/RUN by default")
    parser.add_argument("--attempt", type=int, default=1, metavar="N")
    parser.add_argument("--save-seconds", type=float, default=60.0, metavar="S")
    parser.add_argument("--save-steps", type=int, metavar="N")
    asked = parser.parse_args()
    try:
        run = read_json(asked.run)
        train(
            run,
            folder=asked.folder or layout.run(run["run"]),
            attempt=asked.attempt,
            save_seconds=asked.save_seconds,
            save_steps=asked.save_steps,
        )
    except SegtraceError as error:
        sys.exit(f"segtrace train: {error}")
