"""The C library's allocator, told to keep what is freed: arrays come and go batch after batch.

glibc gives large blocks back to the system as they are freed, and the next batch has to get them
page by page: a third of a network's time on a CPU, more than half with many wide layers.
"""

import ctypes
import sys

# <malloc.h>: parameters of mallopt(3)
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
# What a process may hold on to unused, and the largest block that is not the system's at once.
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Have this process keep up to `KEPT_BYTES` that it freed, to use them again.

    Without effect where the C library is not glibc. The most that a process ever holds stays about
    the same, but it does not shrink between its tasks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
