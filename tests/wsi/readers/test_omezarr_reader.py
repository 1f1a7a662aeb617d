"""OME-Zarr of any layout as a slide: written here by hand, read at the right place or refused."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec

from pipelines.heatmaps.ome_zarr import Heatmap, write_heatmap
from wsi.errors import SlideNotFoundError, UnreadableRegionError, UnsupportedSlideError
from wsi.open import open_slide
from wsi.pyramid.write import write_pyramid
from wsi.readers.omezarr_reader import OmeZarrReader
from wsi.resolution import MppSource, Resolution, resolve_mpp
from wsi.slide import Pixels
from wsi.tissue import Tissue

AXIS_TYPES = {"t": "time", "c": "channel"}


def picture(width: int = 300, height: int = 200) -> Pixels:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def attributes(axes: str, downsamples: tuple[float, ...], mpp: float = 0.5) -> dict[str, Any]:
    said = [
        {"name": a, "type": AXIS_TYPES.get(a, "space")}
        | ({"unit": "micrometer"} if a in "zyx" else {})
        for a in axes
    ]
    datasets = []
    for n, d in enumerate(downsamples):
        scale = {"type": "scale", "scale": [d * mpp if a in "yx" else 1.0 for a in axes]}
        datasets.append({"path": str(n), "coordinateTransformations": [scale]})
    return {"multiscales": [{"axes": said, "datasets": datasets}]}


def laid_out(pixels: Pixels, axes: str) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) with the axes named, those of length 1 among them."""
    order = [axis for axis in axes if axis in "cyx"]
    moved = pixels.transpose(["yxc".index(axis) for axis in order])
    return moved.reshape([1 if a in "tz" else moved.shape[order.index(a)] for a in axes])


def write_image(
    path: Path,
    levels: list[Pixels],
    *,
    axes: str = "cyx",
    version: str = "0.4",
    downsamples: tuple[float, ...] | None = None,
    compressors: Any = "auto",
    **more: Any,
) -> zarr.Group:
    """Write an image as the specification of its version has it, chunks of 64 pixels."""
    downsamples = downsamples or tuple(levels[0].shape[1] / level.shape[1] for level in levels)
    said = attributes(axes, downsamples) | more
    old = version == "0.4"
    if old:
        said["multiscales"][0]["version"] = "0.4"
    group = zarr.create_group(
        path,
        zarr_format=2 if old else 3,
        attributes=said if old else {"ome": {"version": version} | said},
    )
    for n, level in enumerate(levels):
        data = laid_out(level, axes)
        chunks = tuple(min(64, k) for k in data.shape)
        group.create_array(str(n), data=data, chunks=chunks, fill_value=7, compressors=compressors)
    return group


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "yxc", "zyxc", "ycx", "xyc"])
def test_any_order_of_axes_shows_the_same_pixels(tmp_path: Path, axes: str, version: str) -> None:
    pixels = picture()
    path = tmp_path / "a.ome.zarr"
    write_image(path, [pixels, pixels[::2, ::2]], axes=axes, version=version)
    with open_slide(path) as slide:
        assert (slide.reader, slide.vendor) == ("omezarr", "ome-zarr")
        assert slide.properties["ome-zarr.version"] == version
        assert slide.level_dimensions == ((300, 200), (150, 100))
        assert slide.level_downsamples == (1.0, 2.0)
        assert slide.associated_images == ()
        assert slide.icc_profile is None
        for x, y, width, height in [(0, 0, 300, 200), (60, 61, 10, 139), (299, 199, 1, 1)]:
            np.testing.assert_array_equal(
                slide.read_region((x, y), 0, (width, height)),
                pixels[y : y + height, x : x + width],
            )
        np.testing.assert_array_equal(
            slide.read_region((20, 40), 1, (30, 10)), pixels[::2, ::2][20:30, 10:40]
        )
        resolution = resolve_mpp(slide.properties)
        assert (resolution.mpp, resolution.source) == (0.5, MppSource.NGFF)


@pytest.mark.parametrize("begin", [0, 1])
def test_a_level_that_begins_elsewhere_is_read_there(tmp_path: Path, begin: int) -> None:
    """Level 1 begins at pixel (2 x `begin`, 2 x `begin`), and its translation says so."""
    pixels = picture()
    said = moved(attributes("cyx", (1, 2)), [0, *[(2 * begin + 0.5) * 0.5] * 2])
    inner = pixels[2 * begin :: 2, 2 * begin :: 2]
    write_image(tmp_path / "a.zarr", [pixels, inner], downsamples=(1, 2), **said)
    with open_slide(tmp_path / "a.zarr") as slide:
        expected = pixels[::2, ::2]
        np.testing.assert_array_equal(
            slide.read_region((40, 20), 1, (9, 8)), expected[10:18, 20:29]
        )
        region = slide.read_region((0, 0), 1, (9, 8))
    assert (region[:begin] == 255).all()
    assert (region[:, :begin] == 255).all()
    np.testing.assert_array_equal(region[begin:, begin:], expected[begin:8, begin:9])


def test_chunks_that_are_not_stored_show_the_fill_value(tmp_path: Path) -> None:
    pixels = picture()
    write_image(tmp_path / "a.zarr", [pixels])
    (tmp_path / "a.zarr" / "0" / "0.1.2").unlink()  # y 64-128, x 128-192
    with open_slide(tmp_path / "a.zarr") as slide:
        region = slide.read_region((100, 50), 0, (100, 100))
    expected = pixels[50:150, 100:200].copy()
    expected[14:78, 28:92] = 7
    np.testing.assert_array_equal(region, expected)


@pytest.mark.parametrize("kept", [0, 10, 100, -1])
@pytest.mark.parametrize("codec", ["blosc", "zstd", None])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_cut_short_raises_and_the_others_stay_readable(
    tmp_path: Path, version: str, codec: str | None, kept: int
) -> None:
    pixels = picture()
    codecs: dict[str, Any] = (
        {"blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), None: None}
        if version == "0.4"
        else {"blosc": BloscCodec(), "zstd": ZstdCodec(), None: None}
    )
    write_image(tmp_path / "a.zarr", [pixels], version=version, compressors=codecs[codec])
    chunk = tmp_path / "a.zarr" / "0" / ("0.1.2" if version == "0.4" else "c/0/1/2")
    chunk.write_bytes(chunk.read_bytes()[:kept])
    with open_slide(tmp_path / "a.zarr") as slide:
        for _ in range(2):
            with pytest.raises(UnreadableRegionError, match=r"a\.zarr: level 0") as caught:
                slide.read_region((100, 50), 0, (100, 100))
            assert caught.value.__cause__ is not None
            np.testing.assert_array_equal(slide.read_region((0, 0), 0, (128, 200)), pixels[:, :128])


def test_a_heatmap_a_mask_and_a_level_are_no_slides(
    array_slide: Callable[..., Any], tmp_path: Path
) -> None:
    heatmap = Heatmap(
        values=np.zeros((2, 5, 6), np.float32),
        channels=(),
        cell_level0_px=100.0,
        dimensions=(600, 500),
        level0_mpp=0.5,
    )
    write_heatmap(tmp_path / "heatmap.ome.zarr", heatmap, name="x")
    with pytest.raises(UnsupportedSlideError, match=r"float32 with 2 channels.*heatmap"):
        open_slide(tmp_path / "heatmap.ome.zarr")
    image = tmp_path / "x.ome.zarr"
    tissue = Tissue(mask=np.ones((20, 30), np.bool_), downsample=10.0)
    resolution = Resolution(mpp=0.5, source=MppSource.VENDOR)
    write_pyramid(array_slide(picture()), image, name="x", resolution=resolution, tissue=tissue)
    for part, why in [
        ("labels/tissue", "tissue: a label image, not a slide"),
        ("labels", "no OME-Zarr image"),
        ("0", "a Zarr array, one level of an image"),
    ]:
        with pytest.raises(UnsupportedSlideError, match=why):
            open_slide(image / part)


def write_sizes(path: Path, sizes: list[tuple[int, int]], downsamples: tuple[float, ...]) -> None:
    levels = [np.zeros((height, width, 3), np.uint8) for width, height in sizes]
    write_image(path, levels, downsamples=downsamples)


def moved(said: dict[str, Any], translation: list[float]) -> dict[str, Any]:
    """The attributes with a translation of level 1."""
    at = {"type": "translation", "translation": translation}
    said["multiscales"][0]["datasets"][1]["coordinateTransformations"].append(at)
    return said


BAD: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "times": (
        lambda p: write_image(p, [picture()], axes="tcyx").create_array(
            "0", data=np.zeros((5, 3, 9, 9), np.uint8), overwrite=True
        ),
        r"axis t has length 5.*write the one",
    ),
    "planes": (
        lambda p: write_image(p, [picture()], axes="czyx").create_array(
            "0", data=np.zeros((3, 2, 9, 9), np.uint8), overwrite=True
        ),
        r"axis z has length 2.*several planes",
    ),
    "four channels": (
        lambda p: write_image(p, [picture()]).create_array(
            "0", data=np.zeros((4, 9, 9), np.uint8), overwrite=True
        ),
        "uint8 with 4 channels; 8-bit RGB.*convert the image",
    ),
    "16 bit": (
        lambda p: write_image(p, [picture()]).create_array(
            "0", data=np.zeros((3, 9, 9), np.uint16), overwrite=True
        ),
        "uint16 with 3 channels",
    ),
    "blue first": (
        lambda p: write_image(
            p,
            [picture()],
            omero={"channels": [{"color": c} for c in ("0000ff", "00ff00", "ff0000")]},
        ),
        "shown as 0000FF, 00FF00, FF0000",
    ),
    "scale of another level": (
        lambda p: write_sizes(p, [(400, 300), (100, 75)], (1, 1)),
        r"level '1' is 100x75 px and level '0' 400x300.* pixel 1 pixels",
    ),
    "a level of a part": (
        lambda p: write_image(
            p,
            [picture(400, 300), picture(50, 50)],
            **moved(attributes("cyx", (1, 2)), [0, 100.25, 100.25]),
        ),
        r"level '1' is 50x50 px .* begin at \(200.0, 200.0\)",
    ),
    "one axis halved": (
        lambda p: write_sizes(p, [(400, 300), (200, 300)], (1, 2)),
        "level '1' is 200x300 px",
    ),
    "no array": (
        lambda p: shutil.rmtree(write_image(p, [picture()]).store.root / "0"),  # type: ignore[attr-defined]
        "level '0' of the metadata is not there",
    ),
    "torn metadata": (
        lambda p: (write_image(p, [picture()]), (p / "0" / ".zarray").write_text("{")),
        "the Zarr metadata: JSONDecodeError",
    ),
}


@pytest.mark.parametrize(("write", "why"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_rightly_is_refused(
    tmp_path: Path, write: Callable[[Path], Any], why: str
) -> None:
    write(tmp_path / "a.zarr")
    with pytest.raises(UnsupportedSlideError, match=f"a.zarr: .*{why}"):
        open_slide(tmp_path / "a.zarr")


def test_sizes_may_be_rounded_either_way(tmp_path: Path) -> None:
    write_sizes(tmp_path / "a.zarr", [(1301, 1001), (325, 251), (11, 7)], (1, 4, 128))
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.level_downsamples == (1, 4, 128)


def test_other_folders_are_not_slides(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(SlideNotFoundError, match=r"no OME-Zarr at .*a\.zarr"):
        open_slide(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").write_text("a file")
    for name in ("b.zarr", "missing.zarr"):
        with pytest.raises(SlideNotFoundError, match="no OME-Zarr at"):
            open_slide(tmp_path / name)


def test_metadata_of_arrays_says_how_they_are_chunked(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", [picture()], axes="yxc")
    with OmeZarrReader(tmp_path / "a.zarr") as slide:
        said = {k: slide.properties[f"openslide.level[0].{k}"] for k in ("tile-width", "width")}
        assert json.dumps(said) == '{"tile-width": "64", "width": "300"}'


def write_series(root: Path, names: list[str], *, version: str, listed: bool) -> list[Pixels]:
    """Write what bioformats2raw makes: an image a series, and their names in XML."""
    layout = {"bioformats2raw.layout": 3}
    old = version == "0.4"
    group = zarr.create_group(
        root, zarr_format=2 if old else 3, attributes=layout if old else {"ome": layout}
    )
    series = [f"s{n}" if listed else str(n) for n in range(len(names))]
    shown = {"series": series} if listed else {}
    group.create_group("OME", attributes=shown if old else {"ome": shown})
    pixels = []
    for n, name in enumerate(series):
        pixels.append(picture(50 + n, 40 + n))
        write_image(root / name, [pixels[-1]], axes="tczyx", version=version)
    images = "".join(f'<Image ID="Image:{n}" Name="{name}"/>' for n, name in enumerate(names))
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
    (root / "OME" / "METADATA.ome.xml").write_text(xml)
    return pixels


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_bioformats2raw_folder_opens_at_its_scan(
    tmp_path: Path, version: str, listed: bool
) -> None:
    names = ["label image", "scan.svs", "Macro image", "scan.svs #2"]
    label, scan, macro, _ = write_series(tmp_path / "r", names, version=version, listed=listed)
    with open_slide(tmp_path / "r") as slide:
        assert slide.dimensions == (51, 41)
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (51, 41)), scan)
        assert slide.associated_images == ("label", "macro")
        np.testing.assert_array_equal(slide.read_associated("label"), label)
        np.testing.assert_array_equal(slide.read_associated("macro"), macro)


def test_a_bioformats2raw_folder_without_names_or_scan(tmp_path: Path) -> None:
    pixels = write_series(tmp_path / "r", ["a", "b"], version="0.4", listed=False)
    (tmp_path / "r" / "OME" / "METADATA.ome.xml").unlink()
    with open_slide(tmp_path / "r") as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (50, 40)), pixels[0])
    write_series(tmp_path / "l", ["label"], version="0.4", listed=False)
    with pytest.raises(UnsupportedSlideError, match=r"no series .* is a scan"):
        open_slide(tmp_path / "l")
