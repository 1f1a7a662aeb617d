"""Pixels are those that the file stores, or it is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from wsi.errors import UnsupportedSlideError
from wsi.open import open_slide

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray[Any, Any] = PIXELS, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
    return path


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("tile", [None, (128, 128)], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "jpeg"])
def test_a_slide_stored_from_another_corner_is_refused(
    tmp_path: Path, orientation: int, tile: tuple[int, int] | None, compression: str | None
) -> None:
    turned = (274, "H", 1, orientation, True)
    path = write(tmp_path / "a.tif", tile=tile, compression=compression, extratags=[turned])
    with pytest.raises(UnsupportedSlideError, match=rf"Orientation {orientation}.*Orientation 1"):
        open_slide(path)


@pytest.mark.parametrize("edge", [48, 128, 240])
def test_uncompressed_tiles_of_any_size_are_read(tmp_path: Path, edge: int) -> None:
    with open_slide(write(tmp_path / "a.tif", tile=(edge, edge))) as slide:
        assert slide.reader == ("openslide" if edge == 128 else "tiffslide")
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (420, 300)), PIXELS)


@pytest.mark.parametrize("tile", [None, (128, 128)], ids=["strips", "tiles"])
def test_a_fourth_sample_of_unknown_meaning_is_no_alpha(
    tmp_path: Path, tile: tuple[int, int] | None
) -> None:
    four = np.dstack([PIXELS, np.arange(300 * 420).reshape(300, 420).astype(np.uint8)])
    path = write(tmp_path / "a.tif", four, tile=tile, extrasamples=["unspecified"])
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (420, 300)), PIXELS)
        np.testing.assert_array_equal(slide.read_region((9, 7), 0, (50, 60)), PIXELS[7:67, 9:59])
