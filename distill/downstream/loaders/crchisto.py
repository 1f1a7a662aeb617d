"""CRCHistoPhenotypes: nuclei of colon cancer, 27 x 27 pixels around each.

Sirinukunwattana et al., "Locality Sensitive Deep Learning for Detection and Classification of
Nuclei in Routine Colon Cancer Histology Images", IEEE TMI 35:1196, 2016. Read from one `.npz`
with ``image``, ``patient_id``, ``cell_type``, ``is_cancerous`` and ``instance_id``.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from distill.downstream.dataset import ArrayImages, LabelledImages
from distill.downstream.loaders.layout import existing
from distill.errors import LabelledDataError

MPP = 0.55  # scanned at 20x: the paper's 0.55 µm
LICENCE = "research use only"
CLASSES = {
    "cell_type": ("fibroblast", "inflammatory", "epithelial", "other"),
    "is_cancerous": ("not cancerous", "cancerous"),
}
NAMES = {"cell_type": "crchisto-type", "is_cancerous": "crchisto-cancerous"}


def load_crchisto(folder: Path, target: Literal["cell_type", "is_cancerous"]) -> LabelledImages:
    """Read ``patches27.npz``; classes are the four cell types, or cancerous or not.

    Raises
    ------
    LabelledDataError
        If the file or an array in it is missing.
    """
    name = NAMES[target]
    path = existing(folder / "patches27.npz", task=name, wanted="patches27.npz")
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"image", "patient_id", "instance_id", target} - set(arrays)
        if missing:
            raise LabelledDataError(
                f"{name}: {path} lacks {sorted(missing)}; it has {sorted(arrays)}"
            )
        return LabelledImages(
            name=name,
            images=ArrayImages(arrays["image"]),
            sample_ids=tuple(f"nucleus-{number}" for number in arrays["instance_id"].tolist()),
            classes=CLASSES[target],
            targets=arrays[target].astype(np.int64),
            patient_ids=tuple(str(number) for number in arrays["patient_id"].tolist()),
            splits=None,
            mpp=MPP,
            licence=LICENCE,
        )
