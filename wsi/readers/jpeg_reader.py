"""Slides whose tiles are JPEG: another reader says what the slide is, libjpeg-turbo decodes."""

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from wsi.buffers import Buffers
from wsi.cpus import usable_cpus
from wsi.errors import UnreadableRegionError
from wsi.jpeg.cache import TileCache
from wsi.jpeg.decode import decode_into
from wsi.jpeg.stream import JpegError
from wsi.jpeg.tiles import JpegTiles, TiledLevel
from wsi.slide import Pixels, Slide

CACHE_BYTES = 256 << 20
DCT_REDUCTIONS = (8, 4, 2)  # what libjpeg can make smaller while it decodes
MANY_TILES = 8  # a region of so many tiles is decoded by several threads
OPEN_FILES = 256  # a process may have about 1,000 open; those beyond are opened for each tile
BLANK = 255


class JpegSlide(Slide):
    """A slide read from its JPEG tiles, the same pixels as from the slide it wraps.

    A location is mapped to the nearest pixel of the level, ``round(location / downsample)``;
    pixels are never interpolated. Each tile is decoded once while it stays among those used last,
    whatever the number of threads and regions that want it.

    `read_reduced` decodes straight to a half, a quarter or an eighth where `reduction` allows: each
    pixel comes from the low frequencies of its 8 × 8 block, and differs from the mean of the
    decoded pixels by what they are rounded and clipped to, 0.1-0.2 grey levels on average, without
    a shift. Tiles that reach over the slide's edge are averaged exactly, without their padding.

    Parameters
    ----------
    slide
        What is read, and closed with this one. Levels that `tiles` lacks are read from it.
    tiles
        Of its finest levels.
    cache_bytes
        Most memory for decoded tiles. As long as regions are read row by row only the rows of
        tiles that they touch are kept.
    threads
        Used for one large region; by default as many as there are CPUs.
    """

    reader = "jpeg"
    reads_in_parallel = True

    def __init__(
        self,
        slide: Slide,
        tiles: JpegTiles,
        *,
        cache_bytes: int = CACHE_BYTES,
        threads: int | None = None,
    ) -> None:
        self.tiles = tiles
        self.vendor = slide.vendor
        self.level_dimensions = slide.level_dimensions
        self.level_downsamples = slide.level_downsamples
        self.properties = slide.properties
        self.associated_images = slide.associated_images
        self.icc_profile = slide.icc_profile
        self._slide = slide
        self._lock = threading.Lock()
        self._files: dict[Path, int] = {}
        self._buffers = Buffers()
        self._cache = TileCache(cache_bytes, self._buffers)
        self._threads = threads or usable_cpus()
        self._pool: ThreadPoolExecutor | None = None

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """See `Slide.read_region`."""
        return self.read_reduced(location, level, size, 1)

    def read_reduced(
        self, location: tuple[int, int], level: int, size: tuple[int, int], reduction: int
    ) -> Pixels:
        """See `Slide.read_reduced`, and above for what differs from the mean."""
        region = np.empty((size[1], size[0], 3), np.uint8)
        self.read_into(region, location, level, reduction=reduction)
        return region

    def read_into(
        self, out: Pixels, location: tuple[int, int], level: int, *, reduction: int = 1
    ) -> None:
        """See `Slide.read_into`."""
        size = (out.shape[1], out.shape[0])
        if level >= len(self.tiles.levels):
            out[...] = self._read_wrapped(location, level, size, reduction)
            return
        left, top, width, height = self._inside(location, level, size, reduction)
        if (width, height) != size:
            out[...] = BLANK
        if width <= 0 or height <= 0:
            return
        x, y = max(left, 0), max(top, 0)
        tiled = self.tiles.levels[level]
        scale = _scale(tiled, reduction)
        rest = reduction // scale
        block = out[y - top : y - top + height, x - left : x - left + width]
        try:
            if rest == 1:
                self._copy(block, level, x, y, scale)
            else:
                columns, rows = (-(-n // scale) for n in tiled.dimensions)
                right, bottom = min((x + width) * rest, columns), min((y + height) * rest, rows)
                finer = np.empty((bottom - y * rest, right - x * rest, 3), np.uint8)
                self._copy(finer, level, x * rest, y * rest, scale)
                block[...] = np.asarray(Image.fromarray(finer).reduce(rest))
        except JpegError as error:
            name = tiled.files[0].name
            message = f"{name}: level {level}, {size} px at {location}: {error}"
            raise UnreadableRegionError(message) from error

    def _copy(self, out: Pixels, level: int, left: int, top: int, scale: int) -> None:
        """Fill `out` from the tiles under it; left and top in pixels of the level over `scale`."""
        tiled = self.tiles.levels[level]
        tile_width, tile_height = tiled.tile[0] // scale, tiled.tile[1] // scale
        columns = tiled.grid[0]
        height, width = out.shape[:2]
        first_row, y = divmod(top, tile_height)
        first_column, x = divmod(left, tile_width)
        if x == y == 0 and (width, height) == (tile_width, tile_height):
            self._copy_whole(out, level, first_row * columns + first_column, scale)
            return
        last_row, last_column = (top + height - 1) // tile_height, (left + width - 1) // tile_width
        places = [
            row * columns + column
            for row in range(first_row, last_row + 1)
            for column in range(first_column, last_column + 1)
        ]
        many = len(places) >= MANY_TILES
        # A row of regions comes back to the rows of tiles under it and, shifted, to one more.
        kept_rows = min(last_row - first_row, 1 if many else last_row) + 2
        self._cache.widen(kept_rows * columns * tile_width * tile_height * 3)

        def paste(place: int) -> None:
            y = place // columns * tile_height - top
            x = place % columns * tile_width - left
            target = out[max(y, 0) : y + tile_height, max(x, 0) : x + tile_width]
            if many and target.shape[:2] == (tile_height, tile_width):
                self._copy_whole(target, level, place, scale)
            elif tiled.lengths[place] == 0:
                target[...] = BLANK
            else:
                tile = self._tile(level, place, scale)[max(-y, 0) :, max(-x, 0) :]
                target[...] = tile[: target.shape[0], : target.shape[1]]

        if many and self._threads > 1:
            for _ in self._start_pool().map(paste, places):
                pass
        else:
            for place in places:
                paste(place)

    def _start_pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "jpeg")
            return self._pool

    def _copy_whole(self, out: Pixels, level: int, place: int, scale: int) -> None:
        """A tile that is wanted whole: it is not kept, as its neighbours have their own."""
        if self.tiles.levels[level].lengths[place] == 0:
            out[...] = BLANK
        elif (level, place, scale) in self._cache:
            out[...] = self._tile(level, place, scale)
        elif out.flags.c_contiguous:
            self._decode(out, level, place, scale)
        else:
            tile = self._buffers.take(out.shape)
            self._decode(tile, level, place, scale)
            out[...] = tile

    def _tile(self, level: int, place: int, scale: int) -> Pixels:
        width, height = (n // scale for n in self.tiles.levels[level].tile)

        def decode(out: Pixels) -> None:
            self._decode(out, level, place, scale)

        return self._cache.get((level, place, scale), (height, width, 3), decode)

    def _decode(self, out: Pixels, level: int, place: int, scale: int) -> None:
        """Decode a stored tile into `out`; where it reaches over the slide's edge, exactly."""
        tiled = self.tiles.levels[level]
        stream = tiled.whole_stream(self._read_bytes(tiled, place))
        columns = tiled.grid[0]
        width, height = tiled.tile
        inner_width = min(width, tiled.dimensions[0] - place % columns * width)
        inner_height = min(height, tiled.dimensions[1] - place // columns * height)
        if scale == 1 or (inner_width, inner_height) == tiled.tile:
            decode_into(out, stream, reduction=scale)
            return
        whole = np.empty((height, width, 3), np.uint8)
        decode_into(whole, stream)
        inner = Image.fromarray(whole[:inner_height, :inner_width]).reduce(scale)
        out[: inner.height, : inner.width] = np.asarray(inner)

    def _read_bytes(self, tiled: TiledLevel, place: int) -> bytes:
        path = tiled.files[tiled.file_of[place]]
        length, offset = int(tiled.lengths[place]), int(tiled.offsets[place])
        file = self._files.get(path)
        if file is None and len(self._files) >= OPEN_FILES:
            with path.open("rb") as alone:
                stored = os.pread(alone.fileno(), length, offset)
        else:
            stored = os.pread(file if file is not None else self._open(path), length, offset)
        if len(stored) < length:
            raise JpegError("the file ends inside the tile")
        return stored

    def _open(self, path: Path) -> int:
        with self._lock:
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY)
            return self._files[path]

    def _read_wrapped(
        self, location: tuple[int, int], level: int, size: tuple[int, int], reduction: int
    ) -> Pixels:
        if self._slide.reads_in_parallel:
            return self._slide.read_reduced(location, level, size, reduction)
        with self._lock:
            return self._slide.read_reduced(location, level, size, reduction)

    def read_associated(self, name: str) -> Pixels:
        """See `Slide.read_associated`."""
        with self._lock:
            return self._slide.read_associated(name)

    def close(self) -> None:
        """See `Slide.close`."""
        if self._pool is not None:
            self._pool.shutdown()
        while self._files:
            os.close(self._files.popitem()[1])
        self._slide.close()


def _scale(tiled: TiledLevel, reduction: int) -> int:
    """The part of a reduction that decoding can do; tiles must end where a reduced pixel does."""
    if reduction == 1:
        return 1
    step = math.gcd(reduction, *tiled.tile)
    return next((n for n in DCT_REDUCTIONS if step % n == 0), 1)
