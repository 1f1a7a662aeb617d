"""Where tiles are: files and coordinates, which travel, instead of pixels, which don't."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import UsageError
from wsi.open import open_slide
from wsi.plan import TileSpec, plan_read
from wsi.ref import SlideRef
from wsi.slide import Pixels
from wsi.tiles import read_tile

Number = TypeVar("Number", bound=np.integer[Any])
LARGEST_PX = 100_000_000  # above which an image is a slide, to be read as one
ARRAYS = ".npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Tiles of one image, one file of arrays, or one slide.

    Attributes
    ----------
    path
        The image, or the ``.npz`` with an array ``pixels`` (N, H, W, 3).
    slide
        The slide; then there is no `path`.
    numbers
        (N,) int64: of arrays, which of them each tile is in; otherwise 0.
    coords
        (N, 2) int64, x and y of the corner of each tile without its context: level-0 pixels of a
        slide; pixels of an image as resampled, where what lies outside is mirrored.
    sources
        (N,) int64: the number of the case each tile is of.
    case
        Its name, where all tiles are of one: a patient, or a slide or image of no known one.
    spec, context_px
        Size and resolution of the tiles, and their margin on each side.
    zoom
        By how much images are enlarged.
    level0_mpp
        Of a slide.
    """

    coords: NDArray[np.int64]
    numbers: NDArray[np.int64]
    sources: NDArray[np.int64]
    spec: TileSpec
    context_px: int = 0
    path: Path | None = None
    slide: SlideRef | None = None
    case: str = ""
    zoom: float = 1.0
    level0_mpp: float = 0.0

    def __len__(self) -> int:
        return len(self.coords)

    @property
    def seen_px(self) -> int:
        """Edge of the tiles with their context."""
        return self.spec.size_px + 2 * self.context_px

    def take(self, part: slice) -> Self:
        """Some of the tiles."""
        return replace(
            self,
            coords=self.coords[part],
            numbers=self.numbers[part],
            sources=self.sources[part],
        )


def take_tiles(places: Sequence[Place], part: slice) -> list[Place]:
    """Tiles by number over all places, which keep their order."""
    ends = np.cumsum([len(place) for place in places]).tolist()
    starts = [0, *ends[:-1]]
    return [
        place.take(slice(max(0, part.start - start), part.stop - start))
        for place, start, end in zip(places, starts, ends, strict=True)
        if start < part.stop and end > part.start
    ]


def read_place(place: Place) -> Pixels:
    """Read the tiles with their context, (N, S, S, 3) uint8."""
    if place.slide is not None:
        return _read_slide(place, place.slide)
    if place.path is None:
        raise ValueError(f"{place} names neither an image nor a slide")
    if place.path.suffix == ARRAYS:
        with np.load(place.path, allow_pickle=False) as stored:
            pixels: Pixels = stored["pixels"]
        images = {n: Image.fromarray(pixels[n]) for n in np.unique(place.numbers).tolist()}
    else:
        images = {0: read_image(place.path)}
    tiles = np.empty((len(place), *[place.seen_px] * 2, 3), np.uint8)
    for number, image in images.items():
        inside = place.numbers == number
        tiles[inside] = cut(
            resample(image, place.zoom), place.coords[inside], place.spec, place.context_px
        )
    return tiles


def tile_coords(width: int, height: int, size_px: int) -> NDArray[np.int64]:
    """Corners of tiles that cover an image, row by row, (N, 2) x and y.

    They are spread evenly, so they overlap where the image is no multiple of their size; an image
    that is smaller lies in the middle of its tile.
    """
    columns, rows = (_starts(length, size_px) for length in (width, height))
    return np.array([(x, y) for y in rows for x in columns], np.int64)


def cut(
    pixels: NDArray[Number], coords: NDArray[np.int64], spec: TileSpec, context_px: int
) -> NDArray[Number]:
    """Cut tiles with context out of an (H, W, ...) image, (N, S, S, ...); beyond it, mirrored."""
    seen = spec.size_px + 2 * context_px
    before = [max(0, spec.size_px - n) // 2 + context_px for n in pixels.shape[:2]]
    after = [
        max(0, spec.size_px - n) + 2 * context_px - b
        for n, b in zip(pixels.shape[:2], before, strict=True)
    ]
    margins = [*zip(before, after, strict=True), *[(0, 0)] * (pixels.ndim - 2)]
    padded = np.pad(pixels, margins, mode="symmetric")
    corners = coords - context_px + np.array(before[::-1])
    return np.stack([padded[y : y + seen, x : x + seen] for x, y in corners.tolist()])


def resample(
    image: Image.Image, zoom: float, method: Image.Resampling = Image.Resampling.BICUBIC
) -> NDArray[np.integer[Any]]:
    """An image as an array, enlarged or reduced."""
    size = resampled_size(image, zoom)
    return np.asarray(image if size == image.size else image.resize(size, method))


def resampled_size(image: Image.Image, zoom: float) -> tuple[int, int]:
    """Width and height after `resample`."""
    width, height = (max(1, round(n * zoom)) for n in image.size)
    return width, height


def open_image(path: Path) -> Image.Image:
    """Open an image without reading its pixels.

    Raises
    ------
    UsageError
        If it is no image, or so large that it is to be given as a slide.
    """
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise UsageError(
            f"{path}: limit {LARGEST_PX:_} px: give it as a slide ({error})"
        ) from error
    except (OSError, SyntaxError) as error:
        raise UsageError(f"{path} cannot be read as an image: {error}") from error
    if image.width * image.height > LARGEST_PX:
        image.close()
        raise UsageError(
            f"{path} has {image.width} x {image.height} px, limit {LARGEST_PX:_}: give it as a "
            "slide"
        )
    return image


def read_image(path: Path) -> Image.Image:
    """Read an image as RGB; raises as `open_image`."""
    with open_image(path) as image:
        try:
            return image.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise UsageError(f"{path} cannot be read as an image: {error}") from error


def _read_slide(place: Place, ref: SlideRef) -> Pixels:
    spec = replace(place.spec, size_px=place.seen_px)
    with open_slide(ref) as slide:
        plan = plan_read(spec, level0_mpp=place.level0_mpp, downsamples=slide.level_downsamples)
        margin = round(place.context_px * place.spec.mpp / place.level0_mpp)
        corners = (place.coords - margin).tolist()
        return np.stack([read_tile(slide, spec=spec, plan=plan, x=x, y=y) for x, y in corners])


def _starts(length: int, size: int) -> list[int]:
    if length < size:
        return [-((size - length) // 2)]
    count = -(-length // size)
    return [round(i * (length - size) / max(1, count - 1)) for i in range(count)]
