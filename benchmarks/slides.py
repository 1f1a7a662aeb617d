"""Slides of any size from real pixels: islands of tissue on the scanner's own background.

python -m benchmarks.slides OUT.svs --gigapixels 1 [--data ../shared/data]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsi.errors import RayPathError
from wsi.slide import Pixels
from wsi.synthetic.aperio import write_svs

DATA = Path(__file__).parents[2] / "shared" / "data"
SCANNED = Path("slides/CMU-1-Small-Region.svs")
TISSUE = ("monuseg/images/*.webp", "glas/images/*.jpg")
CELL_PX = 512  # side of the squares that are tissue or background
PATCH_PX = 128  # side of the pieces of background
BACKGROUND = (235.0, 2.5)  # least mean and largest deviation of a piece of background
MPP, MAGNIFICATION = 0.25, 40
QUALITY = 30  # and RGB: the coding of the scanned slide, its quantisation tables exactly


class MissingDataError(RayPathError, FileNotFoundError):
    """The folder of real pixels is not there, or lacks what a mosaic is made of."""

    kind = "missing_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a mosaic is made of: `tissue`, images of at least a cell; `background`, patches."""

    tissue: tuple[Pixels, ...]
    background: tuple[Pixels, ...]


def load_pieces(data: Path = DATA) -> Pieces:
    """Read the images of stained tissue, and find the empty parts of the scanned slide.

    Raises
    ------
    MissingDataError
        If `data` has no scanned slide or no images.
    """
    paths = [path for pattern in TISSUE for path in sorted(data.glob(pattern))]
    if not paths or not (data / SCANNED).is_file():
        raise MissingDataError(
            f"{data} lacks {SCANNED} or images at {' and '.join(TISSUE)}: name the folder of real "
            "pixels with --data"
        )
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return Pieces(
        tissue=tuple(i for i in images if min(i.shape[:2]) >= CELL_PX),
        background=load_background(data / SCANNED),
    )


def load_background(path: Path) -> tuple[Pixels, ...]:
    """The empty squares of a scanned slide, each `PATCH_PX` wide."""
    with openslide.OpenSlide(path) as slide:
        scanned = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    height, width = scanned.shape[:2]
    patches = [
        scanned[y : y + PATCH_PX, x : x + PATCH_PX]
        for y in range(0, height - PATCH_PX + 1, PATCH_PX)
        for x in range(0, width - PATCH_PX + 1, PATCH_PX)
    ]
    brightest, smoothest = BACKGROUND
    return tuple(p for p in patches if p.mean() > brightest and p.std() < smoothest)


@dataclass(frozen=True)
class Mosaic:
    """A slide of `width` by `height` pixels, `tissue_share` of it tissue; the same for a `seed`.

    It is cut into cells of `CELL_PX`. A cell of tissue shows a part of one image, turned and
    mirrored at random, so that no two encoded tiles are alike.
    """

    pieces: Pieces
    width: int
    height: int
    tissue_share: float = 0.35
    seed: int = 0

    @cached_property
    def is_tissue(self) -> NDArray[np.bool_]:
        """(rows, columns) of cells: islands, fewer of them towards the edges."""
        rows, columns = -(-self.height // CELL_PX), -(-self.width // CELL_PX)
        noise = np.random.default_rng(self.seed).normal(size=(rows, columns))
        hills = ndimage.gaussian_filter(noise, max(rows, columns) / 14, mode="constant")
        hills /= hills.std()
        y, x = np.mgrid[0:rows, 0:columns]
        centre = np.hypot(2 * (y + 0.5) / rows - 1, 2 * (x + 0.5) / columns - 1)
        hills -= 2 * centre**4
        return np.asarray(hills > np.quantile(hills, 1 - self.tissue_share))

    def read_block(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Pixels of a rectangle of level 0, (height, width, 3)."""
        block = np.empty((height, width, 3), np.uint8)
        for row in range(y // CELL_PX, -(-(y + height) // CELL_PX)):
            for column in range(x // CELL_PX, -(-(x + width) // CELL_PX)):
                top, left = row * CELL_PX - y, column * CELL_PX - x
                cell = self._cell(row, column)[max(-top, 0) :, max(-left, 0) :]
                into = block[max(top, 0) : top + CELL_PX, max(left, 0) : left + CELL_PX]
                into[:] = cell[: into.shape[0], : into.shape[1]]
        return block

    def _cell(self, row: int, column: int) -> Pixels:
        random = np.random.default_rng((self.seed, row, column))
        if self.is_tissue[row, column]:
            image = self.pieces.tissue[random.integers(len(self.pieces.tissue))]
            y, x = (random.integers(side - CELL_PX + 1) for side in image.shape[:2])
            return turn(image[y : y + CELL_PX, x : x + CELL_PX], random)
        side = CELL_PX // PATCH_PX
        patches = self.pieces.background
        chosen = random.integers(len(patches), size=(side, side))
        return np.block([[[turn(patches[i], random)] for i in line] for line in chosen.tolist()])


def turn(square: Pixels, random: np.random.Generator) -> Pixels:
    """One of the eight ways a square can lie."""
    turned = np.rot90(square, int(random.integers(4)))
    return np.fliplr(turned) if random.integers(2) else turned


def write_mosaic(
    path: Path,
    *,
    gigapixels: float,
    pieces: Pieces,
    tissue_share: float = 0.35,
    seed: int = 0,
    quality: int = QUALITY,
    colour: Literal["ycbcr", "rgb"] = "rgb",
) -> Path:
    """Write an SVS file as Aperio's scanners do: JPEG tiles, levels 4 times apart.

    The pixels are of real slides of 0.25-0.62 µm, the 0.25 µm a pixel in the file a fiction.
    Memory holds a strip of 1024 rows. `quality` and `colour` as in `write_svs`.
    """
    height = round((gigapixels * 1e9 / 1.3) ** 0.5)
    width = round(gigapixels * 1e9 / height)
    mosaic = Mosaic(pieces, width, height, tissue_share, seed)
    return write_svs(
        path,
        width=width,
        height=height,
        mpp=MPP,
        magnification=MAGNIFICATION,
        read_block=mosaic.read_block,
        quality=quality,
        colour=colour,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one slide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gigapixels", type=float, default=0.5)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real pixels")
    parser.add_argument("--tissue", type=float, default=0.35, help="share of the slide, 0-1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", type=int, default=QUALITY, help="of the JPEG tiles, 1-100")
    parser.add_argument("--colour", choices=("ycbcr", "rgb"), default="rgb")
    given = parser.parse_args(arguments)
    try:
        pieces = load_pieces(given.data)
    except MissingDataError as error:
        sys.exit(str(error))
    write_mosaic(
        given.out,
        gigapixels=given.gigapixels,
        pieces=pieces,
        tissue_share=given.tissue,
        seed=given.seed,
        quality=given.quality,
        colour=given.colour,
    )
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
