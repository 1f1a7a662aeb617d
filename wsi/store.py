"""Zarr stores to read slides from: folders, URLs tried again, and chunks that must be whole."""

import asyncio
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from wsi.errors import UnreachableSlideError
from wsi.remote import file_system, is_remote

METADATA = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
KEPT_BYTES = 64 << 20  # a few hundred chunks
BLOSC_HEADER = 16  # bytes; the last four are the length of the whole
PAUSES_S = (0.2, 1.0)  # between attempts: a busy server is not a damaged slide


class PatientStore(FsspecStore):
    """A store behind a URL that tries again when fetching fails, and keeps what it fetched.

    A missing object is no failure. The last `KEPT_BYTES` fetched are kept because tiles side by
    side share chunks, and every read of a shard begins with its index.

    Raises
    ------
    UnreachableSlideError
        On reading, after the last attempt, or at once when access is denied.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept: OrderedDict[tuple[str, ByteRequest | None], Buffer] = OrderedDict()
        self._kept_bytes = 0

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """See `zarr.abc.store.Store.get`."""
        wanted = (key, byte_range)
        if wanted in self._kept:
            self._kept.move_to_end(wanted)
            return self._kept[wanted]
        found = await self._get_patiently(key, prototype, byte_range)
        if found is not None and wanted not in self._kept:
            self._kept[wanted] = found
            self._kept_bytes += len(found)
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return found

    async def _get_patiently(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        for pause in PAUSES_S:
            try:
                return await self._get(key, prototype, byte_range)
            except UnreachableSlideError as error:
                if isinstance(error.__cause__, PermissionError):
                    raise
            await asyncio.sleep(pause)
        return await self._get(key, prototype, byte_range)

    async def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        try:
            return await super().get(key, prototype, byte_range)
        except Exception as error:  # each file system raises errors of its own
            said = str(error) or type(error).__name__
            raise UnreachableSlideError(f"{self.path}/{key}: {said}") from error


class WholeBloscStore(WrapperStore[Store]):
    """A store whose Blosc chunks are refused when they are shorter than their header says.

    The decoder does not look: it shows zeros, or whatever lies in memory after the chunk.

    Raises
    ------
    ValueError
        On reading a chunk that was cut short.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """See `zarr.abc.store.Store.get`."""
        found = await self._store.get(key, prototype, byte_range)
        is_chunk = key.rpartition("/")[2] not in METADATA
        if is_chunk and found is not None and len(found) >= BLOSC_HEADER:
            (length,) = struct.unpack("<I", found[BLOSC_HEADER - 4 : BLOSC_HEADER].to_bytes())
            if len(found) < length:
                raise ValueError(f"{key} holds {len(found)} of the {length} bytes it began with")
        return found


def open_store(path: Path) -> Store:
    """The store of a folder or of a URL, read only.

    Raises
    ------
    UnsupportedSlideError
        If the package for the URL's scheme is not installed.
    """
    if not is_remote(path):
        return LocalStore(path, read_only=True)
    file_system(path)
    url: Any = path
    options = dict(url.storage_options)
    return PatientStore.from_url(str(path), storage_options=options, read_only=True)
