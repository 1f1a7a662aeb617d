"""The few things of a JPEG stream that have to be known or changed without decoding it.

Source: ITU-T T.81, annex B (markers), and Adobe's technical note 5116 (the APP14 marker).
"""

import struct
from dataclasses import dataclass
from typing import Literal

from wsi.errors import SlideError

Colour = Literal["ycbcr", "rgb"]

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF0, SOS, APP0, APP14 = 0xC0, 0xDA, 0xE0, 0xEE
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
TRANSFORM = {"rgb": 0, "ycbcr": 1}


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
    space in place of any statement that was there. The coded pixels are not touched.

    Raises
    ------
    JpegError
        If the bytes are not a JPEG stream from its first to its last marker.
    """
    stream = stream.rstrip(b"\x00") if not stream.endswith(EOI) else stream
    if not (stream.startswith(SOI) and stream.endswith(EOI)):
        raise JpegError("a stream starts with FFD8 and ends with FFD9")
    kept, position = [], len(SOI)
    for marker, start, end in _segments(stream):
        if marker in (APP0, APP14):  # JFIF's APP0 would say YCbCr whatever Adobe's marker says
            kept.append(stream[position:start])
            position = end
    adobe = struct.pack(">BBH5sHHHB", 0xFF, APP14, 14, b"Adobe", 100, 0, 0, TRANSFORM[colour])
    shared = tables[len(SOI) : -len(EOI)] if tables else b""
    return b"".join([SOI, adobe, shared, *kept, stream[position:]])


def scan_start(stream: bytes) -> int:
    """Where the coded pixels of a stream begin: after its last header.

    Raises
    ------
    JpegError
        If it has none.
    """
    return _segments(stream)[-1][2]


def _segments(stream: bytes) -> list[tuple[int, int, int]]:
    """(marker, start, end) of each segment before the coded pixels, the last one included."""
    found, position = [], len(SOI)
    while position + 4 <= len(stream):
        if stream[position] != 0xFF:
            raise JpegError(f"a marker is wanted at byte {position}")
        marker = stream[position + 1]
        end = position + 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        found.append((marker, position, end))
        if marker == SOS:
            return found
        position = end
    raise JpegError("no start of scan")
