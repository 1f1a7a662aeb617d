"""BACH and BreakHis divided as eva divides them, so that numbers can be set beside its.

Gatopoulos et al., "eva: Evaluation framework for pathology foundation models", MIDL 2024. Which
images are on which side is as in its data sets BACH and BreaKHis of four classes; what it calls
validation is the test side here, since it has no other.
"""

from dataclasses import replace
from pathlib import Path

from distill.downstream.dataset import LabelledImages
from distill.downstream.loaders.bach import load_bach
from distill.downstream.loaders.breakhis import find_breakhis, read_breakhis
from distill.errors import LabelledDataError

BACH_TASK, BREAKHIS_TASK = "bach-eva", "breakhis-eva"
# First and last number of the test images of each class: 132 of the 400.
BACH_TEST = {
    "b": ((42, 59), (61, 90)),
    "is": ((40, 69),),
    "iv": ((41, 58), (61, 73)),
    "n": ((46, 68),),
}
BREAKHIS_TYPES = {
    "TA": "tubular adenoma",
    "F": "fibroadenoma",
    "DC": "ductal carcinoma",
    "MC": "mucinous carcinoma",
}
# Slides without their year; 339 of the 1,471 images at 40X are of them.
BREAKHIS_TEST = (
    *("2773", "3909", "5287", "5695", "15275", "15792", "16184CD", "16716", "16875"),
    *("18842D", "19979", "21998CD", "21998EF", "23060CD"),
)


def load_bach_eva(folder: Path) -> LabelledImages:
    """BACH as `load_bach` reads it, with eva's split by patient: 268 images and 132.

    Raises
    ------
    LabelledDataError
        As `load_bach`; also if the publisher's list has a patient on both sides, or one is empty.
    """
    dataset = load_bach(folder)
    tested = {
        f"{letters}{number:03d}"
        for letters, ranges in BACH_TEST.items()
        for first, last in ranges
        for number in range(first, last + 1)
    }
    splits = ["test" if name in tested else "train" for name in dataset.sample_ids]
    return _divided(replace(dataset, name=BACH_TASK), splits)


def load_breakhis_eva(folder: Path) -> LabelledImages:
    """Four types of tumour of BreakHis at 40X with eva's split by slide: 1,132 images and 339.

    Raises
    ------
    LabelledDataError
        As `distill.downstream.loaders.breakhis.load_breakhis`, or if one side is empty.
    """
    images = [i for i in find_breakhis(folder, "40X") if i.type in BREAKHIS_TYPES]
    names = [BREAKHIS_TYPES[image.type] for image in images]
    dataset = read_breakhis(
        images, names, tuple(BREAKHIS_TYPES.values()), task=BREAKHIS_TASK, magnification="40X"
    )
    tested = [image.slide.split("-")[1] in BREAKHIS_TEST for image in images]
    return _divided(dataset, ["test" if side else "train" for side in tested])


def _divided(dataset: LabelledImages, splits: list[str]) -> LabelledImages:
    sides = {side: splits.count(side) for side in ("train", "test")}
    if 0 in sides.values():
        raise LabelledDataError(
            f"{dataset.name}: of the {len(dataset)} images {sides['train']} are to learn from and "
            f"{sides['test']} to be tested; wanted the whole set under its published names"
        )
    divided = replace(dataset, splits=tuple(splits))
    if divided.astride:
        raise LabelledDataError(
            f"{dataset.name}: patients {', '.join(divided.astride[:5])} are on both sides of eva's "
            f"split; wanted the list of patients as published"
        )
    return divided
