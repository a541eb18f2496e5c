"""What a process keeps: its device until it has ended, and the memory that its tensors leave."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from segtrace import gpus, leases

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


LAST_WORDS = """
import sys
from fcntl import LOCK_EX, LOCK_NB, flock
from os import O_RDWR, open, write
from segtrace import device

class Last:
    def __init__(self, path):
        self.path = path

    def __del__(self, open=open, flags=O_RDWR, flock=flock, kind=LOCK_EX | LOCK_NB, write=write, taken=BlockingIOError):
        try:
            flock(open(self.path, flags), kind)
            write(1, b"free")
        except taken:
            write(1, b"held")

with device.lease(threads=1, what="training"):
    pass
sys.last_words = Last(sys.argv[1])  # what Python throws away last
"""


def test_a_lease_to_the_end_outlasts_pythons_own_objects(tmp_path: Path) -> None:
    here = dict(os.environ) | {gpus.FAKE: "first", leases.FOLDER: str(tmp_path)}
    command = [sys.executable, "-c", LAST_WORDS, str(tmp_path / "first.lock")]
    said = subprocess.check_output(command, text=True, env=here)
    assert said.endswith("held")
    assert leases.held(tmp_path) == []
