"""What is remembered of a training on labelled images, and what another one is refused for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.segmentation.settings import SegmenterSettings
from distill.teachers.labelled import Labelled
from distill.teachers.train import TeacherSettings
from distill.teachers.watch import BEST_NAME, CHECKPOINT_NAME
from distill.train import Schedule
from pipelines.errors import UsageError
from pipelines.training.labelled import JOB_NAME, begin_training
from tests.distill.segmentation.made import image_of

SETTINGS = TeacherSettings(encoder="resnet10t", schedule=Schedule(steps=5))
IMAGE = Labelled(
    pixels=np.zeros((4, 5, 3), np.uint8),
    instances=np.zeros((4, 5), np.int32),
    name="a",
    case="ann",
)
SEGMENTER = SegmenterSettings(encoder="resnet10t", schedule=Schedule(steps=5), mpp=0.5)


def changed(image: Labelled, what: str) -> Labelled:
    array = getattr(image, what).copy()
    array[1, 2] = 1
    return replace(image, **{what: array})


@pytest.mark.parametrize(
    ("settings", "images", "more", "differing"),
    [
        (replace(SETTINGS, seed=1), [IMAGE], {}, r"settings\.seed 0 instead of 1"),
        (replace(SETTINGS, validation=0.3), [IMAGE], {}, r"settings\.validation 0\.2 instead"),
        (replace(SETTINGS, mpp=0.5), [IMAGE], {}, r"settings\.mpp"),
        (
            replace(SETTINGS, schedule=Schedule(steps=5, minutes=3)),
            [IMAGE],
            {},
            r"settings\.schedule\.minutes None instead of 3",
        ),
        (SETTINGS, [IMAGE, IMAGE], {}, r"data\.made\.images 1 instead of 2"),
        (SETTINGS, [replace(IMAGE, case="bo")], {}, r"data\.made\.sha256"),
        (SETTINGS, [replace(IMAGE, mpp=0.5)], {}, r"data\.made\.sha256"),
        (SETTINGS, [changed(IMAGE, "pixels")], {}, r"data\.made\.sha256"),
        (SETTINGS, [changed(IMAGE, "instances")], {}, r"data\.made\.sha256"),
        (SETTINGS, [IMAGE], {"clumps_by": "abc"}, r"clumps_by None instead of abc"),
    ],
)
def test_another_training_is_not_gone_on_with(
    tmp_path: Path,
    settings: TeacherSettings,
    images: list[Labelled],
    more: dict[str, Any],
    differing: str,
) -> None:
    begin_training(tmp_path, SETTINGS, {"made": [IMAGE]}, resume=False, clumps_by=None)
    kept = (tmp_path / JOB_NAME).read_text()
    with pytest.raises(UsageError, match=rf"holds another training \({differing}"):
        begin_training(
            tmp_path, settings, {"made": images}, resume=True, **({"clumps_by": None} | more)
        )
    assert (tmp_path / JOB_NAME).read_text() == kept
    begin_training(tmp_path, SETTINGS, {"made": [IMAGE]}, resume=True, clumps_by=None)


def test_what_does_not_decide_a_training_may_change(tmp_path: Path) -> None:
    begin_training(tmp_path, SETTINGS, {"made": [IMAGE]}, resume=False)
    there = replace(SETTINGS, workers=7, half=True)
    begin_training(tmp_path, there, {"made": [IMAGE]}, resume=True)


def test_a_segmenters_data_is_remembered_too(tmp_path: Path) -> None:
    begin_training(tmp_path, SEGMENTER, {"made": [image_of(0)]}, resume=False)
    begin_training(
        tmp_path, replace(SEGMENTER, device="cuda"), {"made": [image_of(0)]}, resume=True
    )
    with pytest.raises(UsageError, match=r"data\.made\.sha256"):
        begin_training(tmp_path, SEGMENTER, {"made": [image_of(1)]}, resume=True)


def test_a_new_training_forgets_where_the_last_one_was(tmp_path: Path) -> None:
    """Killed before its first check, it would otherwise go on from the last one's weights."""
    names = (CHECKPOINT_NAME, BEST_NAME)
    stale = [folder / name for folder in (tmp_path, tmp_path / "round-1") for name in names]
    others = tmp_path / "other" / CHECKPOINT_NAME
    for path in (*stale, others):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    begin_training(tmp_path, SETTINGS, {"made": [IMAGE]}, resume=True)
    assert all(path.exists() for path in stale)
    begin_training(tmp_path, SETTINGS, {"made": [IMAGE]}, resume=False)
    assert not any(path.exists() for path in stale)
    assert others.exists()
