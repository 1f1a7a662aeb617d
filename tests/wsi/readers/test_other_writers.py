"""What the reference writers of OME-Zarr write is read; skipped where they are not installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wsi.open import open_slide
from wsi.slide import Pixels

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
PIXELS = np.random.default_rng(0).integers(0, 255, (701, 1003, 3), dtype=np.uint8)


def check(path: Path, version: str, mpp: str | None, coarser: Pixels) -> None:
    with open_slide(path) as slide:
        assert slide.properties["ome-zarr.version"] == version
        assert slide.properties.get("openslide.mpp-x") == mpp
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (1003, 701)), PIXELS)
        assert slide.level_dimensions[1] == (501, 350)
        assert slide.level_downsamples[1] == pytest.approx(2, rel=2e-3)
        width, height = slide.level_dimensions[1]
        np.testing.assert_array_equal(slide.read_region((0, 0), 1, (width, height)), coarser)


def stored(path: Path) -> Pixels:
    """Level 1 as Zarr gives it, (H, W, 3)."""
    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    array: Any = group[ome["multiscales"][0]["datasets"][1]["path"]]
    return np.asarray(np.squeeze(array[...])).transpose(1, 2, 0)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dims", ["yxc", "cyx"])
def test_ngff_zarr(tmp_path: Path, version: str, dims: str) -> None:
    nz = pytest.importorskip("ngff_zarr")
    image = nz.to_ngff_image(
        PIXELS.transpose(["yxc".index(d) for d in dims]),
        dims=list(dims),
        scale={"y": 0.5, "x": 0.5},
        translation={"y": 0, "x": 0},
        axes_units={"y": "micrometer", "x": "micrometer"},
    )
    path = tmp_path / "a.ome.zarr"
    pyramid = nz.to_multiscales(image, scale_factors=[2, 4], chunks=256)
    nz.to_ngff_zarr(str(path), pyramid, version=version)
    check(path, version, "0.5", stored(path))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx"])
def test_ome_zarr_py(tmp_path: Path, version: str, axes: str) -> None:
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    data = PIXELS.transpose(2, 0, 1)
    data = data[None, :, None] if axes == "tczyx" else data
    format_ = formats.FormatV04() if version == "0.4" else formats.FormatV05()
    writer.write_image(data, group, axes=list(axes), fmt=format_)
    check(path, version, None, stored(path))
