import gc
import platform
import subprocess
import sys
import weakref

import pytest

from src.training import memory
from tests.training.scripted import Scripted, run

# Page faults of making and dropping a tensor of 36 MiB, too large for what the C library keeps by itself; first so,
# then after asking it to keep all. Its heap takes a few rounds until the tensor fits where the last one was.
FAULTS = """
import resource, torch
from src.training.memory import keep_freed_memory

def faults():
    for _ in range(12):
        torch.ones(9 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(12):
        torch.ones(9 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

left = faults()
assert keep_freed_memory()
print(left, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be asked to")
def test_freed_memory_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    left, kept = map(int, done.stdout.split())
    assert 3 * kept < left


def test_elsewhere_nothing_is_called(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed_memory() is False


@pytest.mark.parametrize(("every", "freed"), [(0.0, True), (3600.0, False)])
def test_what_an_earlier_training_left_behind_is_freed_when_the_next_begins(tmp_path, monkeypatch, every, freed):
    monkeypatch.setattr(memory.Leftovers, "every", every)
    earlier = Scripted([0.1])
    run(earlier, tmp_path / "earlier", max_epochs=1)
    trained = weakref.ref(earlier)
    gc.disable()  # by itself it would come some time
    try:
        del earlier
        run(Scripted([0.1]), tmp_path / "next", max_epochs=1)
        assert (trained() is None) == freed
    finally:
        gc.enable()
