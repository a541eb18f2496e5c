"""A device is leased to one job at a time, and freed when its holder dies."""

import os
import signal
import subprocess
import sys
import time

from segtrace.device import first_free

HOLDER = """
import sys, time
from pathlib import Path
from segtrace.device import first_free
with first_free(["gpu-0"], folder=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_next_job_takes_the_next_device_and_waits_when_all_are_taken(tmp_path, capsys):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with first_free(["gpu-0", "gpu-1"], folder=tmp_path) as position:
            assert position == 1
        started = time.monotonic()
        os.kill(holder.pid, signal.SIGKILL)  # however it dies
        with first_free(["gpu-0"], folder=tmp_path, wait_seconds=0.05) as position:
            assert position == 0
        assert time.monotonic() - started < 30
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
