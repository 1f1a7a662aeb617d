"""Images with a class at every pixel, and perhaps the objects in them told apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distill.errors import LabelledDataError
from distill.resample import at_mpp, resize_labels
from wsi.slide import Pixels

UNKNOWN = -1  # class of a pixel that nobody labelled
Classes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassImage:
    """An image with the class of each pixel.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8.
    classes
        (H, W) int32: an index into the set's classes, or `UNKNOWN`.
    objects
        (H, W) int32: 0 background, one positive number an object (a gland); None where objects
        are not told apart but by lying apart.
    name, case
        File stem, and the patient, or the name where no patient is known: splits are by case.
    mpp
        µm per pixel, or None where nobody says it.
    split
        The publisher's ``"train"`` or ``"test"``; None where there is none.
    """

    pixels: Pixels
    classes: Classes
    name: str
    case: str
    objects: Classes | None = None
    mpp: float | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        shapes = [m.shape for m in (self.classes, self.objects) if m is not None]
        if any(self.pixels.shape != (*shape, 3) for shape in shapes):
            raise LabelledDataError(
                f"{self.name}: the image is {self.pixels.shape}, its labels {shapes[0]}; they must "
                "have the same height and width"
            )

    @property
    def complete(self) -> bool:
        """Whether there is anything to judge by."""
        return bool((self.classes != UNKNOWN).any())

    def resampled(self, mpp: float) -> "ClassImage":
        """The same image at another resolution, unless it is nearly the same or not known."""
        pixels = at_mpp(self.pixels, mpp=self.mpp, wanted=mpp)
        if pixels is self.pixels:
            return self
        shape = (pixels.shape[0], pixels.shape[1])
        objects = None if self.objects is None else resize_labels(self.objects, shape)
        return replace(
            self,
            pixels=pixels,
            classes=resize_labels(self.classes, shape),
            objects=objects,
            mpp=mpp,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassImages:
    """Images that share their classes.

    Attributes
    ----------
    classes
        Names, at least two; the first is the background, of which there are no objects.
    images
        At least one.
    licence
        Of the images, where the layout tells it.
    """

    classes: tuple[str, ...]
    images: Sequence[ClassImage]
    licence: str | None = None

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise LabelledDataError(
                f"classes {', '.join(self.classes)}: two or more, each once, are wanted"
            )
        if not self.images:
            raise LabelledDataError("there is no labelled image")

    def of_split(self, split: str) -> "ClassImages":
        """The images of one side of the publisher's split.

        Raises
        ------
        LabelledDataError
            If there are none.
        """
        chosen = [image for image in self.images if image.split == split]
        if not chosen:
            known = sorted({image.split for image in self.images if image.split}) or "none"
            raise LabelledDataError(f"no image is in split {split!r}; splits are: {known}")
        return replace(self, images=chosen)
