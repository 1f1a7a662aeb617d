"""Encoding the tiles of an SVS file, with JPEG tables that all of a level share."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

TILE = 256

Pixels = NDArray[np.uint8]


@dataclass(slots=True, kw_only=True)
class TileCoder:
    """Encodes tiles; tiles of a single colour are encoded once."""

    quality: int
    colour: str
    lossless: bool
    flat: dict[bytes, bytes] = field(default_factory=dict)
    tables: bytes = b""

    @property
    def name(self) -> str:
        """As the description of an SVS file has it."""
        if self.lossless:
            return "Deflate"
        return f"JPEG/{'RGB' if self.colour == 'rgb' else 'YCC'} Q={self.quality}"

    def encode(self, tile: Pixels) -> bytes:
        """A tile (`TILE`, `TILE`, 3), without the tables."""
        first = tile[0, 0]
        if not (tile == first).all():
            return self._encode(tile)
        if first.tobytes() not in self.flat:
            self.flat[first.tobytes()] = self._encode(tile)
        return self.flat[first.tobytes()]

    def _encode(self, tile: Pixels) -> bytes:
        tile = np.ascontiguousarray(tile)
        if self.lossless:
            return bytes(imagecodecs.deflate_encode(tile.tobytes(), 6))
        if self.colour == "rgb":
            jpeg = imagecodecs.jpeg8_encode(
                tile, self.quality, colorspace="rgb", outcolorspace="rgb", subsampling="444"
            )
        else:
            jpeg = imagecodecs.jpeg8_encode(tile, self.quality, subsampling="420")
        self.tables, rest = split_tables(bytes(jpeg))
        return rest

    def write(
        self, tiff: tifffile.TiffWriter, tiles: Iterator[bytes], size: tuple[int, int], about: str
    ) -> None:
        """Write a level of `size` (width, height) of encoded tiles, described by `about`."""
        options: dict[str, object] = {"compression": "zlib"}
        if not self.lossless:
            self._encode(np.zeros((TILE, TILE, 3), np.uint8))  # so that the tables are known
            options = {
                "compression": "jpeg",
                "compressionargs": {"outcolorspace": self.colour},
                "subsampling": (2, 2) if self.colour == "ycbcr" else (1, 1),
                "jpegtables": self.tables,
            }
        tiff.write(
            tiles,
            shape=(size[1], size[0], 3),
            dtype=np.uint8,
            photometric="rgb",
            tile=(TILE, TILE),
            description=about,
            software=False,
            metadata=None,
            **options,  # type: ignore[arg-type]
        )


def split_tables(jpeg: bytes) -> tuple[bytes, bytes]:
    """Part a JPEG into its tables, as TIFF shares them, and the rest, as a TIFF tile holds it.

    Returns
    -------
    tables
        SOI, the DQT and DHT segments, EOI.
    tile
        SOI, all other segments and the scan.
    """
    tables, rest, at = b"", b"", 2
    while jpeg[at + 1] != 0xDA:  # start of scan
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] in (0xDB, 0xC4):
            tables += jpeg[at:end]
        else:
            rest += jpeg[at:end]
        at = end
    return jpeg[:2] + tables + b"\xff\xd9", jpeg[:2] + rest + jpeg[at:]
