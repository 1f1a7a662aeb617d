"""NCT-CRC-HE-100K and CRC-VAL-HE-7K: nine tissues of colon cancer, 224 pixels at 0.5 µm.

Kather et al., "Predicting survival from colorectal cancer histology slides using deep learning",
PLoS Medicine 16:e1002730, 2019. Neither set says which patient a tile is of; the 50 patients of
the second are none of the first.
"""

from pathlib import Path

from distill.downstream.dataset import FileImages, LabelledImages, index_classes
from distill.downstream.loaders.layout import class_folders, existing
from distill.errors import LabelledDataError
from wsi.visible import visible_images

MPP = 0.5
LICENCE = "CC BY 4.0"
CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
TRAIN = ("NCT-CRC-HE-100K-NONORM", "NCT-CRC-HE-100K")  # not normalised, preferred, or normalised
TEST = "CRC-VAL-HE-7K"
SAMPLE_MARK = "___"


def load_nct_crc(folder: Path) -> LabelledImages:
    """Read both sets, ``<set>/<class>/*.tif``; the published split is kept.

    Raises
    ------
    LabelledDataError
        If a set or a class is missing.
    """
    task = "nct-crc"
    train = next((folder / name for name in TRAIN if (folder / name).is_dir()), None)
    if train is None:
        raise LabelledDataError(f"{task}: neither {' nor '.join(TRAIN)} is in {folder}")
    test = existing(folder / TEST, task=task, wanted=f"{TEST} beside {train.name}")
    learn, learn_names = class_folders(train, CLASSES, task=task)
    asked, asked_names = class_folders(test, CLASSES, task=task)
    return LabelledImages(
        name=task,
        images=FileImages((*learn, *asked)),
        sample_ids=tuple(path.relative_to(folder).as_posix() for path in (*learn, *asked)),
        classes=CLASSES,
        targets=index_classes([*learn_names, *asked_names], CLASSES, task=task),
        patient_ids=None,
        splits=("train",) * len(learn) + ("test",) * len(asked),
        mpp=MPP,
        licence=LICENCE,
    )


def load_crc_val_sample(folder: Path) -> LabelledImages:
    """Read a flat folder of tiles of CRC-VAL-HE-7K named ``<class>___<name>``.

    Raises
    ------
    LabelledDataError
        If a file is not named so.
    """
    task = "crc-val-sample"
    existing(folder, task=task, wanted=f"files named <class>{SAMPLE_MARK}<name>")
    paths = visible_images(folder)
    nameless = [path.name for path in paths if SAMPLE_MARK not in path.name]
    if nameless:
        raise LabelledDataError(f"{task}: {nameless[:5]} are not named <class>{SAMPLE_MARK}<name>")
    names = [path.name.partition(SAMPLE_MARK)[0] for path in paths]
    classes = tuple(sorted(set(names)))
    return LabelledImages(
        name=task,
        images=FileImages(tuple(paths)),
        sample_ids=tuple(path.stem for path in paths),
        classes=classes,
        targets=index_classes(names, classes, task=task),
        patient_ids=None,
        splits=None,
        mpp=MPP,
        licence=LICENCE,
    )
