"""A TIFF whose colours nothing converts to RGB is refused, not shown in wrong colours."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi.errors import UnsupportedSlideError
from wsi.open import open_slide
from wsi.readers.tiffslide_reader import TiffSlideReader
from wsi.testing import Specimen, render

RGB = render(Specimen(seed=3, width=4000, height=4000), x=1600, y=1600, width=256, height=256).rgb
YCBCR = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
PHOTOMETRIC = 262
SUBSAMPLING = (530, "H", 2, (1, 1), True)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
@pytest.mark.parametrize("codec", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_coded_colours_without_a_codec_that_converts_are_refused(
    tmp_path: Path, mode: str, codec: str
) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).convert(mode).save(path, compression=codec)  # type: ignore[arg-type]
    said = {"YCbCr": "YCBCR", "LAB": "CIELAB"}[mode]
    with pytest.raises(UnsupportedSlideError, match=rf"(?s)a\.tif.*{said}.*convert the file"):
        open_slide(path)


@pytest.mark.parametrize("said", ["rgb", "minisblack"])
def test_rgb_is_read(tmp_path: Path, said: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric=said, planarconfig="contig", compression="lzw")
    with TiffSlideReader(path) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (256, 256)), RGB)


def coded(path: Path, code: int, stream: bytes) -> None:
    """Write one tile that is coded already, in a page that says YCbCr."""
    options: dict[str, Any] = {"photometric": "rgb", "extratags": [SUBSAMPLING]}
    tifffile.imwrite(
        path,
        iter([stream]),
        shape=RGB.shape,
        dtype=np.uint8,
        tile=(256, 256),
        compression=code,
        **options,
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[PHOTOMETRIC].overwrite(int(tifffile.PHOTOMETRIC.YCBCR))


def j2k(pixels: Any, *, transform: bool) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", mct=transform))


@pytest.mark.parametrize("codec", ["jpeg", "webp", "aperio rgb"])
def test_coded_colours_with_a_codec_that_converts_are_read(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.tif"
    if codec == "jpeg":
        tifffile.imwrite(path, RGB, photometric="rgb", compression="jpeg")
    elif codec == "webp":
        coded(path, 50001, imagecodecs.webp_encode(RGB, lossless=True))
    else:
        coded(path, 33005, j2k(RGB, transform=True))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    with TiffSlideReader(path) as slide:
        shown = slide.read_region((0, 0), 0, (256, 256))
    assert np.abs(shown.astype(int) - RGB).mean() < 2


@pytest.mark.parametrize("code", [33003, 33004, 34712])
def test_jpeg_2000_that_is_said_to_be_ycbcr_is_refused(tmp_path: Path, code: int) -> None:
    """Its decoder converts where the stream itself asks for it, and only there."""
    path = tmp_path / "a.tif"
    coded(path, code, j2k(YCBCR, transform=False))
    with pytest.raises(UnsupportedSlideError, match=r"a\.tif: .*YCBCR.*convert the file"):
        TiffSlideReader(path)


def test_every_level_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(RGB, photometric="rgb", subifds=1, tile=(128, 128))
        tiff.write(
            YCBCR[::2, ::2],
            photometric="ycbcr",
            subfiletype=1,
            tile=(128, 128),
            extratags=[SUBSAMPLING],
        )
    with pytest.raises(UnsupportedSlideError, match="YCBCR"):
        open_slide(path)
