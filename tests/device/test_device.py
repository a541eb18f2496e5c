"""What a process keeps of the memory that its tensors leave."""

import platform
import subprocess
import sys

import pytest

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
