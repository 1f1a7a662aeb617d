"""Pixels of a pyramid as a viewer asks for them: tiles, thumbnails, JPEG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from PIL import Image

from wsi.errors import RayPathError
from wsi.ngff_read import read_multiscale
from wsi.pyramid.options import PyramidOptions
from wsi.slide import Pixels

TILE_PX = PyramidOptions().chunk_px  # a tile costs the decoding of one chunk
QUALITY = 90  # with full colour resolution: nuclei keep their edges
OPEN_SLIDES = 16  # pyramids kept open; each is a few metadata files in memory


class NoSuchTileError(RayPathError, LookupError):
    """The level, column or row is outside the pyramid."""

    kind = "no_such_tile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """An open `image.ome.zarr`.

    Attributes
    ----------
    path
        The group's folder.
    levels
        (c, y, x) arrays, finest first.
    downsamples
        Level-0 pixels per pixel of each level.
    level0_mpp
        µm per level-0 pixel.
    """

    path: Path
    levels: tuple[zarr.Array[Any], ...]
    downsamples: tuple[float, ...]
    level0_mpp: float

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in its own pixels."""
        return tuple((int(level.shape[2]), int(level.shape[1])) for level in self.levels)


def version_of(group: Path) -> str:
    """A token that changes when a Zarr group is written anew; empty where there is none."""
    return version_of_file(group / "zarr.json")


def version_of_file(path: Path) -> str:
    """A token that changes when a file is written anew; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}"


@lru_cache(maxsize=OPEN_SLIDES)
def open_pyramid(path: Path, version: str) -> Pyramid:
    """Open the pyramid at `path` once for each `version` of it (see `version_of`)."""
    group = zarr.open_group(path, mode="r")
    said = read_multiscale(group.attrs.asdict())
    ours: Any = group.attrs["raypath"]
    levels: tuple[Any, ...] = tuple(group[name] for name in said.paths)
    return Pyramid(
        path=path,
        levels=levels,
        downsamples=said.downsamples,
        level0_mpp=float(ours["level0_mpp"]),
    )


def read_tile(pyramid: Pyramid, *, level: int, column: int, row: int) -> Pixels:
    """The pixels of a tile, (H, W, 3); those of the last column and row may be smaller.

    Raises
    ------
    NoSuchTileError
        If the pyramid has no such tile.
    """
    rows, columns = place_of(pyramid.level_dimensions, level=level, column=column, row=row)
    pixels = np.asarray(pyramid.levels[level][:, rows, columns])
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def place_of(
    sizes: Sequence[tuple[int, int]], *, level: int, column: int, row: int
) -> tuple[slice, slice]:
    """Rows and columns of a tile in a level's pixels; `sizes` are width and height of each level.

    Raises
    ------
    NoSuchTileError
        If there is no such tile.
    """
    if not 0 <= level < len(sizes):
        raise NoSuchTileError(f"level {level}: there are {len(sizes)}, from 0")
    width, height = sizes[level]
    x, y = column * TILE_PX, row * TILE_PX
    if not (0 <= x < width and 0 <= y < height):
        raise NoSuchTileError(
            f"tile ({column}, {row}): level {level} has {-(-width // TILE_PX)} columns and "
            f"{-(-height // TILE_PX)} rows, from 0"
        )
    return slice(y, y + TILE_PX), slice(x, x + TILE_PX)


def thumbnail(pyramid: Pyramid, *, longest_px: int) -> Pixels:
    """The whole slide, (H, W, 3), its longer side `longest_px` or what the slide has."""
    sizes = [max(size) for size in pyramid.level_dimensions]
    level = max((i for i, size in enumerate(sizes) if size >= longest_px), default=0)
    image = Image.fromarray(np.asarray(pyramid.levels[level][...]).transpose(1, 2, 0).copy())
    scale = min(1.0, longest_px / max(image.size))
    width, height = (max(1, round(n * scale)) for n in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def encode_jpeg(pixels: Pixels, *, quality: int = QUALITY) -> bytes:
    """(H, W, 3) as JPEG, colour at full resolution."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
