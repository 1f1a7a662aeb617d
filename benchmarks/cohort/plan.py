"""Which images each slide is made of.

A slide shows tissue of one patient, so that folds by patient keep every pixel on one side. A slide
is positive if any of its images is malignant. Of patients with both kinds of image the positive
slides are benign but for a lesion in one section: there position matters.
"""

from dataclasses import dataclass

import numpy as np

from distill.downstream.dataset import LabelledImages
from distill.downstream.loaders.glas import CLASSES
from distill.downstream.splits import Indices

BENIGN, MALIGNANT = CLASSES
PIECE_PX = 512  # edge of the square that a slide shows of an image


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The shape of every slide.

    Attributes
    ----------
    sections
        Islands of tissue, side by side.
    columns, rows
        Pieces of `PIECE_PX` pixels in a section.
    lesion_columns
        Columns of one section that are malignant where the patient has benign images too.
    slides
        Most slides of a patient and class; never more than the patient has images of it.
    """

    sections: int = 2
    columns: int = 3
    rows: int = 2
    lesion_columns: int = 2
    slides: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePlan:
    """One slide.

    Attributes
    ----------
    label
        Class of the slide.
    sections
        For each section, row by row, the index of every piece's image.
    is_inked
        Whether a pen marked it; as often in one class as in the other.
    seed
        Of everything that is drawn while it is painted.
    """

    slide_id: str
    patient_id: str
    label: str
    sections: tuple[tuple[int, ...], ...]
    is_inked: bool
    seed: int


def plan_cohort(glas: LabelledImages, layout: Layout, *, seed: int) -> tuple[SlidePlan, ...]:
    """List the slides without painting any; the same for a `seed`.

    Parameters
    ----------
    glas
        Images with owners, of the two classes of GlaS.
    """
    random = np.random.default_rng(seed)
    plans: list[SlidePlan] = []
    counts = dict.fromkeys(CLASSES, 0)
    for patient in sorted(set(glas.owners.tolist())):
        owned = glas.owners == patient
        images = {
            name: np.flatnonzero(owned & (glas.targets == target))
            for target, name in enumerate(glas.classes)
        }
        for label, of_class in images.items():
            for _ in range(min(layout.slides, len(of_class))):
                number = len(plans)
                plans.append(
                    SlidePlan(
                        slide_id=f"slide-{number:03d}",
                        patient_id=patient,
                        label=label,
                        sections=_choose(images, label, layout, random),
                        is_inked=counts[label] % 2 == 1,
                        seed=seed * 10_007 + number,
                    )
                )
                counts[label] += 1
    return tuple(plans)


def _choose(
    images: dict[str, Indices], label: str, layout: Layout, random: np.random.Generator
) -> tuple[tuple[int, ...], ...]:
    """Pieces of each section; every image as often as another, give or take one."""
    shape = (layout.sections, layout.rows, layout.columns)
    is_minority = label == MALIGNANT and len(images[BENIGN]) > 0
    chosen = _deal(images[BENIGN if is_minority else label], shape, random)
    if is_minority:
        lesion = _deal(images[MALIGNANT], (layout.rows, layout.lesion_columns), random)
        chosen[random.integers(layout.sections), :, : layout.lesion_columns] = lesion
    return tuple(tuple(section.ravel().tolist()) for section in chosen)


def _deal(images: Indices, shape: tuple[int, ...], random: np.random.Generator) -> Indices:
    return random.permutation(np.resize(random.permutation(images), np.prod(shape))).reshape(shape)
