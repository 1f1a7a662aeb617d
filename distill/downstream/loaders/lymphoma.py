"""The malignant lymphomas of IICBU 2008: CLL, FL and MCL from several sites.

Shamir et al., "IICBU 2008: a proposed benchmark suite for biological image analysis", Medical &
Biological Engineering & Computing 46:943, 2008. Patients are not told, so the 374 whole images
are divided before anything is cut from them.
"""

from pathlib import Path

from distill.downstream.dataset import FileImages, LabelledImages, index_classes
from distill.downstream.loaders.layout import class_folders

TASK = "lymphoma"
MPP = 0.32  # not published: 20x and a camera with pixels of 6.45 µm
LICENCE = "not stated; cite the paper"
CLASSES = ("CLL", "FL", "MCL")


def load_lymphoma(folder: Path) -> LabelledImages:
    """Read ``CLL``, ``FL`` and ``MCL``.

    Raises
    ------
    LabelledDataError
        If a class is missing.
    """
    paths, names = class_folders(folder, CLASSES, task=TASK)
    return LabelledImages(
        name=TASK,
        images=FileImages(tuple(paths)),
        sample_ids=tuple(f"{path.parent.name}/{path.stem}" for path in paths),
        classes=CLASSES,
        targets=index_classes(names, CLASSES, task=TASK),
        patient_ids=None,
        splits=None,
        mpp=MPP,
        licence=LICENCE,
    )
