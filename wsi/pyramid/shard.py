"""The file of a shard: chunks, then an index of their places with a checksum.

Source: Zarr v3, codec `sharding_indexed`.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import google_crc32c

from wsi.atomic import replacing

ABSENT = 2**64 - 1  # offset and length of a chunk that is not in its shard: the fill value

Pieces = Sequence[bytes | memoryview]


def write_shard(path: Path, chunks: Sequence[Pieces | None]) -> None:
    """Write chunks in order, each given in pieces, then their offsets and lengths.

    A shard without any chunk is not written, as Zarr has it. The file is there whole or not at
    all, so that a process nobody waits for any more cannot spoil what another has written.
    """
    if not any(chunk is not None for chunk in chunks):
        return
    index, offset = [], 0
    for chunk in chunks:
        length = 0 if chunk is None else sum(len(piece) for piece in chunk)
        index += [ABSENT, ABSENT] if chunk is None else [offset, length]
        offset += length
    packed = struct.pack(f"<{len(index)}Q", *index)
    pieces = [piece for chunk in chunks for piece in chunk or ()]
    # Joined, because thousands of small writes cost more than one copy in memory.
    whole = b"".join([*pieces, packed, struct.pack("<I", google_crc32c.value(packed))])
    with replacing(path) as tmp:
        tmp.write_bytes(whole)
