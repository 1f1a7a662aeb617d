"""How well a teacher segments images whose nuclei are known."""

from collections.abc import Sequence

from distill.errors import LabelledDataError
from distill.metrics import Scores, score
from distill.teachers.labelled import Labelled
from distill.teachers.teacher import Teacher


def evaluate_teacher(
    teacher: Teacher, images: Sequence[Labelled], *, turns: int = 8
) -> list[tuple[Labelled, Scores]]:
    """Each image with its scores, averaging over `turns` turned and mirrored views; slides have 1.

    Images whose nuclei are not all told apart are passed over.

    Raises
    ------
    LabelledDataError
        If that leaves none.
    """
    complete = [image for image in images if image.complete]
    if not complete:
        raise LabelledDataError(
            f"none of the {len(images)} images has all its nuclei told apart: nothing to measure by"
        )
    found = (teacher.segment(image.pixels, mpp=image.mpp, turns=turns) for image in complete)
    return [(image, score(image.instances, of)) for image, of in zip(complete, found, strict=True)]
