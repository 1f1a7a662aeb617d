"""Labels keep their values at every level, wherever blocks end, and are counted in mm²."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ome_zarr_models import v05

from wsi import ngff
from wsi.labels import LabelArea, halve_labels, label_areas, open_labels, write_labels
from wsi.pyramid.write import write_pyramid
from wsi.resolution import MppSource, Resolution
from wsi.slide import Pixels, Slide
from wsi.tissue import Tissue

RESOLUTION = Resolution(mpp=0.5, source=MppSource.VENDOR)


def write(group: zarr.Group, labels: da.Array, *, count: int, name: str = "cells") -> zarr.Group:
    write_labels(
        group,
        name,
        labels,
        downsample=2,
        level0_mpp=0.5,
        count=count,
        colours={1: (1, 2, 3, 4)},
        chunk_px=16,
    )
    written = group[f"labels/{name}"]
    assert isinstance(written, zarr.Group)
    return written


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_coarse_pixel_has_the_most_frequent_label_and_of_equals_the_greatest(
    height: int, width: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (height, width))
    halved = halve_labels(labels)
    assert halved.shape == (-(-height // 2), -(-width // 2))
    for (row, column), got in np.ndenumerate(halved):
        block = labels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        counts = {int(v): int((block == v).sum()) for v in np.unique(block)}
        most = max(counts.values())
        assert got == max(v for v, n in counts.items() if n == most)


@pytest.mark.parametrize("chunks", [(37, 300), (1000, 19), (128, 128), (50, 50)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.bool_])
def test_levels_are_halvings_however_the_source_is_cut(
    tmp_path: Path, chunks: tuple[int, int], dtype: type
) -> None:
    whole = np.random.default_rng(0).integers(0, 4, (301, 517)).astype(dtype)
    group = zarr.create_group(tmp_path / "x", zarr_format=3)
    label = write(group, da.from_array(whole, chunks=chunks), count=11)
    expected = whole.astype(np.uint8) if dtype is np.bool_ else whole
    for level in range(11):
        array: Any = label[str(level)]
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array[...], expected)
        expected = halve_labels(expected)
    assert expected.shape == (1, 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_is_written_is_opened_again(tmp_path: Path, version: ngff.Version) -> None:
    image = zarr.create_group(tmp_path / "x", zarr_format=2 if version == "0.4" else 3)
    whole = np.random.default_rng(0).integers(0, 4, (31, 50)).astype(np.uint8)
    write_labels(
        image,
        "cells",
        da.from_array(whole),
        downsample=2,
        level0_mpp=0.5,
        count=3,
        colours={1: (1, 2, 3, 4)},
        version=version,
    )
    opened = open_labels(zarr.open_group(tmp_path / "x/labels/cells"), level0_mpp=0.5)
    assert opened.downsamples == (2, 4, 8)
    assert opened.colours == {1: (1, 2, 3, 4)}
    np.testing.assert_array_equal(opened.levels[0][...], whole)
    assert [level.shape for level in opened.levels] == [(31, 50), (16, 25), (8, 13)]


def test_every_block_of_the_source_is_computed_once(tmp_path: Path) -> None:
    computed: list[Any] = []

    def block(block_info: Any = None) -> Any:
        computed.append(block_info[None]["chunk-location"])
        (top, bottom), (left, right) = block_info[None]["array-location"]
        return np.ones((bottom - top, right - left), np.uint8)

    chunks = ((100,) * 5, (90,) * 4)
    meta = np.empty((0, 0), np.uint8)
    labels = da.map_blocks(block, chunks=chunks, dtype=np.uint8, meta=meta)
    write(zarr.create_group(tmp_path / "x", zarr_format=3), labels, count=8)
    assert len(computed) == len(set(computed)) == 20


def test_the_group_is_valid_and_lists_its_labels(
    array_slide: Callable[[Pixels], Slide], tmp_path: Path
) -> None:
    path = tmp_path / "x.ome.zarr"
    tissue = Tissue(mask=np.ones((9, 8), np.bool_), downsample=10.0)
    slide = array_slide(np.zeros((90, 80, 3), np.uint8))
    write_pyramid(slide, path, name="x", resolution=RESOLUTION, tissue=tissue)
    group = zarr.open_group(path)
    write(group, da.ones((45, 40), dtype=np.uint16), count=1)
    listed = v05.Labels.from_zarr(group["labels"])  # type: ignore[arg-type]
    assert list(listed.attributes.ome.labels) == ["tissue", "cells"]
    label = v05.ImageLabel.from_zarr(group["labels/cells"])  # type: ignore[arg-type]
    assert [c.rgba for c in label.attributes.ome.image_label.colors or ()] == [(1, 2, 3, 4)]


def test_areas_are_those_of_the_pixels(tmp_path: Path) -> None:
    labels = np.zeros((100, 60), np.uint16)
    labels[:10, :10] = 7
    labels[50:, 30:] = 300
    lazy = da.from_array(labels, chunks=(33, 25))
    assert label_areas(lazy, pixel_um=10) == {
        7: LabelArea(pixels=100, area_mm2=pytest.approx(0.01)),
        300: LabelArea(pixels=1500, area_mm2=pytest.approx(0.15)),
    }
    assert label_areas(da.zeros((5, 5), dtype=np.uint8), pixel_um=1) == {}
