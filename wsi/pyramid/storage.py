"""How the pixels of a level that is computed here are stored: arrays, chunks, shards.

Zarr writes the metadata. Chunks are encoded and put into their files here, which is two to three
times as fast as through Zarr's own pipeline and lets every part of a pyramid be written alone.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, TransposeCodec, ZstdCodec

from wsi.atomic import replacing
from wsi.jpeg.codec import JpegCodec
from wsi.ngff import Version
from wsi.pyramid.shard import Pieces, write_shard
from wsi.slide import Pixels

BLOSC_LEVEL = 5
ZSTD_LEVEL = 1  # stained tissue is noise to zstd: higher levels cost time and gain little
BLANK = 255  # chunks of nothing but this are not stored
FULL_COLOUR = ((1, 1), (1, 1), (1, 1))  # JPEG with unreduced colour: nuclei keep their edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Chunks (3, `chunk_px`, `chunk_px`) uint8 behind a codec, in Zarr v3 shards or v2 files."""

    codec: Literal["jpeg", "zstd", "blosc"]
    quality: int
    ngff: Version
    chunk_px: int

    def create(
        self, group: zarr.Group, name: str, dimensions: tuple[int, int], *, shard_px: int
    ) -> None:
        """Create the array (c, y, x) of a level of (width, height)."""
        shape = (3, dimensions[1], dimensions[0])
        chunks = (3, self.chunk_px, self.chunk_px)
        if self.ngff == "0.4":
            group.create_array(
                name,
                shape=shape,
                dtype="uint8",
                chunks=chunks,
                compressors=self._v2_compressor(),
                fill_value=BLANK,
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
            return
        jpeg: dict[str, Any] = {
            "filters": [TransposeCodec(order=(1, 2, 0))],
            "serializer": self._jpeg(),
            "compressors": None,
        }
        lossless: dict[str, Any] = {"compressors": ZstdCodec(level=ZSTD_LEVEL)}
        if self.codec == "blosc":
            blosc = BloscCodec(typesize=1, cname="lz4", clevel=BLOSC_LEVEL, shuffle="noshuffle")
            lossless = {"compressors": blosc}
        down, across = self._chunks_a_shard(dimensions, shard_px)
        group.create_array(
            name,
            shape=shape,
            dtype="uint8",
            chunks=chunks,
            shards=(3, down * self.chunk_px, across * self.chunk_px),
            fill_value=BLANK,
            dimension_names=("c", "y", "x"),
            **(jpeg if self.codec == "jpeg" else lossless),
        )

    def write(
        self,
        folder: Path,
        pixels: Pixels,
        place: tuple[int, int],
        *,
        dimensions: tuple[int, int],
        shard_px: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Write one shard, or the chunk files that would be in it.

        Parameters
        ----------
        folder
            Of the array, which is of (width, height) `dimensions`.
        pixels
            (3, h, w): the whole shard, less what would be outside the level.
        place
            (row, column) of the shard.
        """
        down, across = self._chunks_a_shard(dimensions, shard_px)
        encoded = pool.map(self._encode_or_skip, self._chunks_of(pixels))
        stored = dict(zip(np.ndindex(*self._grid_of(pixels)), encoded, strict=True))
        row, column = place
        if self.ngff == "0.4":
            for (y, x), chunk in stored.items():
                if chunk is not None:
                    file = folder / "0" / str(row * down + y) / str(column * across + x)
                    with replacing(file) as tmp:
                        tmp.write_bytes(chunk)
            return
        chunks: list[Pieces | None] = [None] * (down * across)
        for (y, x), chunk in stored.items():
            chunks[y * across + x] = None if chunk is None else (chunk,)
        write_shard(folder / "c" / "0" / str(row) / str(column), chunks)

    def _chunks_a_shard(self, dimensions: tuple[int, int], shard_px: int) -> tuple[int, int]:
        """(down, across); a level smaller than a shard has a shard of its own size."""
        width, height = (min(-(-n // self.chunk_px), shard_px // self.chunk_px) for n in dimensions)
        return height, width

    def _grid_of(self, pixels: Pixels) -> tuple[int, int]:
        return -(-pixels.shape[1] // self.chunk_px), -(-pixels.shape[2] // self.chunk_px)

    def _chunks_of(self, pixels: Pixels) -> Iterator[Pixels]:
        """Whole chunks of (3, h, w) pixels; the last pixels are repeated to fill the outer ones."""
        edge = self.chunk_px
        rows, columns = self._grid_of(pixels)
        for y in range(rows):
            for x in range(columns):
                chunk = pixels[:, y * edge : (y + 1) * edge, x * edge : (x + 1) * edge]
                missing = edge - chunk.shape[1], edge - chunk.shape[2]
                if any(missing):
                    chunk = np.pad(chunk, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
                yield chunk

    def _encode_or_skip(self, chunk: Pixels) -> bytes | None:
        return None if chunk.min() == BLANK else self._encode(chunk)

    def _encode(self, chunk: Pixels) -> bytes:
        if self.codec == "jpeg":
            return self._jpeg().encode_pixels(chunk.transpose(1, 2, 0))
        planar = np.ascontiguousarray(chunk)
        if self.codec == "zstd":
            return bytes(imagecodecs.zstd_encode(planar.tobytes(), level=ZSTD_LEVEL))
        return bytes(self._v2_compressor().encode(planar))

    def _jpeg(self) -> JpegCodec:
        return JpegCodec(quality=self.quality, subsampling=FULL_COLOUR)

    def _v2_compressor(self) -> Any:
        if self.codec == "zstd":
            return numcodecs.Zstd(level=ZSTD_LEVEL)
        return numcodecs.Blosc("lz4", clevel=BLOSC_LEVEL, shuffle=numcodecs.Blosc.NOSHUFFLE)
