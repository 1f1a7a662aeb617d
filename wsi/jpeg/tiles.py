"""JPEG tiles where they lie: in a TIFF, in DICOM frames, in the shards of a Zarr array."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from wsi.jpeg.stream import Colour, Frame, JpegError, complete


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledLevel:
    """The tiles of one level, row by row, and where their bytes are.

    Attributes
    ----------
    dimensions, tile
        (width, height) of the level and of a tile, in pixels of the level.
    files
        The files that hold the tiles.
    file_of, offsets, lengths
        For each tile: index of its file, place of its bytes, and how many; length 0 for a tile
        the scanner skipped. int32, int64, int64.
    tables
        JPEG tables shared by all tiles.
    colour, frame
        How the pixels are coded.
    is_complete
        Whether the streams can be decoded as they are.
    """

    dimensions: tuple[int, int]
    tile: tuple[int, int]
    files: tuple[Path, ...]
    file_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    tables: bytes | None
    colour: Colour
    frame: Frame
    is_complete: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """(columns, rows) of tiles."""
        return -(-self.dimensions[0] // self.tile[0]), -(-self.dimensions[1] // self.tile[1])

    def whole_stream(self, stored: bytes) -> bytes:
        """A tile's stored bytes as a stream that decodes by itself.

        Raises
        ------
        JpegError
            If the bytes are not a JPEG stream from its first to its last marker.
        """
        if self.is_complete:
            return stored
        return complete(stored, tables=self.tables, colour=self.colour)

    def read_stream(self, file: BinaryIO, place: int) -> bytes | None:
        """Tile number `place` from its open file, as a whole stream; None if it was skipped.

        Raises
        ------
        JpegError
            As `whole_stream`, and if the file ends inside the tile.
        """
        length = int(self.lengths[place])
        if length == 0:
            return None
        file.seek(int(self.offsets[place]))
        stored = file.read(length)
        if len(stored) < length:
            raise JpegError("the file ends inside the tile")
        return self.whole_stream(stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegTiles:
    """The JPEG tiles of a slide's levels, finest first; its coarsest levels may have none."""

    levels: tuple[TiledLevel, ...]
