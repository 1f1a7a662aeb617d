"""The interface every slide reader offers, small enough to read at a sitting."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Slide(ABC):
    """An open slide. Handles never cross a process: pass a `SlideRef` and open it there.

    Attributes
    ----------
    reader
        What decodes: ``"openslide"``, ``"tiffslide"`` …
    vendor
        The format as the reader names it: ``"aperio"``, ``"hamamatsu"``, ``"generic-tiff"`` …
    level_dimensions
        (width, height) of each level in its own pixels, finest first.
    level_downsamples
        Level-0 pixels per pixel of each level, finest first.
    properties
        The file's own key-value pairs, with OpenSlide's names.
    associated_images
        Names of the images beside the scan (label, macro, thumbnail); they may show a name.
    icc_profile
        The scanner's colour profile, byte for byte; None where the file holds none. Pixels are
        never converted with it.
    """

    reader: str
    vendor: str
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    properties: Mapping[str, str]
    associated_images: tuple[str, ...]
    icc_profile: bytes | None

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0, in pixels."""
        return self.level_dimensions[0]

    @abstractmethod
    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """Pixels of a rectangle, (H, W, 3) uint8 RGB.

        Parameters
        ----------
        location
            (x, y) of the top-left corner in **level-0** pixels, whatever the level, as in
            `openslide.OpenSlide.read_region`.
        level
            The level to read; 0 is the finest.
        size
            (width, height) in pixels of `level`. Pixels outside the slide, and areas the scanner
            skipped, are white.

        Raises
        ------
        UnreadableRegionError
            If the bytes do not decode. The slide stays usable for other regions.
        """

    @abstractmethod
    def read_associated(self, name: str) -> Pixels:
        """One of `associated_images`, (H, W, 3) uint8 RGB.

        Raises
        ------
        UnreadableRegionError
            If its bytes do not decode.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
