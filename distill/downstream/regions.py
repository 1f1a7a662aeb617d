"""Images whose every pixel has a class: glands and what is between them, kinds of tumour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.errors import LabelledDataError
from wsi.slide import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionImage:
    """Pixels (H, W, 3), their classes (H, W) by number, and where the image comes from."""

    pixels: Pixels
    regions: NDArray[np.uint8]
    name: str
    case: str
    mpp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSet:
    """Images of one task; `classes` are the names of the numbers, from 0."""

    name: str
    classes: tuple[str, ...]
    images: tuple[RegionImage, ...]
    licence: str

    def __post_init__(self) -> None:
        if not self.images:
            raise LabelledDataError(f"{self.name}: there is no image")
        for image in self.images:
            if image.regions.shape != image.pixels.shape[:2]:
                raise LabelledDataError(
                    f"{self.name}: {image.name} is {image.pixels.shape[:2]}, its mask "
                    f"{image.regions.shape}"
                )
            if image.regions.max(initial=0) >= len(self.classes):
                raise LabelledDataError(
                    f"{self.name}: {image.name} has class {image.regions.max()}, known are 0 to "
                    f"{len(self.classes) - 1}"
                )
