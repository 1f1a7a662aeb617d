"""BACH, part A: microscopy images of breast tissue in four classes.

Aresta et al., "BACH: Grand challenge on breast cancer histology images", Medical Image Analysis
56:122, 2019. Layout: ``Photos/<class>/*.tif``, and beside it the publisher's partial list of
patients, a CSV of image name, class and patient number without a header.
"""

import csv
from pathlib import Path

from distill.downstream.dataset import FileImages, LabelledImages, index_classes
from distill.downstream.loaders.layout import class_folders, existing
from distill.errors import LabelledDataError

TASK = "bach"
MPP = 0.42
LICENCE = "CC BY-NC-ND 4.0"
CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
PATIENTS = "patient_microscopy.csv"


def load_bach(folder: Path) -> LabelledImages:
    """Read ``Photos`` with the list of patients.

    The publisher says that images it does not list come from other patients than those it lists,
    so each of them counts as a patient of its own.

    Raises
    ------
    LabelledDataError
        If a class has no folder, or the list names an image that is not there.
    """
    photos = existing(
        folder / "Photos", task=TASK, wanted="Photos/Normal, Benign, InSitu, Invasive"
    )
    paths, names = class_folders(photos, CLASSES, task=TASK)
    ids = [path.stem for path in paths]
    known = _read_patients(folder / PATIENTS, set(ids))
    return LabelledImages(
        name=TASK,
        images=FileImages(tuple(paths)),
        sample_ids=tuple(ids),
        classes=CLASSES,
        targets=index_classes(names, CLASSES, task=TASK),
        patient_ids=tuple(known.get(name, f"unlisted-{name}") for name in ids),
        splits=None,
        mpp=MPP,
        licence=LICENCE,
    )


def _read_patients(path: Path, ids: set[str]) -> dict[str, str]:
    existing(path, task=TASK, wanted=f"the publisher's list of patients saved as {PATIENTS}")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = [[value.strip() for value in row] for row in csv.reader(stream) if row]
    # Images whose patient is not known are listed with an empty last field.
    known = {Path(row[0]).stem: row[-1] for row in rows if len(row) >= 3 and row[-1].isdigit()}
    if not known or not set(known) <= ids:
        unknown = sorted(set(known) - ids)[:5]
        raise LabelledDataError(
            f"{TASK}: {path} names {unknown or 'no patient'}; wanted lines 'b001.tif,Benign,7' of "
            "images in Photos"
        )
    return known
