"""Nuclei of a clump told apart by an earlier teacher, where people drew the clump's outline only.

The mask says what is nuclear, and a teacher that learned from other images where one nucleus ends
and the next begins: pseudo-labels (Lee, ICML workshop 2013) within true borders.
"""

from dataclasses import replace

import numpy as np

from distill.resample import at_mpp, resize_labels
from distill.teachers.labelled import UNKNOWN, Labelled
from distill.teachers.postprocess import separate
from distill.teachers.predict import predict_maps
from distill.teachers.teacher import Teacher


def divide_clumps(image: Labelled, teacher: Teacher, *, turns: int, bfloat16: bool) -> Labelled:
    """Number the nuclei of `UNKNOWN` pixels; those of parts too small for a nucleus stay unknown.

    What is numbered already stays as it is. `turns` is that of `predict_maps`.
    """
    unknown = image.instances == UNKNOWN
    if not unknown.any():
        return image
    seen = at_mpp(image.pixels, mpp=image.mpp, wanted=teacher.mpp)
    maps = predict_maps(teacher.net, seen, turns=turns, bfloat16=bfloat16)
    maps[0] = resize_labels(unknown.astype(np.int32), (seen.shape[0], seen.shape[1]))
    nuclei = resize_labels(separate(maps, teacher.thresholds), image.instances.shape)
    found = unknown & (nuclei > 0)
    numbered = np.where(found, nuclei + image.instances.max(initial=0), image.instances)
    return replace(image, instances=numbered.astype(np.int32))
