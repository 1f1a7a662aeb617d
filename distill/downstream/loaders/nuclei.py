"""Labelled nuclei for the segmentation probe: ``images/`` beside ``instances/``, same names."""

from pathlib import Path

import numpy as np
from PIL import Image

from distill.downstream.loaders.layout import existing, images_below
from distill.downstream.nuclei_probe import NucleiImage
from distill.errors import LabelledDataError


def load_nuclei(folder: Path, *, task: str, mpp: float) -> list[NucleiImage]:
    """Read every image that has instance labels: PNG, 8 or 16 bits, one number a nucleus.

    Images of The Cancer Genome Atlas share a case if the first three parts of their names are
    the same; any other image is a case of its own.

    Raises
    ------
    LabelledDataError
        If a folder is missing, a label has no image, or their sizes differ.
    """
    labels = existing(folder / "instances", task=task, wanted="instances/ beside images/")
    images = {
        p.stem: p for p in images_below(existing(folder / "images", task=task, wanted="images/"))
    }
    found = []
    for path in images_below(labels):
        if path.stem not in images:
            raise LabelledDataError(f"{task}: {path} has no image in {folder / 'images'}")
        with Image.open(images[path.stem]) as image, Image.open(path) as instances:
            pixels, numbers = np.asarray(image.convert("RGB")), np.asarray(instances)
        if pixels.shape[:2] != numbers.shape:
            raise LabelledDataError(
                f"{task}: {path} has shape {numbers.shape}, its image {pixels.shape[:2]}"
            )
        case = "-".join(path.stem.split("-")[:3]) if path.stem.startswith("TCGA-") else path.stem
        found.append(
            NucleiImage(
                pixels=pixels,
                instances=numbers.astype(np.int32),
                sample_id=path.stem,
                case_id=case,
                mpp=mpp,
            )
        )
    if not found:
        raise LabelledDataError(f"{task}: {labels} holds no label")
    return found
