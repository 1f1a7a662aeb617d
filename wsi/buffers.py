"""Memory for pixels that is used again, because new memory costs as much as decoding into it."""

import mmap
import weakref

import numpy as np

from wsi.slide import Pixels

HUGE_PAGE = 2 << 20


class Buffers:
    """Hands out arrays of pixels whose memory comes back when nothing refers to it any more.

    An array may be sliced, reshaped and passed on like any other: its memory is lent again only
    after the last view of it is gone. Several threads may take arrays at once.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[mmap.mmap]] = {}

    def take(self, shape: tuple[int, ...]) -> Pixels:
        """An array of uint8 with arbitrary content."""
        length = int(np.prod(shape))
        if length == 0:
            return np.empty(shape, np.uint8)
        free = self._free.get(length)
        if free is None:  # another size is wanted now: what was kept of the last is let go
            self._free = {length: (free := [])}
        try:
            memory = free.pop()
        except IndexError:
            memory = mmap.mmap(-1, length)
            if length >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
        # Every view refers to this array, the last one to do so gives the memory back.
        owner = np.frombuffer(memory, np.uint8)
        weakref.finalize(owner, free.append, memory).atexit = False
        return owner.reshape(shape)
