"""The interface every slide reader offers, small enough to read at a sitting."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


class Slide(ABC):
    """An open slide. Handles never cross a process: pass a `SlideRef` and open it there.

    Attributes
    ----------
    reader
        What decodes: ``"jpeg"``, ``"openslide"``, ``"tiffslide"`` …
    reads_in_parallel
        Whether several threads may read from one open slide at once.
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
    reads_in_parallel: ClassVar[bool] = False
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

    def read_reduced(
        self, location: tuple[int, int], level: int, size: tuple[int, int], reduction: int
    ) -> Pixels:
        """Pixels of a rectangle of a level made `reduction` times smaller, (H, W, 3) uint8 RGB.

        Reduced pixels lie on the level's own grid: number k covers pixels ``k × reduction`` to
        ``(k + 1) × reduction``, so regions that are read apart fit together. Each is the mean of
        those pixels; at the slide's right and lower edge, of those there are. A reader that can
        make smaller pixels cheaply may come close to the mean instead, and says so.

        Parameters
        ----------
        location
            (x, y) of the top-left corner in level-0 pixels, as in `read_region`; the pixel of the
            level there must begin a reduced pixel.
        level
            The level to reduce.
        size
            (width, height) in reduced pixels. Those wholly outside the slide are white.
        reduction
            Pixels of the level along the edge of a reduced pixel; 1 for `read_region` itself.

        Raises
        ------
        UnreadableRegionError
            As `read_region`.
        ValueError
            If `location` is inside a reduced pixel.
        """
        if reduction == 1:
            return self.read_region(location, level, size)
        left, top, width, height = self._inside(location, level, size, reduction)
        reduced = np.full((size[1], size[0], 3), 255, np.uint8)
        if width > 0 and height > 0:
            x, y = max(left, 0), max(top, 0)
            downsample = self.level_downsamples[level]
            corner = (round(x * reduction * downsample), round(y * reduction * downsample))
            level_width, level_height = self.level_dimensions[level]
            right = min((x + width) * reduction, level_width)
            bottom = min((y + height) * reduction, level_height)
            region = self.read_region(
                corner, level, (right - x * reduction, bottom - y * reduction)
            )
            block = reduced[y - top : y - top + height, x - left : x - left + width]
            block[...] = np.asarray(Image.fromarray(region).reduce(reduction))
        return reduced

    def read_into(
        self, out: Pixels, location: tuple[int, int], level: int, *, reduction: int = 1
    ) -> None:
        """Write what `read_reduced` gives into `out` (H, W, 3), whose shape is the size asked for.

        Memory that is used again costs less than new memory: a page that a process touches for
        the first time takes about as long as the JPEG pixels in it.
        """
        out[...] = self.read_reduced(location, level, (out.shape[1], out.shape[0]), reduction)

    def _inside(
        self, location: tuple[int, int], level: int, size: tuple[int, int], reduction: int
    ) -> tuple[int, int, int, int]:
        """Where a region lies, and how much of it is inside the slide, all in reduced pixels.

        Returns
        -------
        left, top of the region; width, height of its part inside, from ``max(left, 0)`` and
        ``max(top, 0)`` on. Not positive where there is none.
        """
        downsample = self.level_downsamples[level]
        x, y = (round(v / downsample) for v in location)
        if x % reduction or y % reduction:
            raise ValueError(f"{location} is not at a corner of {reduction} px of level {level}")
        left, top = x // reduction, y // reduction
        columns, rows = (-(-n // reduction) for n in self.level_dimensions[level])
        width = min(left + size[0], columns) - max(left, 0)
        height = min(top + size[1], rows) - max(top, 0)
        return left, top, width, height

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

    def __exit__(self, *_: object) -> None:
        self.close()
