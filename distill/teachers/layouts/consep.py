"""CoNSeP: `Images/<stem>.png` and `Labels/<stem>.mat` with the instance map `inst_map`.

Graham et al., Medical Image Analysis 58:101563, 2019; 0.25 µm per pixel.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from distill.errors import LabelledDataError
from distill.teachers.labelled import Instances, Labelled, case_of, read_pixels
from wsi.visible import visible

DESCRIPTION = "CoNSeP (Images/*.png + Labels/*.mat, also below Train/ and Test/)"
MPP = 0.25


def recognises(folder: Path) -> bool:
    """Whether any image has its label file."""
    return bool(_pairs(folder))


def read(folder: Path) -> Iterator[Labelled]:
    """Read each image with its instance map."""
    for image, labels in _pairs(folder):
        name = image.stem
        yield Labelled(
            pixels=read_pixels(image),
            instances=_read_instances(labels),
            name=name,
            case=case_of(name),
            mpp=MPP,
        )


def _read_instances(path: Path) -> Instances:
    try:
        return np.asarray(loadmat(path)["inst_map"], np.int32)
    except (KeyError, ValueError, MatReadError) as error:
        raise LabelledDataError(f"{path} has no instance map 'inst_map': {error!r}") from error


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    labels = visible(folder, "**/Labels/*.mat")
    pairs = [(path.parent.parent / "Images" / f"{path.stem}.png", path) for path in labels]
    return [(image, path) for image, path in pairs if image.is_file()]
