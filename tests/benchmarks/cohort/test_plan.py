"""Slides of one patient each, positive for a reason, and a pen that gives nothing away."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cohort.plan import BENIGN, MALIGNANT, Layout, SlidePlan, plan_cohort
from distill.downstream.dataset import LabelledImages
from distill.downstream.loaders.glas import load_glas

LAYOUT = Layout(slides=2)


@pytest.fixture(scope="module")
def glas(shared_data: Path) -> LabelledImages:
    return load_glas(shared_data / "glas")


@pytest.fixture(scope="module")
def plans(glas: LabelledImages) -> tuple[SlidePlan, ...]:
    return plan_cohort(glas, LAYOUT, seed=0)


def test_a_slide_shows_one_patient_and_is_positive_if_any_image_is(
    glas: LabelledImages, plans: tuple[SlidePlan, ...]
) -> None:
    for plan in plans:
        images = np.concatenate(plan.sections)
        assert {glas.patient_ids[i] for i in images} == {plan.patient_id}  # type: ignore[index]
        assert (plan.label == MALIGNANT) == bool(glas.targets[images].any())


def test_a_lesion_is_a_minority_in_one_section(
    glas: LabelledImages, plans: tuple[SlidePlan, ...]
) -> None:
    both = {"1", "3", "10"}  # patients with images of both classes
    seen = [plan for plan in plans if plan.label == MALIGNANT and plan.patient_id in both]
    assert len(seen) == LAYOUT.slides * len(both)
    for plan in seen:
        malignant = glas.targets[np.array(plan.sections)].sum(axis=1)
        assert sorted(malignant.tolist()) == [0, LAYOUT.rows * LAYOUT.lesion_columns]


def test_a_patient_has_no_more_slides_than_images(
    glas: LabelledImages, plans: tuple[SlidePlan, ...]
) -> None:
    images = Counter(zip(glas.owners.tolist(), glas.targets.tolist(), strict=True))
    slides = Counter((plan.patient_id, int(plan.label == MALIGNANT)) for plan in plans)
    assert slides == {key: min(n, LAYOUT.slides) for key, n in images.items()}
    assert len({plan.slide_id for plan in plans}) == len(plans)


def test_ink_is_as_common_in_both_classes(plans: tuple[SlidePlan, ...]) -> None:
    for label in (BENIGN, MALIGNANT):
        inked = [plan.is_inked for plan in plans if plan.label == label]
        assert abs(2 * sum(inked) - len(inked)) <= 1


def test_a_seed_gives_the_same_slides(glas: LabelledImages, plans: tuple[SlidePlan, ...]) -> None:
    assert plan_cohort(glas, LAYOUT, seed=0) == plans
    assert plan_cohort(glas, LAYOUT, seed=1) != plans
