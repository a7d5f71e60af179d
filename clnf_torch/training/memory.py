"""Memory that a training frees and needs again at once is kept, instead of being given back each time."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of glibc's mallopt


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory for this process; whether it listens.

    A step of training allocates the same large tensors as the one before. Where glibc maps and unmaps them every time,
    a third of the step is spent on zeroing fresh pages; see benchmarks/README.md.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it, such as musl
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
