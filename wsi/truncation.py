"""Noticing that a TIFF ends early, which readers take for a slide with fewer levels.

Source: TIFF 6.0, section 2; the BigTIFF design (64-bit offsets). A directory names the next one,
and each of its entries says where its values are; both have to lie within the file.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wsi.errors import TruncatedSlideError

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}  # bytes of a value by its type; the last three are BigTIFF's
# Where the pixels are and how many bytes: strips, then tiles. Other entries may be nonsense, but
# the description, which writers of OME-TIFF put last, is what tells one from a plain TIFF.
PIXEL_TAGS = frozenset({273, 279, 324, 325})
DESCRIPTION = 270
SUB_DIRECTORIES = 330
CLASSIC_BYTES = 2**32  # a larger file that is no BigTIFF is Hamamatsu's
LIMIT = 10_000  # directories


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How a TIFF writes numbers: its byte order, and struct's letters and formats.

    Hamamatsu's files over 4 GB are classic ones whose links between directories have 64 bits.
    """

    count: struct.Struct
    entry: struct.Struct
    link: struct.Struct
    first: int
    is_hamamatsu: bool

    @classmethod
    def of(cls, head: bytes, size: int) -> "_Layout | None":
        """Tell the layout from a file's first bytes and its size; None if it is no TIFF."""
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return None
        version = struct.unpack_from(order + "H", head, 2)[0]
        if version not in (42, 43):
            return None
        is_big, is_hamamatsu = version == 43, version == 42 and size > CLASSIC_BYTES
        return cls(
            count=struct.Struct(order + ("Q" if is_big else "H")),
            entry=struct.Struct(order + ("HHQ8s" if is_big else "HHL4s")),
            link=struct.Struct(order + ("Q" if is_big or is_hamamatsu else "L")),
            first=8 if is_big else 4,
            is_hamamatsu=is_hamamatsu,
        )


def refuse_truncated(path: Path) -> None:
    """Check that the directories of a TIFF, and its lists of tiles, lie within the file.

    Tiles beyond the end are for readers to report, each for itself. Files that are no TIFF pass.

    Raises
    ------
    TruncatedSlideError
        If they do not.
    """
    with path.open("rb") as file:
        head = file.read(16)
        layout = _Layout.of(head, path.stat().st_size)
        if layout is None:
            return
        if len(head) < layout.first + layout.link.size:
            raise _ends(path, "inside its header")
        todo = [layout.link.unpack_from(head, layout.first)[0]]
        seen: set[int] = set()
        while todo and len(seen) < LIMIT:
            offset = todo.pop()
            if offset and offset not in seen:
                seen.add(offset)
                todo += _follow(path, file, layout, offset)


def _follow(path: Path, file: BinaryIO, layout: _Layout, offset: int) -> list[int]:
    """The directories that the one at `offset` leads to."""
    size = path.stat().st_size
    where = f"before its directory at byte {offset:,}"
    count = layout.count.unpack(_read(path, file, offset, layout.count.size, where))[0]
    length = count * layout.entry.size
    if offset + layout.count.size + length + layout.link.size > size:
        raise _ends(path, where)
    table = file.read(length + layout.link.size)
    found = [layout.link.unpack_from(table, length)[0]]
    entries = list(layout.entry.iter_unpack(table[:length]))
    if layout.is_hamamatsu:
        return found
    for tag, kind, number, inline in entries:
        if tag not in PIXEL_TAGS and tag not in (DESCRIPTION, SUB_DIRECTORIES):
            continue
        needed = SIZES.get(kind, 0) * number
        values = inline
        if needed > len(inline):
            at = layout.link.unpack(inline)[0]
            if at + needed > size:
                what = "its description" if tag == DESCRIPTION else "the list of its tiles"
                raise _ends(path, f"before {what} at byte {at:,}")
            if tag == SUB_DIRECTORIES:
                values = _read(path, file, at, needed, where)
        if tag == SUB_DIRECTORIES and SIZES.get(kind) in (4, 8):
            letter = "Q" if SIZES[kind] == 8 else "L"
            found += struct.unpack_from(f"{layout.count.format[0]}{number}{letter}", values)
    return found


def _read(path: Path, file: BinaryIO, offset: int, length: int, where: str) -> bytes:
    file.seek(offset)
    content = file.read(length)
    if len(content) < length:
        raise _ends(path, where)
    return content


def _ends(path: Path, where: str) -> TruncatedSlideError:
    return TruncatedSlideError(
        f"{path.name}: the file ends early, at {path.stat().st_size:,} bytes, {where}: copy or "
        "download it again"
    )
