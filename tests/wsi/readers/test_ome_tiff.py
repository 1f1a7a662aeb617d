"""An OME-TIFF opens with every level, its own colours and its own pixel size, or is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipelines.conversion.driver import convert_slide
from wsi.errors import MissingResolutionError, ResolutionError, UnsupportedSlideError
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef
from wsi.resolution import MppSource, resolve_mpp
from wsi.slide import Pixels, Slide
from wsi.testing import Specimen, render

RGB = render(Specimen(seed=3, width=4000, height=4000), x=1600, y=1600, width=900, height=600).rgb
PLANES = np.ascontiguousarray(RGB.transpose(2, 0, 1))
TILED: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "lzw"}
PAGES: dict[str, Any] = TILED | {"photometric": "minisblack"}  # one for each channel
QUARTER: dict[str, Any] = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


def write(path: Path, *images: np.ndarray[Any, Any], **options: Any) -> Path:
    """Write images into one OME-TIFF; the first has a level in a sub-directory below each page."""
    metadata = options.pop("metadata", {})
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for n, image in enumerate(images):
            levels = (image, shrink(image)) if n == 0 else (image,)
            named = metadata if n == 0 else {"Name": f"image {n}"}
            tiff.write(image, subifds=len(levels) - 1, metadata=named, **options)
            for level in levels[1:]:
                tiff.write(level, subfiletype=1, **options)
    return path


def shrink(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Every second pixel of (…, H, W) or (H, W, 3)."""
    return image[::2, ::2] if image.shape[-1] == 3 else image[..., ::2, ::2]


def check(slide: Slide, *levels: Pixels) -> None:
    assert slide.level_dimensions == tuple((level.shape[1], level.shape[0]) for level in levels)
    for n, level in enumerate(levels):
        height, width = level.shape[:2]
        shown = slide.read_region((0, 0), n, (width + 9, height + 9))
        np.testing.assert_array_equal(shown[:height, :width], level)
        assert (shown[height:] == 255).all()
        corner = (2 * 2**n, 130 * 2**n)
        part = slide.read_region(corner, n, (200, 100))
        np.testing.assert_array_equal(part, level[130:230, 2:202])


@pytest.mark.parametrize("compression", ["lzw", "jpeg2000", None])
def test_levels_in_sub_directories_are_seen(tmp_path: Path, compression: str | None) -> None:
    path = write(tmp_path / "a.ome.tif", RGB, **TILED | {"compression": compression})
    with open_slide(path) as slide:
        assert (slide.reader, slide.vendor) == ("tiffslide", "ome-tiff")
        assert slide.properties["openslide.vendor"] == "ome-tiff"
        check(slide, RGB, RGB[::2, ::2])


@pytest.mark.parametrize(
    ("options", "metadata"),
    [
        (PAGES, {}),
        (PAGES, {"Channel": {"Name": ["Red", "Green", "Blue"]}}),
        (PAGES, {"Channel": {"Name": ["Channel:0:0", "Channel:0:1", "Channel:0:2"]}}),
        (PAGES, {"Channel": {"Color": [-16776961, 16711935, 65535]}}),
        (PAGES, {"Channel": {"Color": [-1, -1, -1]}}),
        (TILED | {"planarconfig": "separate"}, {}),
    ],
    ids=["pages", "named", "numbered", "coloured", "white", "planar"],
)
def test_channels_that_lie_apart_are_one_picture(
    tmp_path: Path, options: dict[str, Any], metadata: dict[str, Any]
) -> None:
    axes = {} if "planarconfig" in options else {"axes": "CYX"}
    path = write(tmp_path / "a.ome.tif", PLANES, **options, metadata=axes | metadata)
    with open_slide(path) as slide:
        check(slide, RGB, RGB[::2, ::2])


@pytest.mark.parametrize("apart", [False, True])
def test_tiles_that_were_not_scanned_are_white(tmp_path: Path, apart: bool) -> None:
    tiles = [RGB[:128, 128 * k : 128 * (k + 1)] for k in range(3)]
    path = tmp_path / "sparse.ome.tif"
    stored = [tile[..., c] for c in range(3) for tile in tiles] if apart else list(tiles)
    for k in range(1, len(stored), 3):
        stored[k] = None  # type: ignore[call-overload]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(
            iter(stored),
            shape=(3, 128, 384) if apart else (128, 384, 3),
            dtype=np.uint8,
            metadata={"axes": "CYX" if apart else "YXS"},
            **PAGES if apart else TILED,
        )
    with open_slide(path) as slide:
        expected = RGB[:128, :384].copy()
        expected[:, 128:256] = 255
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (384, 128)), expected)


def test_one_grey_channel_is_shown_grey(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", RGB[..., 0], **PAGES)
    with open_slide(path) as slide:
        check(slide, *(np.repeat(RGB[::n, ::n, :1], 3, axis=2) for n in (1, 2)))


@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_the_largest_image_is_the_slide(tmp_path: Path, compression: str) -> None:
    """As of Leica and Bio-Formats: the overview may come first, and be as large as a level."""
    path = tmp_path / "a.ome.tif"
    options = TILED | {"compression": compression}
    macro, label = 255 - RGB[::2, ::2], RGB[100:200, 100:160]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(macro, **options, metadata={"Name": "macro image", "PhysicalSizeX": 9})
        tiff.write(RGB, subifds=1, **options, metadata={"Name": "4711 scan", **QUARTER})
        tiff.write(RGB[::2, ::2], subfiletype=1, **options)
        tiff.write(label, **options, metadata={"Name": "Label"})
        tiff.write(label, **options, metadata={"Name": "another region"})
    with tifffile.TiffFile(path) as tiff:
        levels = [level.asarray() for level in tiff.series[1].levels]
        images = {name: tiff.series[n].asarray() for name, n in (("macro", 0), ("label", 2))}
    with open_slide(path) as slide:
        assert slide.reader == ("jpeg" if compression == "jpeg" else "tiffslide")
        check(slide, *levels)
        assert resolve_mpp(slide.properties).mpp == 0.25
        assert slide.associated_images == ("macro", "label")
        for name, pixels in images.items():
            np.testing.assert_array_equal(slide.read_associated(name), pixels)


def test_a_profile_is_the_scans(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(RGB[:100, :100], **TILED, iccprofile=b"of the macro")
        tiff.write(RGB, **TILED, iccprofile=b"of the scan")
    with open_slide(path) as slide:
        assert slide.icc_profile == b"of the scan"


def test_jpeg_tiles_are_kept_in_every_level(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", RGB, **TILED | {"compression": "jpeg"}, metadata=QUARTER)
    made = convert_slide(
        SlideRef.of(path), tmp_path / "p.ome.zarr", options=PyramidOptions(codec="auto")
    )
    assert made.codec == "jpeg"
    with open_slide(tmp_path / "p.ome.zarr") as pyramid, tifffile.TiffFile(path) as tiff:
        assert pyramid.reader == "jpeg"
        check(pyramid, *(level.asarray() for level in tiff.series[0].levels))
        assert resolve_mpp(pyramid.properties).source is MppSource.OME


CENTIMETRES: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


@pytest.mark.parametrize(
    ("said", "tags", "mpp", "source"),
    [
        (QUARTER, {}, 0.25, MppSource.OME),
        (QUARTER, CENTIMETRES, 0.25, MppSource.OME),
        ({}, CENTIMETRES, 0.5, MppSource.TIFF),
        ({"PhysicalSizeX": 0.25}, CENTIMETRES, 0.5, MppSource.TIFF),
        ({"PhysicalSizeX": 0, "PhysicalSizeY": -1}, CENTIMETRES, 0.5, MppSource.TIFF),
        ({"PhysicalSizeX": "nan", "PhysicalSizeY": "wide"}, CENTIMETRES, 0.5, MppSource.TIFF),
    ],
)
def test_the_pixel_size_of_the_xml_comes_before_the_tags(
    tmp_path: Path, said: dict[str, Any], tags: dict[str, Any], mpp: float, source: MppSource
) -> None:
    with open_slide(write(tmp_path / "a.ome.tif", RGB, **TILED, **tags, metadata=said)) as slide:
        resolution = resolve_mpp(slide.properties)
    assert (resolution.mpp, resolution.source) == (pytest.approx(mpp), source)


@pytest.mark.parametrize(
    ("unit", "size"),
    [("nm", 250), ("µm", 0.25), ("μm", 0.25), ("mm", 2.5e-4), ("cm", 2.5e-5), ("m", 2.5e-7)],
)
def test_units_of_the_xml(tmp_path: Path, unit: str, size: float) -> None:
    said = {f"PhysicalSize{axis}": size for axis in "XY"}
    said |= {f"PhysicalSize{axis}Unit": unit for axis in "XY"}  # type: ignore[misc]
    with open_slide(write(tmp_path / "a.ome.tif", RGB, **TILED, metadata=said)) as slide:
        resolution = resolve_mpp(slide.properties)
    assert (resolution.mpp, resolution.source) == (pytest.approx(0.25), MppSource.OME)


def test_pixel_sizes_of_the_xml_that_are_no_lengths_or_not_square(tmp_path: Path) -> None:
    pixels = QUARTER | {"PhysicalSizeXUnit": "pixel", "PhysicalSizeYUnit": "pixel"}
    with (
        open_slide(write(tmp_path / "a.ome.tif", RGB, **TILED, metadata=pixels)) as slide,
        pytest.raises(MissingResolutionError),
    ):
        resolve_mpp(slide.properties)
    oblong = QUARTER | {"PhysicalSizeY": 0.26}
    with (
        open_slide(write(tmp_path / "b.ome.tif", RGB, **TILED, metadata=oblong)) as slide,
        pytest.raises(ResolutionError, match=r"^OME-XML.*0\.25 .* x but 0\.26 along y.*--mpp"),
    ):
        resolve_mpp(slide.properties)


def stack(count: int) -> np.ndarray[Any, Any]:
    return np.stack([RGB[..., 0]] * count)


FLUORESCENCE = {"Channel": {"Name": ["DAPI", "FITC", "Cy3"]}}
SWAPPED = {"Channel": {"Color": [65535, 16711935, -16776961]}}


@pytest.mark.parametrize(
    ("image", "options", "said", "message"),
    [
        (stack(4), PAGES, {"axes": "CYX"}, r"CYX .*4.*"),
        (stack(2), PAGES, {"axes": "CYX"}, r"CYX .*2.*"),
        (stack(3), PAGES, {"axes": "ZYX"}, r"ZYX .*3.*"),
        (stack(3), PAGES, {"axes": "TYX"}, r"TYX .*3.*"),
        (np.stack([RGB] * 3), TILED, {"axes": "ZYXS"}, r"ZYXS .*3.*"),
        (PLANES, PAGES, {"axes": "CYX"} | FLUORESCENCE, r"DAPI, FITC, Cy3"),
        (PLANES, PAGES, {"axes": "CYX"} | SWAPPED, r"0000FF, 00FF00, FF0000"),
        (
            PLANES,
            PAGES,
            {"axes": "CYX", "Channel": {"EmissionWavelength": [461, 520, 600]}},
            r"EmissionWavelength",
        ),
        (RGB[..., 0], PAGES, {"Channel": {"IlluminationType": ["Epifluorescence"]}}, "Epifluo"),
        (PLANES.astype(np.uint16), PAGES, {"axes": "CYX"}, r"uint16"),
        (RGB[..., 0], PAGES | {"photometric": "miniswhite"}, {}, r"MINISWHITE"),
    ],
    ids=[
        "4 c",
        "2 c",
        "z",
        "t",
        "z rgb",
        "names",
        "colours",
        "waves",
        "light",
        "16 bit",
        "miniswhite",
    ],
)
def test_what_is_no_brightfield_picture_is_refused(
    tmp_path: Path, image: Any, options: dict[str, Any], said: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(image, **options, metadata=said)
    with pytest.raises(UnsupportedSlideError, match=rf"^a\.ome\.tif: .*{message}.*: "):
        open_slide(path)


def edit_xml(path: Path, edit: Callable[[str], str]) -> None:
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        xml = str(tiff.ome_metadata)
        tiff.pages.first.tags["ImageDescription"].overwrite(edit(xml).encode())


def test_channels_in_other_files_or_nowhere_are_refused(tmp_path: Path) -> None:
    """Tifffile shows black for them."""
    for name, edit in {
        "other": lambda xml: xml.replace(
            '<TiffData IFD="0" PlaneCount="3"/>',
            '<TiffData FirstC="1" IFD="0" PlaneCount="2"><UUID FileName="b.tif">u:1</UUID>'
            '</TiffData><TiffData IFD="0" PlaneCount="1"/>',
        ),
        "nowhere": lambda xml: xml.replace('PlaneCount="3"', 'PlaneCount="1"'),
    }.items():
        path = tmp_path / f"{name}.ome.tif"
        with tifffile.TiffWriter(path, ome=True) as tiff:
            tiff.write(PLANES, **PAGES, metadata={"axes": "CYX"})
        edit_xml(path, edit)
        with pytest.raises(UnsupportedSlideError, match="2 of its 3 planes are not in the file"):
            open_slide(path)


@pytest.mark.parametrize("apart", [False, True])
def test_xml_that_does_not_say_where_the_pixels_are(tmp_path: Path, apart: bool) -> None:
    """As people who write with libvips make it: the pages follow in order."""
    path = tmp_path / "a.ome.tif"
    options, axes = (PAGES, "CYX") if apart else (TILED, "YXS")
    write(path, PLANES if apart else RGB, **options, metadata={"axes": axes} | QUARTER)

    def without(xml: str) -> str:
        start, end = xml.index("<TiffData"), xml.index("</Pixels>")
        return xml[:start] + xml[end:]

    edit_xml(path, without)
    with open_slide(path) as slide:
        check(slide, RGB, RGB[::2, ::2])
        assert resolve_mpp(slide.properties).mpp == 0.25


def test_a_channel_in_a_file_of_its_own_is_no_slide(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(RGB[..., 0], **PAGES)
    head = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    elsewhere = f'{head}<BinaryOnly MetadataFile="b.companion.ome" UUID="u:1"/></OME>'
    edit_xml(path, lambda _: elsewhere)
    with pytest.raises(UnsupportedSlideError, match="axes YX "):
        open_slide(path)


def test_xml_that_is_no_xml_ends_in_no_other_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", PLANES, **PAGES, metadata={"axes": "CYX"})
    edit_xml(path, lambda xml: xml.replace("<Pixels", "<Pix els"))
    with pytest.raises(UnsupportedSlideError, match=r"^a\.ome\.tif: "):
        open_slide(path)
