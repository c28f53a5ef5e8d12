import platform
import subprocess
import sys

import pytest

from src.training import memory

# Page faults of making and dropping a tensor of 64 MiB sixty times, after one that is not counted.
FAULTS = """
import resource, sys, torch
from src.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(60):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be asked to")
def test_freed_memory_is_used_again_without_page_faults():
    assert 3 * faults("keep") < faults("leave")


def test_elsewhere_nothing_is_called(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed_memory() is False
