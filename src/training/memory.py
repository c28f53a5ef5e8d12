"""How the process deals with memory that it frees."""

import ctypes
import platform

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
