"""What a piece of code prints with one thread of the numerical libraries and with two."""

import os
import subprocess
import sys
from pathlib import Path

import segtrace

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def printed_with_one_and_two(code: str) -> tuple[str, str]:
    """The output of ``code`` in two fresh processes."""
    source = str(Path(segtrace.__file__).parents[1])

    def printed(threads: str) -> str:
        environment = os.environ | dict.fromkeys(NAMES, threads) | {"PYTHONPATH": source}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    return printed("1"), printed("2")
