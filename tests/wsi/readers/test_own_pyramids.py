"""The pyramids that raypath writes, as slides: what they keep of their source."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from pipelines.conversion.driver import convert_slide
from tests.wsi.readers.test_omezarr_reader import picture
from wsi.errors import UnreadableRegionError
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.write import write_pyramid
from wsi.ref import SlideRef
from wsi.resolution import MppSource, Resolution, resolve_mpp
from wsi.tissue import Tissue


def test_a_damaged_shard_raises(synthetic: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.ome.zarr"
    convert_slide(SlideRef.of(synthetic.path), path)
    shard = path / "0" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-10])
    with open_slide(path) as slide:
        with pytest.raises(UnreadableRegionError, match="level 0"):
            slide.read_region((0, 0), 0, (10, 10))
        assert slide.read_region((0, 0), 1, (10, 10)).shape == (10, 10, 3)


def test_what_the_source_could_not_decode_is_unreadable_in_its_pyramid(
    synthetic: Any, damage_tile: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    damaged = damage_tile(synthetic.path, 8)  # x 512-768, y 256-512 of 1500 x 1301
    path = tmp_path / "p.ome.zarr"
    convert_slide(
        SlideRef.of(damaged), path, options=PyramidOptions(codec="zstd")
    )  # chunks of 512: x 512-1024, y 0-512
    with open_slide(path) as slide, open_slide(synthetic.path) as intact:
        for location, level, size in [
            ((512, 0), 0, (1, 1)),
            ((0, 0), 0, (513, 100)),
            ((1023, 511), 0, (50, 50)),
            ((600, 300), 1, (4, 4)),
            ((0, 0), 1, (750, 651)),
            ((-2000, -2000), 2, (2000, 2000)),
        ]:
            with pytest.raises(UnreadableRegionError, match=r"p\.ome\.zarr.*did not decode"):
                slide.read_region(location, level, size)
        for location, size in [((0, 0), (512, 700)), ((1024, 0), (476, 600)), ((0, 512), (9, 9))]:
            np.testing.assert_array_equal(
                slide.read_region(location, 0, size), intact.read_region(location, 0, size)
            )
        assert slide.read_region((1024, 0), 1, (10, 10)).shape == (10, 10, 3)


@pytest.mark.parametrize("options", [{"codec": "jpeg"}, {"fill_levels": True}], ids=str)
def test_so_are_levels_of_jpeg_that_were_computed_from_it(
    synthetic: Any,
    damage_tile: Callable[[Path, int], Path],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    path = tmp_path / "p.ome.zarr"
    damaged = damage_tile(synthetic.path, 8)  # x 512-768, y 256-512
    convert_slide(SlideRef.of(damaged), path, options=PyramidOptions(**options))
    with open_slide(path) as slide, open_slide(synthetic.path) as intact:
        assert slide.reader == "jpeg"
        assert slide.level_dimensions[1] == (750, 651)
        for location, size in [((512, 256), (1, 1)), ((600, 300), (4, 4)), ((0, 0), (750, 651))]:
            with pytest.raises(UnreadableRegionError, match="did not decode"):
                slide.read_region(location, 1, size)
        found = slide.read_region((1024, 512), 1, (200, 300)).astype(int)
        expected = intact.read_reduced((1024, 512), 0, (200, 300), 2)
    assert np.abs(found - expected).mean() < 3


def test_a_computed_level_is_as_good_as_the_nearest_level_of_the_slide(
    synthetic: Any, tmp_path: Path
) -> None:
    """Level 2 is made of level 1, of which a tile is damaged where level 0 is not."""
    source = Path(shutil.copy(synthetic.path, tmp_path / "s.svs"))
    with tifffile.TiffFile(source) as tiff:
        page = next(page for page in tiff.pages if page.imagewidth == 375 and page.is_tiled)
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    with source.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    path = tmp_path / "p.ome.zarr"
    convert_slide(SlideRef.of(source), path, options=PyramidOptions(coarsest_px=200))
    with open_slide(path) as slide:
        assert slide.level_dimensions == ((1500, 1301), (375, 325), (188, 163))
        assert slide.read_region((0, 0), 0, (9, 9)).shape == (9, 9, 3)
        for level in (1, 2):
            with pytest.raises(UnreadableRegionError):
                slide.read_region((0, 0), level, (9, 9))
            assert slide.read_region((1200, 1100), level, (9, 9)).shape == (9, 9, 3)


@pytest.mark.parametrize("source", [MppSource.VENDOR, MppSource.FLAG, MppSource.DICOM])
def test_our_pyramids_remember_where_they_come_from(
    array_slide: Callable[..., Any], tmp_path: Path, source: MppSource
) -> None:
    resolution = Resolution(mpp=0.2431, source=source)
    tissue = Tissue(mask=np.ones((20, 30), np.bool_), downsample=10.0)
    path = tmp_path / "x.ome.zarr"
    write_pyramid(array_slide(picture()), path, name="x", resolution=resolution, tissue=tissue)
    with open_slide(path) as slide:
        assert slide.vendor == "made"
        assert resolve_mpp(slide.properties) == resolution
        given = resolve_mpp(slide.properties, given=0.3)
        assert (given.mpp, given.source) == (0.3, MppSource.FLAG)


def test_a_pyramid_made_of_another_does_not_keep_its_name(
    array_slide: Callable[..., Any], tmp_path: Path
) -> None:
    resolution = Resolution(mpp=0.5, source=MppSource.VENDOR)
    tissue = Tissue(mask=np.ones((20, 30), np.bool_), downsample=10.0)
    named, anew = tmp_path / "DOE_JOHN.ome.zarr", tmp_path / "s1.ome.zarr"
    how: dict[str, Any] = {"resolution": resolution, "tissue": tissue}
    write_pyramid(array_slide(picture()), named, name="DOE_JOHN", **how)
    with open_slide(named) as slide:
        write_pyramid(slide, anew, name="s1", **how)
    said = (anew / "zarr.json").read_text()
    assert '"name":"s1"' in said.replace(" ", "")
    assert "DOE_JOHN" not in said


def test_associated_images_and_profile_of_our_pyramids(
    array_slide: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "x.ome.zarr"
    tissue = Tissue(mask=np.ones((20, 30), np.bool_), downsample=10.0)
    resolution = Resolution(mpp=0.5, source=MppSource.VENDOR)
    write_pyramid(array_slide(picture()), path, name="x", resolution=resolution, tissue=tissue)
    group = zarr.open_group(path)
    macro, profile = picture(40, 30), np.frombuffer(b"a profile", np.uint8)
    group.create_array("associated/macro", data=macro.transpose(2, 0, 1))
    group.create_array("associated/thumbnail", data=macro.transpose(2, 0, 1), chunks=(3, 30, 40))
    group.create_array("icc/profile", data=profile)
    next(p for p in (path / "associated/thumbnail/c").rglob("*") if p.is_file()).write_bytes(b"-")
    with open_slide(path) as slide:
        assert slide.associated_images == ("macro", "thumbnail")
        np.testing.assert_array_equal(slide.read_associated("macro"), macro)
        with pytest.raises(UnreadableRegionError, match="associated image thumbnail"):
            slide.read_associated("thumbnail")
        assert slide.icc_profile == b"a profile"
