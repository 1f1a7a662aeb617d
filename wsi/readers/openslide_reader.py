"""Slides through OpenSlide: the vendor formats and DICOM."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from wsi.errors import UnreadableRegionError
from wsi.slide import Pixels, Slide


class OpenSlideReader(Slide):
    """A slide that OpenSlide recognises."""

    reader = "openslide"
    reads_in_parallel = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = openslide.OpenSlide(path)
        # In a malformed file OpenSlide names properties that it then has no value for.
        said = self._handle.properties
        self.properties = {k: v for k in said if (v := said.get(k)) is not None}
        self.vendor = self.properties[openslide.PROPERTY_NAME_VENDOR]
        self.level_dimensions = self._handle.level_dimensions
        self.level_downsamples = self._handle.level_downsamples
        self.associated_images = tuple(self._handle.associated_images)
        # Every region carries it, an empty one too; `color_profile` would write it anew.
        nothing = self._handle.read_region((0, 0), 0, (0, 0))
        self.icc_profile = nothing.info.get("icc_profile")

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """See `Slide.read_region`."""
        return self._read(
            lambda handle: handle.read_region(location, level, size),
            f"level {level}, {size} px at {location}",
        )

    def read_associated(self, name: str) -> Pixels:
        """See `Slide.read_associated`."""
        return self._read(lambda handle: handle.associated_images[name], f"associated image {name}")

    def _read(self, read: Callable[[openslide.OpenSlide], Image.Image], what: str) -> Pixels:
        handle = self._handle
        try:
            image = read(handle)
        except openslide.OpenSlideError:
            image = self._read_alone(handle, read, what)
        return _over_white(image)

    def _read_alone(
        self,
        failed: openslide.OpenSlide,
        read: Callable[[openslide.OpenSlide], Image.Image],
        what: str,
    ) -> Image.Image:
        """Read again with a new handle, now that `failed` refuses every call.

        What another thread read may be what it failed at. The new handle takes its place; nobody
        closes the old one, because other threads may be reading from it: it goes with the last.
        """
        with openslide.OpenSlide(self._path) as handle:
            try:
                return read(handle)
            except openslide.OpenSlideError as error:
                raise UnreadableRegionError(f"{self._path.name}: {what}: {error}") from error
            finally:
                if self._handle is failed:
                    self._handle = openslide.OpenSlide(self._path)

    def close(self) -> None:
        """See `Slide.close`."""
        self._handle.close()


def _over_white(image: Image.Image) -> Pixels:
    """Lay an RGBA image with straight alpha over white, (H, W, 3); opaque ones are only copied."""
    rgb = np.asarray(image.convert("RGB"))
    if image.getchannel("A").getextrema() == (255, 255):
        return rgb
    alpha = np.asarray(image.getchannel("A"))
    clear = alpha < 255
    rgb = rgb.copy()
    share = alpha[clear, None].astype(np.uint16)
    rgb[clear] = (rgb[clear] * share + 255 * (255 - share) + 127) // 255
    return rgb
