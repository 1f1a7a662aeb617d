"""OpenSlide's pixels over white, and its handle among threads and after errors."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsi.errors import UnreadableRegionError
from wsi.readers.openslide_reader import OpenSlideReader, _over_white


@given(seed=st.integers(0, 99), kind=st.sampled_from(["opaque", "clear", "half", "any"]))
def test_alpha_is_laid_over_white(seed: int, kind: str) -> None:
    rgba = np.random.default_rng(seed).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    if kind != "any":
        rgba[..., 3] = {"opaque": 255, "clear": 0, "half": 128}[kind]
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    seen = _over_white(Image.fromarray(rgba))
    assert np.abs(seen - expected).max() <= 0.5 + 1e-9
    assert seen.shape == (9, 7, 3)


def test_a_region_is_openslides_own(synthetic: Any) -> None:
    with OpenSlideReader(synthetic.path) as slide, openslide.OpenSlide(synthetic.path) as own:
        for location in [(0, 0), (333, 77)]:
            expected = np.asarray(own.read_region(location, 0, (500, 300)).convert("RGB"))
            np.testing.assert_array_equal(slide.read_region(location, 0, (500, 300)), expected)


def test_a_damaged_macro_leaves_the_rest_readable(shared_data: Path, tmp_path: Path) -> None:
    whole = shared_data / "slides" / "CMU-1-Small-Region.svs"
    content = bytearray(whole.read_bytes())
    with tifffile.TiffFile(whole) as tiff:
        macro = tiff.pages[-1]
        for offset, count in zip(macro.dataoffsets, macro.databytecounts, strict=True):
            content[offset : offset + count] = bytes(count)
    damaged = tmp_path / whole.name
    damaged.write_bytes(content)
    with OpenSlideReader(damaged) as slide, OpenSlideReader(whole) as intact:
        for _ in range(2):
            with pytest.raises(UnreadableRegionError, match="associated image macro: "):
                slide.read_associated("macro")
            for read in (
                lambda of: of.read_associated("label"),
                lambda of: of.read_region((900, 1200), 0, (500, 300)),
            ):
                np.testing.assert_array_equal(read(slide), read(intact))


def test_one_threads_error_is_not_anothers(
    synthetic: Any, damage_tile: Callable[[Path, int], Path]
) -> None:
    """The damaged tile has its corner at (512, 256); OpenSlide refuses a handle after an error."""
    damaged = damage_tile(synthetic.path, 8)
    corners = [(x, y) for y in range(0, 1280, 128) for x in range(0, 1408, 128)] * 3
    files = len(os.listdir("/proc/self/fd"))
    with OpenSlideReader(damaged) as slide, OpenSlideReader(synthetic.path) as intact:

        def read(corner: tuple[int, int]) -> Any:
            try:
                return slide.read_region(corner, 0, (128, 128))
            except UnreadableRegionError:
                return None

        with ThreadPoolExecutor(4) as pool:
            regions = list(pool.map(read, corners))
        for (x, y), region in zip(corners, regions, strict=True):
            if 512 <= x < 768 and 256 <= y < 512:
                assert region is None
            else:
                expected = intact.read_region((x, y), 0, (128, 128))
                np.testing.assert_array_equal(region, expected)
    assert len(os.listdir("/proc/self/fd")) == files
