"""Which image of an OME-TIFF is the slide, what its OME-XML says of it, and whether it is read.

Source: the OME-TIFF specification and the OME schema 2016-06.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from wsi.errors import UnsupportedSlideError
from wsi.readers.bioformats2raw import kind_beside

VENDOR = "ome-tiff"
UM_PER_UNIT = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}  # both letters mu
LAYOUTS = ("YX", "YXS", "SYX", "CYX")  # S: samples of a page; C: channels, each a page
RGB_COLOURS = ("FF0000", "00FF00", "0000FF")
RGB_NAMES = (re.compile("r(ed)?"), re.compile("g(reen)?"), re.compile("b(lue)?"))
NUMBERED = re.compile(r"(channel|ch)?[\s:_#-]*\d{1,2}(:\d)?")  # 405 and 488 are lasers
FLUORESCENT = {  # attributes of a channel, and what is in them where it is of fluorescence
    "ContrastMethod": "fluorescence",
    "IlluminationType": "fluorescence",
    "Fluor": "",
    "EmissionWavelength": "",
    "ExcitationWavelength": "",
}
WAY_OUT = "write what is to be read as one 8-bit RGB image, its samples side by side in one page"


def is_ome(description: str) -> bool:
    """Whether a first page's ImageDescription is OME-XML, judged as tifffile does."""
    return description[-10:].strip().endswith("OME>")


def completed_xml(path: Path) -> str | None:
    """The OME-XML of a TIFF where it had to be completed to say where the pixels are.

    People who write with libvips leave that out (``TiffData``), and tifffile then sees no levels
    and joins no channels. With one image the pages follow in order. None where nothing is missing
    or the file is no OME-TIFF.

    Raises
    ------
    xml.etree.ElementTree.ParseError
        If it is no XML.
    """
    with tifffile.TiffFile(path) as tiff:
        text = tiff.ome_metadata
    if text is None:
        return None
    root = ElementTree.fromstring(text)
    images = root.findall("{*}Image/{*}Pixels")
    if len(images) != 1 or images[0].find("{*}TiffData") is not None:
        return None
    ElementTree.SubElement(images[0], images[0].tag.replace("Pixels", "TiffData"))
    return ElementTree.tostring(root, encoding="unicode")


def find_scan(tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The largest image; the others are overviews, labels or smaller regions."""
    return max(
        tiff.series, key=lambda image: image.keyframe.imagewidth * image.keyframe.imagelength
    )


def images_beside(tiff: tifffile.TiffFile) -> dict[str, tifffile.TiffPageSeries]:
    """Label, macro and thumbnail, by what the other images are called.

    Images called otherwise are left out, as their names may be anything, a patient's too.
    """
    scan = find_scan(tiff)
    beside: dict[str, tifffile.TiffPageSeries] = {}
    for image in tiff.series:
        kind = kind_beside(image.name)
        if kind is not None and image is not scan:
            beside.setdefault(kind, image)
    return beside


def describe(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """Properties of the scan under tiffslide's names, which tells it what to read.

    Raises
    ------
    UnsupportedSlideError
        If the scan is not one plane of 8-bit RGB or grey, all of it in this file.
    """
    scan = find_scan(tiff)
    _check_layout(tiff, scan)
    image = _image_of(tiff, scan)
    if scan.axes in ("CYX", "YX") and image is not None:
        _check_channels(image.findall("{*}Channel"))
    page = scan.keyframe
    said: dict[str, Any] = {
        "tiff.ImageDescription": tiff.pages.first.description,
        "tiffslide.vendor": VENDOR,
        "tiffslide.series-index": tiff.series.index(scan),
        # Planes of samples are stored as planes of channels are.
        "tiffslide.series-axes": scan.axes.replace("SYX", "CYX"),
    }
    if image is not None:
        said |= {f"tiffslide.mpp-{axis.lower()}": _micrometres(image, axis) for axis in "XY"}
    if "XResolution" in page.tags and "YResolution" in page.tags:
        said["tiff.XResolution"], said["tiff.YResolution"] = page.resolution
        said["tiff.ResolutionUnit"] = tifffile.RESUNIT(page.resolutionunit).name
    for n, level in enumerate(scan.levels):
        width, height = level.keyframe.imagewidth, level.keyframe.imagelength
        downsample = (page.imagewidth / width + page.imagelength / height) / 2
        sizes = {"width": width, "height": height, "downsample": downsample}
        sizes |= {"tile-width": level.keyframe.tilewidth, "tile-height": level.keyframe.tilelength}
        said |= {f"tiffslide.level[{n}].{key}": value for key, value in sizes.items()}
    return said


def _check_layout(tiff: tifffile.TiffFile, scan: tifffile.TiffPageSeries) -> None:
    lengths = dict(zip(scan.axes, scan.shape, strict=True))
    channels = lengths.get("C", lengths.get("S", 1))
    # Where the XML does not say what belongs together, a page of one channel may be one of several.
    layouts = LAYOUTS if scan.kind == "ome" else ("YXS", "SYX")
    if scan.axes not in layouts or channels not in (1, 3) or scan.dtype != np.uint8:
        shape = " × ".join(map(str, scan.shape))
        raise UnsupportedSlideError(
            f"the image has axes {scan.axes} of {shape} in {scan.dtype}; one plane with 3 "
            f"channels of uint8, or 1, is read where the OME-XML says so: {WAY_OUT}"
        )
    for level in scan.levels:
        outside = sum(page is None or page.parent is not tiff for page in level)
        if outside:  # tifffile would look for other files, and show black where there is none
            raise UnsupportedSlideError(
                f"{outside} of its {len(level)} planes are not in the file: {WAY_OUT}"
            )


def _image_of(tiff: tifffile.TiffFile, scan: tifffile.TiffPageSeries) -> ElementTree.Element | None:
    """The ``Pixels`` of the scan, known by its first page; None where the XML has none."""
    first = scan[0]
    for pixels in ElementTree.fromstring(tiff.ome_metadata or "").iterfind("{*}Image/{*}Pixels"):
        places = (int(data.get("IFD", 0)) for data in pixels.iterfind("{*}TiffData"))
        if first is not None and first.index in places:
            return pixels
    return None


def _micrometres(pixels: ElementTree.Element, axis: str) -> float | None:
    """The size of a pixel along an axis; None where it is absent, no number or no length."""
    unit = UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    try:
        size = float(pixels.get(f"PhysicalSize{axis}", ""))
    except ValueError:
        return None
    return size * unit if unit is not None else None


def _check_channels(channels: list[ElementTree.Element]) -> None:
    """Refuse one channel, or three, that by their light, colours or names are no brightfield."""
    for what in _contradictions([channel.attrib for channel in channels]):
        raise UnsupportedSlideError(
            f"the channels have {what}: not a brightfield picture in red, green, blue; if it is "
            f"one, {WAY_OUT}"
        )


def _contradictions(channels: list[dict[str, str]]) -> Iterator[str]:
    for key, word in FLUORESCENT.items():
        found = [c[key] for c in channels if key in c and word in c[key].lower()]
        if found:
            yield f"{key} {', '.join(found)}"
    if len(channels) == 1:
        return
    colours = [f"{int(c.get('Color', -1)) & 0xFFFFFFFF:08X}"[:6] for c in channels]  # of RGBA
    if not set(colours) <= {"FFFFFF"} and tuple(colours) != RGB_COLOURS:  # white where none is said
        yield f"the colours {', '.join(colours)}"
    names = [c.get("Name", "").strip() for c in channels]
    are_rgb = all(rgb.fullmatch(n.lower()) for rgb, n in zip(RGB_NAMES, names, strict=False))
    if not are_rgb and not all(NUMBERED.fullmatch(n.lower()) for n in names if n):
        yield f"the names {', '.join(names)}"
