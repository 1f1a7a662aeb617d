"""Slides as dask arrays: the graph holds a slide's name, and each block opens it where it runs."""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from wsi.errors import UnreadableRegionError
from wsi.open import open_slide
from wsi.ref import SlideRef
from wsi.remote import is_remote
from wsi.slide import Slide

BLOCK_PX = 2048  # edge of a block, at most, in whole stored tiles: 12 MB of pixels
DEFAULT_TILE_PX = 512  # where the file is not stored in tiles
IDLE_SLIDES = 8  # open slides that a process keeps for its next blocks

Version = tuple[int, int]  # inode and time of change: a path that was written anew is another slide


def as_dask(slide: SlideRef | Path | str, level: int = 0) -> da.Array:
    """A level of a slide, (H, W, 3) uint8, read block by block when it is computed.

    Blocks are whole stored tiles, so no tile is decoded for two of them. Level 0 is what
    `Slide.read_region` gives; where a coarser level's downsample is no whole number, OpenSlide
    interpolates between blocks and a value may differ by 1 from one read of the whole level.

    Parameters
    ----------
    slide
        Its name; a handle does not travel to where a block is computed.
    level
        The level; 0 is the finest.

    Raises
    ------
    SlideError
        If the slide does not open. Computing raises `UnreadableRegionError` where it does not
        decode; see `as_masked_dask`.
    """
    ref, chunks, version = _plan(slide, level)
    return _blocks(_read_block, ref, level, version, chunks=(*chunks, (3,)))


def as_masked_dask(slide: SlideRef | Path | str, level: int = 0) -> tuple[da.Array, da.Array]:
    """As `as_dask`, and where it decoded: (H, W, 3) uint8 and (H, W) bool.

    Stored tiles that do not decode are 0 and False. Compute both together, and every block is
    read once.
    """
    ref, chunks, version = _plan(slide, level)
    both = _blocks(_read_block_with_mask, ref, level, version, chunks=(*chunks, (4,)))
    return both[..., :3], both[..., 3].astype(bool)


@contextmanager
def borrowed(ref: SlideRef) -> Iterator[Slide]:
    """An open slide from those this process keeps; nobody else uses it until the context ends."""
    key = (ref.path, _version(ref.path))
    slide = _idle.take(key) or open_slide(ref)
    try:
        yield slide
    finally:
        _idle.give(key, slide)


class _IdleSlides:
    """Open slides that nobody uses, the least recently used closed when there are too many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slides: list[tuple[tuple[Path, Version], Slide]] = []

    def take(self, key: tuple[Path, Version]) -> Slide | None:
        with self._lock:
            for n in reversed(range(len(self._slides))):
                if self._slides[n][0] == key:
                    return self._slides.pop(n)[1]
        return None

    def give(self, key: tuple[Path, Version], slide: Slide) -> None:
        with self._lock:
            self._slides.append((key, slide))
            surplus = self._slides[:-IDLE_SLIDES]
            del self._slides[:-IDLE_SLIDES]
        for _, left in surplus:
            left.close()

    def close(self) -> None:
        with self._lock:
            slides, self._slides = self._slides, []
        for _, slide in slides:
            slide.close()

    def forget(self) -> None:
        """In a forked child: its parent's handles are not to be used, nor closed."""
        self._lock = threading.Lock()
        self._parents = self._slides
        self._slides = []


_idle = _IdleSlides()
atexit.register(_idle.close)
os.register_at_fork(after_in_child=_idle.forget)


def _version(path: Path) -> Version:
    if is_remote(path) or not path.exists():
        return 0, 0
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _plan(
    slide: SlideRef | Path | str, level: int
) -> tuple[SlideRef, tuple[tuple[int, ...], tuple[int, ...]], Version]:
    """The slide's name, (heights, widths) of its blocks, and its version."""
    ref = slide if isinstance(slide, SlideRef) else SlideRef.of(slide)
    with borrowed(ref) as opened:
        if not 0 <= level < len(opened.level_dimensions):
            raise ValueError(f"level {level}: the slide has {len(opened.level_dimensions)}, from 0")
        width, height = opened.level_dimensions[level]
        tile = _tile_px(opened, level)
    edges = [px * max(1, BLOCK_PX // px) for px in tile]
    across, down = (
        tuple(min(edge, length - start) for start in range(0, length, edge))
        for edge, length in zip(edges, (width, height), strict=True)
    )
    return ref, (down, across), _version(ref.path)


def _tile_px(slide: Slide, level: int) -> tuple[int, int]:
    """(width, height) of the tiles that a level is stored in."""
    names = (f"openslide.level[{level}].tile-{edge}" for edge in ("width", "height"))
    width, height = (int(slide.properties.get(name, 0)) or DEFAULT_TILE_PX for name in names)
    return width, height


def _blocks(
    read: Any,
    ref: SlideRef,
    level: int,
    version: Version,
    *,
    chunks: tuple[tuple[int, ...], ...],
) -> da.Array:
    """An array whose blocks `read` gives; the same slide and level have the same name."""
    name = f"{read.__name__.strip('_')}-{tokenize(str(ref.path), level, version)}"
    meta = np.empty((0, 0, 0), np.uint8)
    blocks: da.Array = da.map_blocks(
        read, ref=ref, level=level, chunks=chunks, dtype=np.uint8, meta=meta, name=name
    )
    return blocks


def _box(block_info: dict[Any, Any]) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a block in pixels of the level."""
    (top, bottom), (left, right), _ = block_info[None]["array-location"]
    return left, top, right - left, bottom - top


def _read(slide: Slide, level: int, left: int, top: int, width: int, height: int) -> Any:
    downsample = slide.level_downsamples[level]
    location = (round(left * downsample), round(top * downsample))
    return slide.read_region(location, level, (width, height))


def _read_block(*, ref: SlideRef, level: int, block_info: dict[Any, Any]) -> NDArray[np.uint8]:
    """The pixels of a block."""
    with borrowed(ref) as slide:
        pixels: NDArray[np.uint8] = _read(slide, level, *_box(block_info))
    return pixels


def _read_block_with_mask(
    *, ref: SlideRef, level: int, block_info: dict[Any, Any]
) -> NDArray[np.uint8]:
    """The pixels of a block and, as a fourth channel, 1 where they decoded."""
    left, top, width, height = _box(block_info)
    block = np.zeros((height, width, 4), np.uint8)
    with borrowed(ref) as slide:
        tile_width, tile_height = _tile_px(slide, level)
        try:
            block[..., :3] = _read(slide, level, left, top, width, height)
            block[..., 3] = 1
        except UnreadableRegionError:
            for y in range(0, height, tile_height):
                for x in range(0, width, tile_width):
                    tile = block[y : y + tile_height, x : x + tile_width]
                    size = (tile.shape[1], tile.shape[0])
                    try:
                        tile[..., :3] = _read(slide, level, left + x, top + y, *size)
                        tile[..., 3] = 1
                    except UnreadableRegionError:
                        continue  # the tile stays 0, which is what says that it did not decode
    return block
