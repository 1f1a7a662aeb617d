"""The file of a shard: chunks, then an index of their places with a checksum.

Source: Zarr v3, codec `sharding_indexed`.
"""

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import google_crc32c

from wsi.atomic import replacing

ABSENT = 2**64 - 1  # offset and length of a chunk that is not in its shard: the fill value
BUFFER_BYTES = 1 << 20  # thousands of small writes cost more than a copy in the processor's cache

Pieces = Sequence[bytes | memoryview]


class ShardWriter:
    """A shard that is being written: chunks in any order, each once, and then their places.

    A context manager. The file is there whole or not at all, so that a process nobody waits for
    any more cannot spoil what another has written. A shard without any chunk is not written, as
    Zarr has it. The same chunks put in the same order give the same bytes.
    """

    def __init__(self, path: Path, count: int) -> None:
        """Begin a shard of `count` chunks."""
        self._path = path
        self._index = [ABSENT] * (2 * count)
        self._offset = 0
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def put(self, place: int, pieces: Pieces) -> None:
        """Write the chunk at `place`, given in pieces, which may be changed afterwards."""
        if self._file is None:
            tmp = self._stack.enter_context(replacing(self._path))
            self._file = self._stack.enter_context(tmp.open("wb", buffering=BUFFER_BYTES))
        self._file.writelines(pieces)
        length = sum(len(piece) for piece in pieces)
        self._index[2 * place : 2 * place + 2] = self._offset, length
        self._offset += length

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None and error is None:
            with self._stack:
                packed = struct.pack(f"<{len(self._index)}Q", *self._index)
                self._file.writelines([packed, struct.pack("<I", google_crc32c.value(packed))])
        else:
            self._stack.__exit__(kind, error, trace)


def write_shard(path: Path, chunks: Sequence[Pieces | None]) -> None:
    """Write chunks in order, each given in pieces; None for one that is not there."""
    with ShardWriter(path, len(chunks)) as shard:
        for place, pieces in enumerate(chunks):
            if pieces is not None:
                shard.put(place, pieces)
