"""What decoding finds is said of the tiles it was found in, wherever blocks end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from wsi.jpeg.find import find_tiles
from wsi.jpeg.stream import EOI
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.write import write_pyramid
from wsi.resolution import MppSource, Resolution
from wsi.testing import Specimen, render
from wsi.tissue import Tissue

OPTIONS = PyramidOptions(chunk_px=256, block_px=1024)
TISSUE = Tissue(mask=np.ones((24, 24), np.bool_), downsample=50.0)
RESOLUTION = Resolution(mpp=0.5, source=MppSource.FLAG)


def write_slide(path: Path, tile_px: int) -> Path:
    """One level of 1200 x 1200 in JPEG tiles."""
    specimen = Specimen(seed=4, width=2064, height=1300, tumour=True)
    pixels = render(specimen, x=600, y=100, width=1200, height=1200).rgb
    tifffile.imwrite(
        path, pixels, tile=(tile_px, tile_px), photometric="rgb", compression="jpeg", metadata=None
    )
    return path


def damage(path: Path, row: int, column: int, *, whole: bool = False) -> None:
    """End a tile's scan in its middle, so that only decoding notices; or write zeros over it."""
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages.first
        place = row * -(-page.imagewidth // page.tilewidth) + column
        offset, count = page.dataoffsets[place], page.databytecounts[place]
    with path.open("r+b") as file:
        file.seek(offset if whole else offset + count // 2)
        file.write(bytes(count) if whole else EOI)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("tile_px", "damaged"), [(128, [[3, 3]]), (240, [[1, 4], [4, 1]]), (512, [[1, 1]])]
)
def test_a_tile_that_does_not_decode_is_invalid_alone_and_counted_once(
    tmp_path: Path, tile_px: int, damaged: list[list[int]], whole: bool
) -> None:
    """Chunks of 256 pixels, blocks of 1024: the fifth row and column of tiles of 240 lie in two."""
    source, path = write_slide(tmp_path / "slide.tif", tile_px), tmp_path / "image.ome.zarr"
    for row, column in damaged:
        damage(source, row, column, whole=whole)
    with open_slide(source) as slide:
        record = write_pyramid(
            slide,
            path,
            name="made",
            resolution=RESOLUTION,
            tissue=TISSUE,
            tiles=find_tiles(source, slide),
            options=OPTIONS,
        )
    group = zarr.open_group(path, mode="r")
    validity: Any = group["validity/0"]
    assert (record.codec, record.invalid_tiles) == ("jpeg", len(damaged))
    assert np.argwhere(~np.asarray(validity[:])).tolist() == damaged
    computed: Any = group["1"]
    expected = np.ones((600, 600), np.bool_)
    for row, column in damaged:
        edge = tile_px // 2
        expected[row * edge : row * edge + edge, column * edge : column * edge + edge] = False
    shown = np.asarray(computed[:]).max(axis=0) > 60  # JPEG rings beside black
    assert (shown == expected).mean() > 0.99
