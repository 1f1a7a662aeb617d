"""Images with labelled nuclei, whatever layout they were published in."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.errors import LabelledDataError
from wsi.slide import Pixels

UNKNOWN = -1  # nuclear, but of which nucleus is not known
TCGA_PATIENT = re.compile(r"TCGA-\w{2}-\w{4}")

Instances = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An image with its nuclei.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8.
    instances
        (H, W) int32: 0 background, one positive number a nucleus, `UNKNOWN` where it is not
        known to which nucleus a nuclear pixel belongs.
    name
        File stem.
    case
        Patient, or the name where no patient is known: splits are by case.
    mpp
        µm per pixel, or None where the layout does not say it.
    """

    pixels: Pixels
    instances: Instances
    name: str
    case: str
    mpp: float | None = None

    def __post_init__(self) -> None:
        if self.pixels.shape != (*self.instances.shape, 3):
            raise LabelledDataError(
                f"{self.name}: the image is {self.pixels.shape}, its labels "
                f"{self.instances.shape}; they must have the same height and width"
            )

    @property
    def complete(self) -> bool:
        """Whether every nucleus is told from its neighbours, so that it can serve as truth."""
        return not (self.instances == UNKNOWN).any()


def case_of(name: str) -> str:
    """The patient in a TCGA file name, otherwise the name itself.

    Examples
    --------
    >>> case_of("TCGA-21-5784-01Z-00-DX1"), case_of("slide-7")
    ('TCGA-21-5784', 'slide-7')
    """
    found = TCGA_PATIENT.match(name)
    return found.group() if found else name


def read_pixels(path: Path) -> Pixels:
    """Read a PNG, TIFF, WebP or JPEG as (H, W, 3) uint8; transparency is dropped."""
    return np.array(_decoded(path).convert("RGB"))


def read_numbers(path: Path) -> NDArray[np.integer]:
    """Read a single-channel image of 1, 8, 16 or 32 bits as (H, W) integers."""
    numbers = np.array(_decoded(path))
    if numbers.ndim != 2:
        raise LabelledDataError(f"{path} is {numbers.shape}; one number a pixel is wanted")
    return numbers.astype(np.int32)


def _decoded(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()  # what a copy that broke off lacks, opening does not miss
            return image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise LabelledDataError(f"{path} cannot be read as an image: {error}") from error
