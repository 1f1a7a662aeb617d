"""The few things of a JPEG stream that have to be known or changed without decoding it.

Source: ITU-T T.81, annex B (markers), and Adobe's technical note 5116 (the APP14 marker).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from wsi.errors import SlideError

Colour = Literal["ycbcr", "rgb"]

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF0, SOS, APP14 = 0xC0, 0xDA, 0xEE
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
REMARKS = frozenset(range(0xE0, 0xF0)) | {0xFE}  # application data and comments
FILL = 0xFF  # any number of times before a marker
TRANSFORM = {"rgb": 0, "ycbcr": 1}
PADDING = 8  # bytes that may follow the end, besides zeros: what aligns a tile in its file


class JpegError(SlideError, ValueError):
    """The bytes are not a JPEG stream as far as its headers and end tell."""

    kind = "jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a stream's frame header says.

    Attributes
    ----------
    width, height
        In pixels.
    sampling
        (horizontal, vertical) factor of each component.
    is_baseline
        Sequential, Huffman-coded, 8 bit.
    """

    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]
    is_baseline: bool


def read_frame(stream: bytes) -> Frame:
    """Read a stream's frame header.

    Raises
    ------
    JpegError
        If there is none before the pixels.
    """
    for marker, start, end in _segments(stream):
        if marker in START_OF_FRAME and end - start >= 10 and end <= len(stream):
            bits, height, width, count = struct.unpack_from(">BHHB", stream, start + 4)
            factors = stream[start + 10 : end][1 : 3 * count : 3]
            return Frame(
                width=width,
                height=height,
                sampling=tuple((f >> 4, f & 15) for f in factors),
                is_baseline=marker == SOF0 and bits == 8,
            )
    raise JpegError("no frame header")


def complete(stream: bytes, *, tables: bytes | None, colour: Colour) -> bytes:
    """Make an abbreviated stream whole, and say in it which colours it holds.

    TIFF keeps the tables of all tiles apart and the colour space in a tag. A reader of the lone
    stream knows neither, so the tables are put in front, and an Adobe marker states the colour
    space. Comments and application data, of both, are left out: another statement on colours would
    win, and the rest may name someone. The coded pixels are not touched.

    Raises
    ------
    JpegError
        If the bytes are not a JPEG stream from its first to its last marker.
    """
    stream = stream.rstrip(b"\x00")
    end = stream.rfind(EOI, max(0, len(stream) - len(EOI) - PADDING))
    if not stream.startswith(SOI) or end < 0:
        raise JpegError("a stream starts with FFD8 and ends with FFD9")
    headers, coded = _without_remarks(stream)
    adobe = struct.pack(">BBH5sHHHB", 0xFF, APP14, 14, b"Adobe", 100, 0, 0, TRANSFORM[colour])
    shared = _shared(tables) if tables else b""
    return b"".join([SOI, adobe, shared, headers, stream[coded : end + len(EOI)]])


def scan_start(stream: bytes) -> int:
    """Where the coded pixels of a stream begin: after its last header.

    Raises
    ------
    JpegError
        If it has none.
    """
    return _without_remarks(stream)[1]


@lru_cache(maxsize=64)
def _shared(tables: bytes) -> bytes:
    """What all tiles of a level share, from its first to its last table."""
    return b"".join(
        tables[start:end] for marker, start, end in _segments(tables) if marker not in REMARKS
    )


def _without_remarks(stream: bytes) -> tuple[bytes, int]:
    """The segments before a stream's coded pixels that are no remarks, and where they end."""
    kept = []
    for marker, start, end in _segments(stream):
        if marker not in REMARKS:
            kept.append(stream[start:end])
        if marker == SOS:
            return b"".join(kept), end
    raise JpegError("no start of scan")


def _segments(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment before the coded pixels, the last one included."""
    position = len(SOI)
    while position + 4 <= len(stream):
        if stream[position] != 0xFF:
            raise JpegError(f"a marker is wanted at byte {position}")
        marker = stream[position + 1]
        if marker == FILL:
            position += 1
            continue
        if marker == EOI[1]:
            return
        end = position + 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        yield marker, position, end
        if marker == SOS:
            return
        position = end
