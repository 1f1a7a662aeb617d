"""PatchCamelyon: lymph nodes with or without tumour in the middle, 96 pixels at 0.97 µm.

Veeling et al., "Rotation Equivariant CNNs for Digital Pathology", MICCAI 2018. Two HDF5 files a
split, with data sets ``x`` (N, 96, 96, 3) and ``y`` (N, 1, 1, 1).
"""

from pathlib import Path

import h5py
import numpy as np

from distill.downstream.dataset import Hdf5Images, LabelledImages
from distill.downstream.loaders.layout import existing
from distill.errors import LabelledDataError

TASK = "pcam"
MPP = 0.972  # 40x at 0.243 µm, reduced four times
LICENCE = "CC0 1.0"
CLASSES = ("normal", "tumour")
PREFIX = "camelyonpatch_level_2_split"


def load_pcam(folder: Path) -> LabelledImages:
    """Read the train and test splits; slides do not occur in both.

    The publisher's own validation split is not used: every probe sets patients aside by itself,
    and here, where patients are not told, images.

    Raises
    ------
    LabelledDataError
        If a file is missing, or images and labels do not fit.
    """
    targets, lengths, paths = [], [], []
    for split in ("train", "test"):
        images, labels = (
            existing(
                folder / f"{PREFIX}_{split}_{key}.h5",
                task=TASK,
                wanted=f"{PREFIX}_{{train,test}}_{{x,y}}.h5",
            )
            for key in "xy"
        )
        with h5py.File(images, "r") as x, h5py.File(labels, "r") as y:
            if "x" not in x or "y" not in y or len(x["x"]) != len(y["y"]):
                raise LabelledDataError(f"{TASK}: {images} and {labels} do not hold as many x as y")
            targets.append(np.asarray(y["y"]).reshape(-1).astype(np.int64))
        lengths.append(len(targets[-1]))
        paths.append(images)
    return LabelledImages(
        name=TASK,
        images=Hdf5Images(tuple(paths), "x", tuple(lengths)),
        sample_ids=tuple(
            f"{split}-{number}"
            for split, length in zip(("train", "test"), lengths, strict=True)
            for number in range(length)
        ),
        classes=CLASSES,
        targets=np.concatenate(targets),
        patient_ids=None,
        splits=("train",) * lengths[0] + ("test",) * lengths[1],
        mpp=MPP,
        licence=LICENCE,
    )
