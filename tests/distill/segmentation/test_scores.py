"""Pixel measures by hand and against scikit-learn; unknown pixels and cases."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from distill.segmentation.images import UNKNOWN, ClassImage
from distill.segmentation.scores import score_image, summarise_images

CLASSES = ("stroma", "tumour", "fat")


def random_image(seed: int, case: str) -> tuple[ClassImage, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(-1, 3, (40, 30)).astype(np.int32)
    predicted = np.where(rng.random(classes.shape) < 0.6, classes.clip(0), 0).astype(np.int32)
    pixels = np.zeros((40, 30, 3), np.uint8)
    image = ClassImage(pixels=pixels, classes=classes, name=f"{seed}", case=case, mpp=0.5)
    return image, predicted


def test_pooled_measures_are_those_of_scikit_learn() -> None:
    made = [random_image(seed, case) for seed, case in enumerate("aabbc")]
    summary = summarise_images([score_image(*of, CLASSES) for of in made], CLASSES, resamples=200)
    known = [of.classes != UNKNOWN for of, _ in made]
    truth = np.concatenate([of.classes[k] for (of, _), k in zip(made, known, strict=True)])
    said = np.concatenate([p[k] for (_, p), k in zip(made, known, strict=True)])
    ious = jaccard_score(truth, said, average=None)
    assert summary.miou.value == pytest.approx(ious.mean())
    assert summary.miou_foreground.value == pytest.approx(ious[1:].mean())
    assert [summary.iou[name].value for name in CLASSES] == pytest.approx(ious.tolist())
    dices = f1_score(truth, said, average=None)
    assert [summary.dice[name].value for name in CLASSES] == pytest.approx(dices.tolist())
    assert summary.miou.low < summary.miou.value < summary.miou.high
    assert (summary.n_images, summary.n_cases) == (5, 3)


def test_a_class_that_does_not_occur_does_not_count() -> None:
    image, _ = random_image(0, "a")
    image = replace(image, classes=np.where(image.classes == 2, 0, image.classes).astype(np.int32))
    perfect = score_image(image, image.classes.clip(0), CLASSES)
    summary = summarise_images([perfect], CLASSES)
    assert summary.miou.value == 1
    assert np.isnan(summary.iou["fat"].value)
    assert np.isnan(summary.miou.low)  # one case tells nothing of others


def test_objects_are_pooled_for_f1_and_averaged_for_dice() -> None:
    classes = np.zeros((40, 40), np.int32)
    classes[2:20, 2:20] = 1
    image = ClassImage(
        pixels=np.zeros((40, 40, 3), np.uint8), classes=classes, name="i", case="a", mpp=0.5
    )
    right = score_image(image, classes, CLASSES)
    none = score_image(replace(image, case="b"), np.zeros_like(classes), CLASSES)
    summary = summarise_images([right, none], CLASSES)
    assert summary.object_f1["tumour"].value == pytest.approx(2 / 3)
    assert summary.object_dice["tumour"].value == pytest.approx(0.5)
    assert summary.object_hausdorff_px["tumour"].value == 0  # the other has no distance
    assert summary.object_hausdorff_images["tumour"] == 1
    assert summary.object_images == {"tumour": 2, "fat": 0}
    assert "stroma" not in summary.object_f1
    shifted = score_image(image, np.roll(classes, 3, axis=1), CLASSES)
    moved = summarise_images([shifted], CLASSES)
    assert moved.object_hausdorff_px["tumour"].value == 3
    assert moved.object_hausdorff_um is not None
    assert moved.object_hausdorff_um["tumour"].value == 1.5


def test_a_value_of_one_case_has_no_interval() -> None:
    """Others have neither the class nor an object: resampled, it would be the same each time."""
    classes = np.zeros((40, 40), np.int32)
    pixels = np.zeros((40, 40, 3), np.uint8)
    empty = ClassImage(pixels=pixels, classes=classes, name="e", case="a", mpp=0.5)
    one = replace(empty, classes=classes.copy(), case="b")
    one.classes[2:20, 2:20] = 1
    scores = [score_image(of, np.roll(of.classes, 1, axis=0), CLASSES) for of in (empty, one)]
    scores.append(replace(scores[0], case="c"))
    summary = summarise_images(scores, CLASSES)
    for estimate in (
        summary.iou["tumour"],
        summary.dice["tumour"],
        summary.object_f1["tumour"],
        summary.object_dice["tumour"],
        summary.object_hausdorff_px["tumour"],
    ):
        assert np.isfinite(estimate.value)
        assert np.isnan(estimate.low)
        assert np.isnan(estimate.high)
    assert np.isfinite(summary.iou["stroma"].low)


@pytest.mark.parametrize(("edge_um", "found"), [(4.0, 0), (6.0, 1)])
def test_what_is_a_speck_does_not_depend_on_the_resolution(edge_um: float, found: int) -> None:
    for mpp in (0.25, 0.5, 1.0):
        classes = np.zeros((40, 40), np.int32)
        classes[: round(edge_um / mpp), : round(edge_um / mpp)] = 1
        image = ClassImage(
            pixels=np.zeros((40, 40, 3), np.uint8), classes=classes, name="i", case="a", mpp=mpp
        )
        assert score_image(image, classes, CLASSES).objects["tumour"].found == found


def test_given_objects_go_before_what_lies_apart() -> None:
    classes = np.zeros((40, 40), np.int32)
    classes[2:20, 2:30] = 1
    objects = classes.copy()
    objects[2:20, 16:] *= 2
    image = ClassImage(
        pixels=np.zeros((40, 40, 3), np.uint8),
        classes=classes,
        objects=objects,
        name="i",
        case="a",
    )
    scores = score_image(image, classes, CLASSES).objects["tumour"]
    # One predicted object lies over both of the two that touch, and can find one of them.
    assert (scores.found, scores.invented, scores.missed) == (1, 0, 1)
