"""Slides through OpenSlide: the vendor formats and DICOM."""

from pathlib import Path

import numpy as np
import openslide

from wsi.errors import UnreadableRegionError
from wsi.slide import Pixels, Slide


class OpenSlideReader(Slide):
    """A slide that OpenSlide recognises."""

    reader = "openslide"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = openslide.OpenSlide(path)
        self.properties = dict(self._handle.properties)
        self.vendor = self.properties[openslide.PROPERTY_NAME_VENDOR]
        self.level_dimensions = self._handle.level_dimensions
        self.level_downsamples = self._handle.level_downsamples
        self.associated_images = tuple(self._handle.associated_images)
        # Every region carries it, an empty one too; `color_profile` would write it anew.
        nothing = self._handle.read_region((0, 0), 0, (0, 0))
        self.icc_profile = nothing.info.get("icc_profile")

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """See `Slide.read_region`."""
        try:
            rgba = np.asarray(self._handle.read_region(location, level, size))
        except openslide.OpenSlideError as error:
            # OpenSlide refuses every call after an error, so the handle is replaced.
            self._handle.close()
            self._handle = openslide.OpenSlide(self._path)
            message = f"{self._path.name}: level {level}, {size} px at {location}: {error}"
            raise UnreadableRegionError(message) from error
        return _over_white(rgba)

    def read_associated(self, name: str) -> Pixels:
        """See `Slide.read_associated`."""
        try:
            rgba = np.asarray(self._handle.associated_images[name])
        except openslide.OpenSlideError as error:
            message = f"{self._path.name}: associated image {name}: {error}"
            raise UnreadableRegionError(message) from error
        return _over_white(rgba)

    def close(self) -> None:
        """See `Slide.close`."""
        self._handle.close()


def _over_white(rgba: Pixels) -> Pixels:
    """Lay (H, W, 4) pixels with straight alpha over white; opaque input is only copied."""
    rgb = np.ascontiguousarray(rgba[..., :3])
    clear = rgba[..., 3] < 255
    if clear.any():
        alpha = rgba[clear, 3:].astype(np.uint16)
        rgb[clear] = (rgb[clear] * alpha + 255 * (255 - alpha) + 127) // 255
    return rgb
