"""What a conversion writes: levels, codecs, versions, and what is known of the slide."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import zarr
from ome_zarr_models import v04, v05
from PIL import ImageCms

from pipelines.conversion.record import ConvertRecord
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.write import write_pyramid
from wsi.resolution import MppSource, Resolution
from wsi.tissue import Tissue

SMALL = {"chunk_px": 256, "block_px": 1024}


def test_the_json_of_a_slide(
    small_slide: Path,
    tmp_path: Path,
    tree: Callable[[Path], dict[str, bytes]],
    command: Callable[..., list[str]],
) -> None:
    done = subprocess.run(
        command(small_slide, tmp_path, "--json"), capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    path = tmp_path / "small.ome.zarr"
    assert said["slide_id"] == "small"
    assert (said["verdict"], said["codec"], said["invalid_tiles"]) == ("ok", "jpeg", 0)
    assert said["megapixels"] == 4.75
    assert said["levels"] == len(zarr.open_group(path).attrs["ome"]["multiscales"][0]["datasets"])  # type: ignore[call-overload, index]
    assert said["bytes_in"] == small_slide.stat().st_size
    assert said["bytes_out"] == sum(len(data) for data in tree(path).values())
    assert 0 < said["seconds"] < 600
    assert 50e6 < said["peak_rss_bytes"] < 1 << 30


def test_pyramids_among_the_slides_are_left_alone(
    small_slide: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    (tmp_path / "a.tif").symlink_to(small_slide)
    for out in (tmp_path / "out", tmp_path):
        subprocess.run(command(tmp_path, out), check=True, capture_output=True)
        again = command(tmp_path, out, "--resume", "--json")
        done = subprocess.run(again, check=True, capture_output=True, text=True)
        (said,) = map(json.loads, done.stdout.splitlines())
        assert (said["slide_id"], said["reused"]) == ("a", True)
        shutil.rmtree(out / "a.ome.zarr")


@pytest.mark.parametrize("codec", ["zstd", "blosc"])
def test_version_04_for_readers_that_need_it(
    small_slide: Path, tmp_path: Path, codec: str, convert: Callable[..., ConvertRecord]
) -> None:
    path = tmp_path / "image.ome.zarr"
    record = convert(small_slide, path, codec=codec, ngff="0.4", **SMALL)
    assert (record.verdict, record.codec) == ("ok", codec)
    group = zarr.open_group(path, mode="r", zarr_format=2)
    image = v04.Image.from_zarr(group)
    assert image.attributes.multiscales[0].version == "0.4"
    v04.ImageLabel.from_zarr(group["labels/tissue"])  # type: ignore[arg-type]
    array: Any = group["0"]
    assert array.shards is None
    assert (path / "0" / "0" / "3" / "4").is_file()
    with openslide.OpenSlide(small_slide) as slide:
        expected = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(array[:]).transpose(1, 2, 0), expected)
    zipped = convert(small_slide, tmp_path / "v05.ome.zarr", codec=codec, **SMALL)
    assert zipped.levels == record.levels
    for level in range(record.levels or 0):
        other: Any = zarr.open_group(tmp_path / "v05.ome.zarr", mode="r")[str(level)]
        np.testing.assert_array_equal(group[str(level)][:], other[:])  # type: ignore[index]


def test_encoding_as_jpeg_loses_little_and_less_at_higher_quality(
    small_slide: Path, tmp_path: Path, convert: Callable[..., ConvertRecord]
) -> None:
    with openslide.OpenSlide(small_slide) as slide:
        source = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    errors, sizes = [], []
    for quality in (60, 95):
        path = tmp_path / f"{quality}.ome.zarr"
        record = convert(small_slide, path, codec="jpeg", quality=quality)
        level: Any = zarr.open_group(path, mode="r")["0"]
        pixels = np.asarray(level[:]).transpose(1, 2, 0).astype(int)
        errors.append(np.abs(pixels - source).mean())
        sizes.append(record.bytes_out)
    assert errors[1] < errors[0] < 12
    assert errors[1] < 2
    assert sizes[0] < sizes[1]


def test_filled_levels_lie_between_those_of_the_slide(
    small_slide: Path, tmp_path: Path, convert: Callable[..., ConvertRecord]
) -> None:
    plain, filled = tmp_path / "plain.ome.zarr", tmp_path / "filled.ome.zarr"
    convert(small_slide, plain)
    convert(small_slide, filled, fill_levels=True)
    group = zarr.open_group(filled, mode="r")
    v05.Image.from_zarr(group)
    widths = [group[str(n)].shape[2] for n in range(len(list(group.array_keys())))]  # type: ignore[union-attr]
    assert widths == [2500, 1250, 625, 313]
    slide_levels: Any = zarr.open_group(plain, mode="r")
    np.testing.assert_array_equal(group["2"][:], slide_levels["1"][:])  # type: ignore[index]
    ome: Any = group.attrs["ome"]
    scales = [
        dataset["coordinateTransformations"][0]["scale"][2]
        for dataset in ome["multiscales"][0]["datasets"]
    ]
    assert scales == [0.25, 0.5, 1.0, 2.0]
    between, finest = np.asarray(group["1"][:]).astype(int), np.asarray(group["0"][:])  # type: ignore[index]
    means = finest.reshape(3, 950, 2, 1250, 2).mean(axis=(2, 4))
    assert np.abs(between - means).mean() < 2


def test_what_is_known_of_the_slide_is_kept_but_no_name(
    small_slide: Path,
    tmp_path: Path,
    tree: Callable[[Path], dict[str, bytes]],
    convert: Callable[..., ConvertRecord],
) -> None:
    path = tmp_path / "image.ome.zarr"
    convert(small_slide, path)
    known: Any = zarr.open_group(path, mode="r").attrs["raypath"]
    assert known["properties"]["aperio.AppMag"] == "40"
    assert known["properties"]["aperio.Date"] == "01/02/26"
    assert {"aperio.User", "aperio.Filename"} <= set(known["withheld_properties"])
    assert (known["level0_mpp"], known["mpp_source"]) == (0.25, MppSource.VENDOR.value)
    assert "label" in known["associated_images"]
    assert "associated" not in zarr.open_group(path, mode="r")
    everything = b"".join(tree(path).values())
    assert b"Smith" not in everything
    assert b"Who" not in everything


def test_associated_images_are_copied_when_asked_for(
    small_slide: Path, tmp_path: Path, convert: Callable[..., ConvertRecord]
) -> None:
    path = tmp_path / "image.ome.zarr"
    record = convert(small_slide, path, associated=("label", "macro"))
    images: Any = zarr.open_group(path, mode="r")["associated"]
    assert list(images) == ["label"]
    assert images["label"].shape == (3, 40, 60)
    assert record.flags[-1] == "no_macro_image"


def test_the_colour_profile_is_kept_byte_for_byte(
    tmp_path: Path, array_slide: Callable[[Any], Any]
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    slide = array_slide(np.full((300, 400, 3), 200, np.uint8))
    slide.icc_profile = profile
    tissue = Tissue(mask=np.ones((30, 40), np.bool_), downsample=10.0)
    resolution = Resolution(mpp=0.5, source=MppSource.VENDOR)
    for ngff in ("0.5", "0.4"):
        path = tmp_path / ngff
        write_pyramid(
            slide,
            path,
            name="x",
            resolution=resolution,
            tissue=tissue,
            options=PyramidOptions(codec="zstd", ngff=ngff),  # type: ignore[arg-type]
        )
        stored: Any = zarr.open_group(path, mode="r")["icc/profile"]
        assert stored[:].tobytes() == profile
