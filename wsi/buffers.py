"""Memory for pixels that is used again, because new memory costs as much as decoding into it."""

import math
import weakref

import numpy as np

from wsi.slide import Pixels

SLAB_BYTES = 8 << 20  # numpy asks for huge pages from 4 MB on


class Buffers:
    """Hands out arrays of pixels whose memory comes back when nothing refers to it any more.

    An array may be sliced, reshaped and passed on like any other: its memory is lent again only
    after the last view of it is gone. Several threads may take arrays at once.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[memoryview]] = {}

    def take(self, shape: tuple[int, ...]) -> Pixels:
        """An array of uint8 with arbitrary content."""
        length = math.prod(shape)
        free = self._free.get(length)
        if free is None:  # another size is wanted now: what was kept of the last is let go
            self._free = {length: (free := [])}
        try:
            memory = free.pop()
        except IndexError:
            count = max(1, SLAB_BYTES // max(length, 1 << 10))
            slab = np.empty(count * length, np.uint8).data
            memory, *others = (slab[n * length : (n + 1) * length] for n in range(count))
            free += others
        # Every view refers to this array, the last one to do so gives the memory back.
        owner = np.frombuffer(memory, np.uint8)
        weakref.finalize(owner, free.append, memory).atexit = False
        return owner.reshape(shape)
