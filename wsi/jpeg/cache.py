"""Decoded tiles, each decoded once however many threads want it, in bounded memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from wsi.buffers import Buffers
from wsi.slide import Pixels


class _Entry:
    """A tile that is there once `ready` can be taken; `pixels` is None if it did not decode."""

    __slots__ = ("pixels", "ready")

    def __init__(self) -> None:
        self.pixels: Pixels | None = None
        self.ready = threading.Lock()


class TileCache:
    """The tiles used last.

    Parameters
    ----------
    limit_bytes
        Most that is kept. Tiles that are being read while they fall out stay until then.
    buffers
        Where memory for tiles comes from.
    """

    def __init__(self, limit_bytes: int, buffers: Buffers) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._kept = 0  # bytes
        self._room = 0  # bytes wanted by the widest read so far
        self._lock = threading.Lock()
        self._buffers = buffers

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def widen(self, wanted_bytes: int) -> None:
        """Keep at least `wanted_bytes`, as far as the limit allows; less is kept until asked."""
        if wanted_bytes > self._room:
            self._room = min(wanted_bytes, self._limit)

    def get(
        self, key: Hashable, shape: tuple[int, int, int], decode: Callable[[Pixels], None]
    ) -> Pixels:
        """The tile under `key`, of `shape`, from `decode` if it is not there.

        Whatever `decode` raises is raised, and nothing is kept. Callers must not write to the
        result.
        """
        while True:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None:
                    entry = self._entries[key] = _Entry()
                    entry.ready.acquire()
                    break
                self._entries.move_to_end(key)
            with entry.ready:  # whoever came first decodes it
                if entry.pixels is not None:
                    return entry.pixels
        try:
            pixels = self._buffers.take(shape)
            decode(pixels)
        except BaseException:
            with self._lock:
                del self._entries[key]
            entry.ready.release()
            raise
        entry.pixels = pixels
        entry.ready.release()
        self._keep(pixels.nbytes)
        return pixels

    def _keep(self, added: int) -> None:
        with self._lock:
            self._kept += added
            while self._kept > self._room:
                key, oldest = next(iter(self._entries.items()))
                if oldest.pixels is None:  # still being decoded, and wanted
                    self._entries.move_to_end(key)
                    continue
                del self._entries[key]
                self._kept -= oldest.pixels.nbytes
