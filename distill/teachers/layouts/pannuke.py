"""PanNuke folds: `images.npy` (N, 256, 256, 3) and `masks.npy` (N, 256, 256, 6).

Gamper et al., arXiv:2003.10778, 2020. Five planes hold the nuclei of one type each, numbered
from 1; the sixth is background.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.errors import LabelledDataError
from distill.teachers.labelled import Instances, Labelled

DESCRIPTION = "PanNuke (images.npy + masks.npy below images/ and masks/, or side by side)"
MPP = 0.25
TYPES = 5


def recognises(folder: Path) -> bool:
    """Whether there is an `images.npy` with its `masks.npy`."""
    return bool(_folds(folder))


def read(folder: Path) -> Iterator[Labelled]:
    """Read every image of every fold. Patients are not published: each image is its own case."""
    for images_path, masks_path in _folds(folder):
        images = np.load(images_path, mmap_mode="r")
        masks = np.load(masks_path, mmap_mode="r")
        if masks.shape != (*images.shape[:3], TYPES + 1):
            raise LabelledDataError(
                f"{masks_path} is {masks.shape}; {(*images.shape[:3], TYPES + 1)} is wanted"
            )
        fold = "-".join(images_path.relative_to(folder).parent.parts) or folder.name
        for index, (pixels, planes) in enumerate(zip(images, masks, strict=True)):
            name = f"{fold}-{index}"
            yield Labelled(
                pixels=np.asarray(pixels, np.uint8),
                instances=merge_types(np.asarray(planes[..., :TYPES], np.int64)),
                name=name,
                case=name,
                mpp=MPP,
            )


def merge_types(planes: NDArray[np.integer]) -> Instances:
    """Number the nuclei of (H, W, types) planes through; where planes overlap, the last holds."""
    merged = np.zeros(planes.shape[:2], np.int32)
    below = 0
    for plane in np.moveaxis(planes, -1, 0):
        merged[plane > 0] = plane[plane > 0] + below
        below += int(plane.max())
    return merged


def _folds(folder: Path) -> list[tuple[Path, Path]]:
    folds = []
    for images in sorted(folder.rglob("images.npy")):
        parts = ["masks" if part == "images" else part for part in images.relative_to(folder).parts]
        masks = folder.joinpath(*parts[:-1], "masks.npy")
        if masks.is_file():
            folds.append((images, masks))
    return folds
