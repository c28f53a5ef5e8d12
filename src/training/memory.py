"""How the process deals with memory that it frees."""

import ctypes
import gc
import platform
import time

# Parameters of glibc's mallopt (malloc.h) and the largest values it takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_THRESHOLD: 2**30}


def keep_freed_memory() -> bool:
    """Lets the C library keep freed memory for the next tensor instead of handing it back to the system.

    Every step allocates the same large tensors anew; handed back, each of their pages would be mapped and zeroed again,
    which took a quarter of a training step of SASRec on MovieLens-1M (benchmarks/README.md).

    Returns:
        Whether the C library is glibc and agreed; elsewhere nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(parameter, value) == 1 for parameter, value in LARGEST.items())


class Leftovers:
    """What trainings leave behind: Lightning's trainer and the module hold each other, so that weights, optimiser state
    and dataset stay in memory until Python looks for such circles. It does so by the number of objects, whatever their
    size: after some hundred trainings.

    Looking through all objects takes a quarter of a second: at most one percent of the time goes into it.
    """

    every = 30.0  # seconds

    def __init__(self) -> None:
        self.freed_at = time.monotonic()

    def free(self) -> None:
        """To be called before a training; frees what earlier ones left, if that was not done a moment ago."""
        if time.monotonic() - self.freed_at >= self.every:
            gc.collect()
            self.freed_at = time.monotonic()


leftovers = Leftovers()
