"""How well a segmenter does on labelled images, and which of them it has learned from."""

from collections.abc import Sequence
from pathlib import Path

from distill.downstream.loaders.layout import read_table
from distill.errors import LabelledDataError
from distill.segmentation.images import ClassImages
from distill.segmentation.scores import ImageScores, score_image
from distill.segmentation.segmenter import Segmenter
from distill.segmentation.train import SPLIT_NAME


def evaluate_segmenter(
    segmenter: Segmenter, data: ClassImages, *, turns: int = 1, bfloat16: bool = False
) -> list[ImageScores]:
    """Score each image at its own resolution.

    Raises
    ------
    LabelledDataError
        If the images' classes are not those of the segmenter.
    """
    if data.classes != segmenter.card.classes:
        raise LabelledDataError(
            f"the images have the classes {', '.join(data.classes)} and the segmenter "
            f"{', '.join(segmenter.card.classes)}: names and order must be the same"
        )
    return [
        score_image(
            image,
            segmenter.segment(image.pixels, mpp=image.mpp, turns=turns, bfloat16=bfloat16),
            data.classes,
        )
        for image in data.images
    ]


def cases_seen(weights: Path, cases: Sequence[str]) -> frozenset[str]:
    """Which cases the segmenter was trained on or its weights were chosen by, as `split.csv` says.

    Trained on are also those whose images it labelled itself.
    Patients are told by their name alone: two sets that number them alike are taken for one.
    """
    path = (weights.parent if weights.is_file() else weights) / SPLIT_NAME
    if not path.is_file():
        return frozenset()
    rows = read_table(path, ("image", "case", "split"), task="split")
    return frozenset(row["case"] for row in rows) & frozenset(cases)
