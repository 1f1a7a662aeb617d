"""GlaS (Warwick-QU): glands of the colon, benign or malignant, with a mask of every gland.

Sirinukunwattana et al., "Gland segmentation in colon histology images: the GlaS challenge
contest", Medical Image Analysis 35:489, 2017. Patients occur on both sides of the published
split, so `distill.downstream.splits.folds` divides anew.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.downstream.dataset import FileImages, LabelledImages, index_classes
from distill.downstream.loaders.layout import existing, read_table
from distill.downstream.regions import RegionImage, RegionSet
from distill.errors import LabelledDataError
from wsi.visible import visible_images

TASK = "glas"
GLANDS_TASK = "glas-glands"
MPP = 0.62005  # 20x on a Zeiss MIRAX MIDI
LICENCE = "research use only"
CLASSES = ("benign", "malignant")
WANTED = "Grade.csv beside train_1.bmp …, or labels.csv beside images/"


def load_glas(folder: Path) -> LabelledImages:
    """Read the published folder, or one with ``labels.csv`` and ``images/``.

    Raises
    ------
    LabelledDataError
        If it is neither, or an image has no row or a row no image.
    """
    if (folder / "labels.csv").is_file():
        columns, images = ("slide_id", "patient_id", "label"), folder / "images"
        table = folder / "labels.csv"
    else:
        columns, images = ("name", "patient ID", "grade (GlaS)"), folder
        table = existing(folder / "Grade.csv", task=TASK, wanted=WANTED)
    rows = read_table(table, columns, task=TASK)
    files = {p.stem: p for p in visible_images(images) if not p.stem.endswith("_anno")}
    ids, patients, labels = ([row[column] for row in rows] for column in columns)
    unmatched = sorted(set(files) ^ set(ids))
    if unmatched:
        raise LabelledDataError(f"{TASK}: {unmatched} are in only one of {table.name} and {images}")
    splits = tuple("train" if name.startswith("train") else "test" for name in ids)
    return LabelledImages(
        name=TASK,
        images=FileImages(tuple(files[name] for name in ids)),
        sample_ids=tuple(ids),
        classes=CLASSES,
        targets=index_classes(labels, CLASSES, task=TASK),
        patient_ids=tuple(patients),
        splits=splits if len(set(splits)) == 2 else None,
        mpp=MPP,
        licence=LICENCE,
    )


def load_glands(folder: Path) -> RegionSet:
    """Which pixels are gland, of every image of the published folder.

    Raises
    ------
    LabelledDataError
        As `load_glas`, or if an image has no mask.
    """
    glas = load_glas(folder)
    images = tuple(
        RegionImage(
            pixels=glas.images.read(number),
            regions=(read_glands(folder, name) > 0).astype(np.uint8),
            name=name,
            case=str(glas.owners[number]),
            mpp=MPP,
        )
        for number, name in enumerate(glas.sample_ids)
    )
    return RegionSet(
        name=GLANDS_TASK, classes=("between glands", "gland"), images=images, licence=LICENCE
    )


def read_glands(folder: Path, sample_id: str) -> NDArray[np.uint16]:
    """The mask of an image in the published layout: (H, W), 0 for background, one number a gland.

    Raises
    ------
    LabelledDataError
        If there is none.
    """
    path = existing(folder / f"{sample_id}_anno.bmp", task=TASK, wanted="a mask of every image")
    with Image.open(path) as mask:
        labels = np.asarray(mask)
    if labels.ndim != 2:
        raise LabelledDataError(
            f"{TASK}: {path} has shape {labels.shape}, wanted one number a pixel"
        )
    return labels.astype(np.uint16)
