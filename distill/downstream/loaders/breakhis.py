"""BreakHis: breast tumours of 82 patients at four magnifications, benign or malignant.

Spanhol et al., "A Dataset for Breast Cancer Histopathological Image Classification", IEEE TBME
63:1455, 2016. A name such as ``SOB_B_TA-14-4659-40-001.png`` holds biopsy, class, type, year,
slide, magnification and number; the slide stands for the patient.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill.downstream.dataset import FileImages, LabelledImages, index_classes
from distill.downstream.loaders.layout import existing
from distill.errors import LabelledDataError
from wsi.visible import visible_images

LICENCE = "CC BY 4.0"
CLASSES = ("benign", "malignant")
# The camera's pixel of 6.5 µm seen through relay and objective, as the paper's table 2 rounds it.
MPP: dict[str, float] = {"40X": 0.49, "100X": 0.20, "200X": 0.10, "400X": 0.05}
NAME = re.compile(
    r"SOB_(?P<side>[BM])_(?P<type>[A-Z]+)-(?P<slide>\d+-[0-9A-Z]+)-(?P<power>\d+)-\d+$"
)

Magnification = Literal["40X", "100X", "200X", "400X"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakhisImage:
    """A file and what its name says: benign or malignant, type of tumour, year and slide."""

    path: Path
    side: str
    type: str
    slide: str


def load_breakhis(folder: Path, magnification: Magnification = "40X") -> LabelledImages:
    """Read the images of one magnification from ``BreaKHis_v1/histology_slides/breast``.

    Raises
    ------
    LabelledDataError
        As `find_breakhis`.
    """
    images = find_breakhis(folder, magnification)
    return read_breakhis(
        images,
        [image.side for image in images],
        CLASSES,
        task=f"breakhis-{magnification}",
        magnification=magnification,
    )


def find_breakhis(folder: Path, magnification: Magnification) -> list[BreakhisImage]:
    """The images of one magnification, with what their names say.

    Raises
    ------
    LabelledDataError
        If the folder or the images of that magnification are missing, or a name is not as
        published.
    """
    task = f"breakhis-{magnification}"
    breast = existing(
        folder / "BreaKHis_v1" / "histology_slides" / "breast",
        task=task,
        wanted="BreaKHis_v1/histology_slides/breast/<class>/SOB/<type>/<slide>/<magnification>",
    )
    paths = visible_images(breast, f"*/SOB/*/*/{magnification}/*")
    if not paths:
        raise LabelledDataError(f"{task}: no image at {breast}/*/SOB/*/*/{magnification}/")
    matches = [NAME.match(path.stem) for path in paths]
    odd = [path.name for path, match in zip(paths, matches, strict=True) if match is None]
    if odd:
        raise LabelledDataError(
            f"{task}: {odd[:5]} are not named as SOB_B_TA-14-4659-40-001.png is"
        )
    return [
        BreakhisImage(
            path=path,
            side=CLASSES["BM".index(match["side"])],
            type=match["type"],
            slide=match["slide"],
        )
        for path, match in zip(paths, matches, strict=True)
        if match is not None
    ]


def read_breakhis(
    images: Sequence[BreakhisImage],
    names: Sequence[str],
    classes: tuple[str, ...],
    *,
    task: str,
    magnification: Magnification,
) -> LabelledImages:
    """Those images under the `names` of their `classes`, with the slide as the patient."""
    return LabelledImages(
        name=task,
        images=FileImages(tuple(image.path for image in images)),
        # A slide with two types of tumour has images in two folders, with the same numbers.
        sample_ids=tuple(image.path.stem for image in images),
        classes=classes,
        targets=index_classes(names, classes, task=task),
        patient_ids=tuple(image.slide for image in images),
        splits=None,
        mpp=MPP[magnification],
        licence=LICENCE,
    )
