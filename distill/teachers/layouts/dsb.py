"""Data Science Bowl 2018 as published: `<id>/images/<id>.png` and `<id>/masks/`, one a nucleus.

Caicedo et al., Nature Methods 16:1247-1253, 2019 (BBBC038).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill.errors import LabelledDataError
from distill.teachers.labelled import Labelled, case_of, read_numbers, read_pixels
from wsi.visible import visible

DESCRIPTION = "DSB 2018 (<id>/images/*.png + <id>/masks/*.png, also below stage1_train/)"


def recognises(folder: Path) -> bool:
    """Whether any folder has `images/` and `masks/` beside each other."""
    return bool(_cases(folder))


def read(folder: Path) -> Iterator[Labelled]:
    """Read each image with its masks; a later mask lies over earlier ones."""
    for case in _cases(folder):
        images = visible(case / "images", "*.png")
        if len(images) != 1:
            raise LabelledDataError(f"{case}/images holds {len(images)} PNG files; one is wanted")
        pixels = read_pixels(images[0])
        instances = np.zeros(pixels.shape[:2], np.int32)
        for number, path in enumerate(visible(case / "masks", "*.png"), start=1):
            mask = read_numbers(path) > 0
            if mask.shape != instances.shape:
                raise LabelledDataError(f"{path} is {mask.shape}, its image {instances.shape}")
            instances[mask] = number
        yield Labelled(pixels=pixels, instances=instances, name=case.name, case=case_of(case.name))


def _cases(folder: Path) -> list[Path]:
    found = {
        masks.parent for pattern in ("*/masks", "*/*/masks") for masks in visible(folder, pattern)
    }
    return sorted(case for case in found if (case / "images").is_dir())
