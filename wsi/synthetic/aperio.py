"""Writing SVS files as an Aperio scanner lays them out, a strip at a time."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from wsi.atomic import replacing
from wsi.synthetic.coder import TILE, TileCoder

_STEP = 4  # from one level to the next
_SMALLEST = 1024  # a level whose longer side is within this is the last
_STRIP = TILE * _STEP

Pixels = NDArray[np.uint8]
ReadBlock = Callable[[int, int, int, int], Pixels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Associated:
    """The images beside the pyramid; each (H, W, 3), or none. The thumbnail is always there."""

    label: Pixels | None = None
    macro: Pixels | None = None


def write_svs(
    path: Path,
    *,
    width: int,
    height: int,
    mpp: float,
    magnification: float,
    read_block: ReadBlock,
    associated: Associated | None = None,
    properties: Mapping[str, str] | None = None,
    quality: int = 80,
    colour: Literal["ycbcr", "rgb"] = "ycbcr",
    lossless: bool = False,
) -> Path:
    """Write a pyramid that OpenSlide opens as Aperio's.

    Levels shrink by 4 until the longer side is at most 1024 pixels; their pixels are the
    rounded means of the level above, and what does not fill a pixel is left out. Equal input
    gives equal bytes. Memory holds one strip of 1024 rows at a time and the coarser levels
    encoded.

    Parameters
    ----------
    path
        Written whole or not at all.
    width, height
        Of level 0, pixels.
    mpp
        Of level 0, µm per pixel.
    magnification
        Of the objective, as the scanner states it.
    read_block
        Called as ``read_block(x, y, width, height)`` in level-0 pixels, in reading order,
        each pixel once; returns (H, W, 3) uint8.
    associated
        Label and macro images.
    properties
        Further keys of the image description, such as ``Date``; in this order.
    quality
        Of the JPEG tiles, 1-100.
    colour
        How the tiles store colour: YCbCr at half resolution, or RGB as it is.
    lossless
        Store tiles with deflate in place of JPEG.

    Returns
    -------
    `path`.
    """
    path = Path(path)
    sizes = level_sizes(width, height)
    coder = TileCoder(quality=quality, colour=colour, lossless=lossless)
    levels = [_Level(area=_STEP ** (2 * k), coder=coder) for k in range(len(sizes))]
    head = f"Aperio Image Library v0.0.0 (synthetic)\r\n{width}x{height}"
    keys = {"AppMag": f"{magnification:g}", "MPP": f"{mpp:.6g}", **(properties or {})}
    about = f"{head} [0,0 {width}x{height}] ({TILE}x{TILE}) {coder.name}"
    about = "|".join([about, *(f"{key} = {value}" for key, value in keys.items())])
    with (
        replacing(path) as partial,
        tifffile.TiffWriter(partial, bigtiff=width * height > 2**30) as tiff,
    ):
        coder.write(tiff, _stream(levels, sizes[0], read_block), sizes[0], about)
        small = Image.fromarray(levels[-1].last)
        small.thumbnail((1024, 768), Image.Resampling.BOX)
        _write_plain(tiff, np.asarray(small), f"{head} -> {small.width}x{small.height} - |")
        for level, size in zip(levels[1:], sizes[1:], strict=True):
            coder.write(tiff, iter(level.tiles), size, f"{head} -> {size[0]}x{size[1]} - |")
        extra = associated or Associated()
        for name, image, kind in (("label", extra.label, 1), ("macro", extra.macro, 9)):
            if image is not None:
                text = f"{head.splitlines()[0]}\r\n{name} {image.shape[1]}x{image.shape[0]}"
                _write_plain(tiff, image, text, kind=kind)
    return path


def level_sizes(width: int, height: int) -> tuple[tuple[int, int], ...]:
    """Return (width, height) of each level, finest first."""
    sizes = [(width, height)]
    while max(sizes[-1]) > _SMALLEST and min(sizes[-1]) >= _STEP:
        sizes.append((sizes[-1][0] // _STEP, sizes[-1][1] // _STEP))
    return tuple(sizes)


@dataclass(slots=True, kw_only=True)
class _Level:
    """One level while strips go by; `sums` of the level-0 pixels of each of its pixels."""

    area: int  # level-0 pixels in one pixel
    coder: TileCoder
    sums: list[NDArray[np.unsignedinteger]] = field(default_factory=list)
    tiles: list[bytes] = field(default_factory=list)
    last: Pixels = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))  # encoded last

    def encode(self) -> Iterator[bytes]:
        """Yield the tiles of the rows at hand, in reading order; the last ones padded."""
        sums = np.concatenate(self.sums) if len(self.sums) > 1 else self.sums[0]
        self.sums = [sums]
        half = np.asarray(self.area // 2, sums.dtype)
        self.last = pixels = np.asarray(
            sums if self.area == 1 else (sums + half) // self.area, np.uint8
        )
        for y in range(0, pixels.shape[0], TILE):
            for x in range(0, pixels.shape[1], TILE):
                tile = pixels[y : y + TILE, x : x + TILE]
                down, across = TILE - tile.shape[0], TILE - tile.shape[1]
                if down or across:
                    tile = np.pad(tile, ((0, down), (0, across), (0, 0)), mode="edge")
                yield self.coder.encode(tile)


def _stream(levels: Sequence[_Level], size: tuple[int, int], read: ReadBlock) -> Iterator[bytes]:
    """Yield the tiles of level 0, and fill the other levels on the way."""
    width, height = size
    for y in range(0, height, _STRIP):
        rows = min(_STRIP, height - y)
        strip = np.empty((rows, width, 3), np.uint8)
        for x in range(0, width, _STRIP):
            cols = min(_STRIP, width - x)
            strip[:, x : x + cols] = read(x, y, cols, rows)
        levels[0].sums = [strip]
        tiles = list(levels[0].encode())
        _descend(levels, final=y + rows == height)
        yield from tiles  # last: nobody may come back after the final tile


def _descend(levels: Sequence[_Level], *, final: bool) -> None:
    """Hand rows on to the coarser levels, each as soon as it has a strip of them."""
    for finer, level in itertools.pairwise(levels):
        level.sums.append(_shrink(finer.sums[0]))
        finer.sums = []
        if not final and sum(len(part) for part in level.sums) < _STRIP:
            return
        level.tiles.extend(level.encode())
    levels[-1].sums = []


def _shrink(sums: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Add up squares of 4 x 4, leaving out what does not fill one."""
    rows, cols = sums.shape[0] // _STEP * _STEP, sums.shape[1] // _STEP * _STEP
    wide = np.uint16 if sums.dtype == np.uint8 else np.uint32
    tall = np.zeros((rows // _STEP, cols, 3), wide)
    for k in range(_STEP):
        tall += sums[k:rows:_STEP, :cols]
    small = np.zeros((rows // _STEP, cols // _STEP, 3), wide)
    for k in range(_STEP):
        small += tall[:, k::_STEP]
    return small


def _write_plain(tiff: tifffile.TiffWriter, image: Pixels, about: str, *, kind: int = 0) -> None:
    """Write an associated image; untiled, which is how readers tell it from a level."""
    tiff.write(
        np.ascontiguousarray(image),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 90},
        rowsperstrip=image.shape[0],
        subfiletype=kind,
        description=about,
        software=False,
        metadata=None,
    )
