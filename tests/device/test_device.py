"""A device is leased to one job at a time, and freed when its holder dies."""

import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from segtrace.device import first_free

HOLDER = """
import sys, time
from pathlib import Path
import pytest

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


FAULTS = """
import resource, sys, torch
from segtrace.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def use():
    parts = [torch.empty(n << 20, dtype=torch.float32).fill_(1.0) for n in (9, 16, 12)]
    return sum(parts[0][:2])
for _ in range(12):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_kept_memory_is_not_mapped_anew_for_each_tensor():
    found = {
        mode: int(subprocess.check_output([sys.executable, "-c", FAULTS, mode], text=True))
        for mode in ("keep", "give back")
    }
    assert found["keep"] < found["give back"] / 10
