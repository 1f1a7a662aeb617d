"""Slides through tiffslide: TIFFs that OpenSlide does not recognise, plain ones among them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tiffslide
from numpy.typing import NDArray

from wsi.errors import UnreadableRegionError, UnsupportedSlideError
from wsi.slide import Pixels, Slide


class TiffSlideReader(Slide):
    """A slide that tifffile can decode; 8-bit RGB only."""

    reader = "tiffslide"

    def __init__(self, path: Path) -> None:
        self._path = path
        with warnings.catch_warnings():
            # tiffslide warns that it parses some vendors' metadata only in part; we use our own.
            warnings.simplefilter("ignore", UserWarning)
            self._handle = tiffslide.TiffSlide(path)
            raw = dict(self._handle.properties)
        self.properties = {
            key.replace("tiffslide.", "openslide.", 1): str(value)
            for key, value in raw.items()
            if value is not None
        }
        self.vendor = self.properties.get("openslide.vendor", "tiff")
        self.level_dimensions = tuple((int(w), int(h)) for w, h in self._handle.level_dimensions)
        self.level_downsamples = tuple(float(d) for d in self._handle.level_downsamples)
        self.associated_images = tuple(self._handle.associated_images)
        probe = self._read((0, 0), len(self.level_dimensions) - 1, (1, 1))
        if probe.dtype != np.uint8 or probe.ndim != 3 or probe.shape[2] != 3:
            self._handle.close()
            raise UnsupportedSlideError(
                f"{path.name}: pixels are {probe.dtype} {probe.shape[2:] or 'grey'}; "
                "only 8-bit RGB is read: convert the file to RGB"
            )

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """See `Slide.read_region`."""
        downsample = self.level_downsamples[level]
        width, height = self.level_dimensions[level]
        left, top = (round(v / downsample) for v in location)
        right, bottom = min(left + size[0], width), min(top + size[1], height)
        region = np.full((size[1], size[0], 3), 255, np.uint8)
        inner_left, inner_top = max(left, 0), max(top, 0)
        if right > inner_left and bottom > inner_top:
            corner = (round(inner_left * downsample), round(inner_top * downsample))
            pixels = self._read(corner, level, (right - inner_left, bottom - inner_top))
            region[inner_top - top : bottom - top, inner_left - left : right - left] = pixels
        return region

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
