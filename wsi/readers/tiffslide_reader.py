"""Slides through tiffslide: TIFFs that OpenSlide does not recognise, plain ones among them."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import tiffslide
from numpy.typing import NDArray
from PIL import Image

from wsi.errors import UnreadableRegionError, UnsupportedSlideError
from wsi.misread import has_unknown_sample, is_upright
from wsi.readers import ometiff
from wsi.slide import Pixels, Slide

ICC_PROFILE = 34675  # TIFF tag
PHOTOMETRIC = tifffile.PHOTOMETRIC
# Codecs whose decoder gives RGB where the page says YCbCr. That of JPEG 2000 does so only where the
# stream itself asks for it; Aperio's 33005 is RGB, whatever the page says.
CONVERTING = frozenset({6, 7, 33007, 34892, 33005, 50001})  # four of JPEG; JPEG 2000; WebP


class TiffSlideReader(Slide):
    """A slide that tifffile can decode; 8-bit RGB only, and of OME-TIFF 8-bit grey.

    Of an OME-TIFF the largest image is the slide, with the levels in its sub-directories. Of other
    TIFFs a fourth sample of unknown meaning is left out.

    Raises
    ------
    UnsupportedSlideError
        If it cannot, or the pixels are something else.
    """

    reader = "tiffslide"

    def __init__(self, path: Path) -> None:
        self._path = path
        with warnings.catch_warnings():
            # tiffslide warns that it parses some vendors' metadata only in part; we use our own.
            warnings.simplefilter("ignore", UserWarning)
            try:
                self._open()
            except Exception as error:  # tifffile raises whatever goes wrong in a malformed file
                said = str(error) or type(error).__name__
                raise UnsupportedSlideError(f"{path.name}: {said}") from error

    def _open(self) -> None:
        """Open the file and leave it open only if it can be read."""
        options = {"omexml": ometiff.completed_xml(self._path)}
        self._handle = tiffslide.TiffSlide(self._path, tifffile_options=options)
        try:
            self._describe()
        except Exception:
            self._handle.close()
            raise

    def _describe(self) -> None:
        """Fill in what a `Slide` says of itself."""
        tiff = self._handle.ts_tifffile
        if tiff.is_ome:
            self._handle.properties = ometiff.describe(tiff)  # it reads the first image otherwise
            self._beside = ometiff.images_beside(tiff)
        else:
            self._beside = dict(self._handle.associated_images.series_map)
        raw = dict(self._handle.properties)
        self.properties = {
            key.replace("tiffslide.", "openslide.", 1): str(value)
            for key, value in raw.items()
            if value is not None
        }
        self.vendor = self.properties.get("openslide.vendor", "tiff")
        self.level_dimensions = tuple((int(w), int(h)) for w, h in self._handle.level_dimensions)
        self.level_downsamples = tuple(float(d) for d in self._handle.level_downsamples)
        self.associated_images = tuple(self._beside)
        scan = tiff.series[raw["tiffslide.series-index"]]
        first = scan.keyframe if tiff.is_ome else tiff.pages.first
        profile = first.tags.get(ICC_PROFILE)
        self.icc_profile = bytes(profile.value) if profile is not None else None
        self._empty = tuple(
            _empty_tiles(level, size)
            for level, size in zip(scan.levels, self.level_dimensions, strict=True)
        )
        probe = self._read((0, 0), len(self.level_dimensions) - 1, (1, 1))
        samples = 4 if has_unknown_sample(first) else 3
        channels = (1, 3) if tiff.is_ome else (samples,)
        if probe.dtype != np.uint8 or probe.ndim != 3 or probe.shape[2] not in channels:
            raise UnsupportedSlideError(
                f"pixels are {probe.dtype} {probe.shape[2:] or 'grey'}; "
                "only 8-bit RGB is read: convert the file to RGB"
            )
        for level in scan.levels:
            _check_colours(level.keyframe)
            _check_upright(level.keyframe)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """See `Slide.read_region`."""
        downsample = self.level_downsamples[level]
        width, height = self.level_dimensions[level]
        left, top = (round(v / downsample) for v in location)
        right, bottom = min(left + size[0], width), min(top + size[1], height)
        region = np.full((size[1], size[0], 3), 255, np.uint8)
        inner_left, inner_top = max(left, 0), max(top, 0)
        if right > inner_left and bottom > inner_top:
            # Up, because tiffslide rounds down on the way back to pixels of the level.
            corner = (math.ceil(inner_left * downsample), math.ceil(inner_top * downsample))
            pixels = self._read(corner, level, (right - inner_left, bottom - inner_top))
            colours = pixels[..., :3]
            region[inner_top - top : bottom - top, inner_left - left : right - left] = colours
            for x0, y0, x1, y1 in self._empty[level]:
                if x0 < right and y0 < bottom and x1 > inner_left and y1 > inner_top:
                    across = slice(max(x0, inner_left) - left, min(x1, right) - left)
                    down = slice(max(y0, inner_top) - top, min(y1, bottom) - top)
                    region[down, across] = 255
        return region

    def read_associated(self, name: str) -> Pixels:
        """See `Slide.read_associated`."""
        try:
            image = self._beside[name]
            pixels = image.asarray()
            if image.axes in ("CYX", "SYX"):
                pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
            return np.asarray(Image.fromarray(pixels).convert("RGB"))
        except Exception as error:  # as above
            message = f"{self._path.name}: associated image {name}: {error}"
            raise UnreadableRegionError(message) from error

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[Any]:
        try:
            pixels = np.asarray(self._handle.read_region(location, level, size, as_array=True))
        except Exception as error:  # tifffile and its codecs raise whatever went wrong in them
            message = f"{self._path.name}: level {level}, {size} px at {location}: {error}"
            raise UnreadableRegionError(message) from error
        return pixels

    def close(self) -> None:
        """See `Slide.close`."""
        self._handle.close()


def _check_colours(page: Any) -> None:
    """Refuse a page whose samples are no RGB after decoding: tifffile converts no colours."""
    colours, codec = page.photometric, page.compression
    if colours in (PHOTOMETRIC.RGB, PHOTOMETRIC.MINISBLACK):
        return
    if colours != PHOTOMETRIC.YCBCR or codec not in CONVERTING:
        names = [getattr(value, "name", value) for value in (colours, codec)]  # unknown: a number
        raise UnsupportedSlideError(
            f"colours are {names[0]}, compressed with {names[1]}, and nothing turns that into RGB: "
            "convert the file to RGB"
        )


def _check_upright(page: Any) -> None:
    """Refuse a page stored from another corner than the top left: tifffile turns nothing."""
    if not is_upright(page):
        raise UnsupportedSlideError(
            f"it is stored turned or mirrored, as Orientation {page.tags.valueof('Orientation')}, "
            "and only Orientation 1 is read: write the file anew with Orientation 1"
        )


def _empty_tiles(level: Any, size: tuple[int, int]) -> tuple[tuple[int, int, int, int], ...]:
    """Tiles that a TIFF level of (width, height) stores nothing for: left, top, right, bottom.

    They are areas the scanner skipped, which tifffile shows as black. A level of several planes
    skipped what it skipped in all of them.
    """
    page = level.keyframe
    if level.axes not in ometiff.LAYOUTS or (page.imagewidth, page.imagelength) != size:
        return ()
    height, width = page.chunks[-2:] if level.axes == "SYX" else page.chunks[:2]
    columns, rows = -(-size[0] // width), -(-size[1] // height)
    counts = np.concatenate([np.asarray(plane.databytecounts) for plane in level])
    if len(counts) % (columns * rows):  # a damaged directory: the tiles do not decode then
        return ()
    empty = np.flatnonzero(~counts.reshape(-1, columns * rows).any(axis=0)).tolist()
    corners = ((i % columns * width, i // columns * height) for i in empty)
    return tuple((x, y, min(x + width, size[0]), min(y + height, size[1])) for x, y in corners)
