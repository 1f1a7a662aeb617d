"""The files of a cohort: slides that readers open, and a truth that lies on the right pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from benchmarks.cohort.make import load_materials, make_cohort, truth_path
from benchmarks.cohort.paint import BENIGN_TISSUE, MALIGNANT_TISSUE, Materials, paint
from benchmarks.cohort.plan import Layout, SlidePlan, plan_cohort
from benchmarks.slides import MissingDataError
from distill.downstream.dataset import ArrayImages
from distill.errors import LabelledDataError
from pipelines.cohort.manifest import read_manifest
from pipelines.errors import UsageError
from wsi.testing import TRUTH_DOWNSAMPLE

LAYOUT = Layout(sections=1, slides=1)
GREEN, BLUE = (20, 200, 20), (20, 20, 200)


@pytest.fixture(scope="module")
def materials(made_data: Path) -> Materials:
    return load_materials(made_data)


@pytest.fixture(scope="module")
def lesion(materials: Materials) -> SlidePlan:
    plans = plan_cohort(materials.glas, LAYOUT, seed=0)
    (plan,) = [plan for plan in plans if plan.patient_id == "8" and plan.label == "malignant"]
    return plan


@pytest.mark.parametrize("seed", range(6))  # sections lie turned, too
def test_the_truth_lies_on_its_pixels(materials: Materials, lesion: SlidePlan, seed: int) -> None:
    glas = materials.glas
    flat = np.array([GREEN, BLUE], np.uint8)[glas.targets][:, None, None, :]
    images = ArrayImages(np.tile(flat, (1, 450, 450, 1)))
    coloured = replace(materials, glas=replace(glas, images=images))
    painted = paint(replace(lesion, seed=seed, is_inked=False), LAYOUT, coloured)
    middle = slice(TRUTH_DOWNSAMPLE // 2, None, TRUTH_DOWNSAMPLE)
    at_centres = painted.pixels[middle, middle].astype(int)
    looks = {
        kind: np.abs(at_centres - colour).max(axis=-1) < 60
        for kind, colour in ((BENIGN_TISSUE, GREEN), (MALIGNANT_TISSUE, BLUE))
    }
    for kind, look in looks.items():
        stated = painted.truth == kind
        assert stated.sum() > 1000
        assert (stated != look).sum() < 0.01 * stated.sum()  # the soft edge only


def test_ink_darkens_and_never_brightens(materials: Materials, lesion: SlidePlan) -> None:
    clean, inked = (
        paint(replace(lesion, is_inked=flag), LAYOUT, materials) for flag in (False, True)
    )
    assert (inked.pixels <= clean.pixels).all()
    darker = clean.pixels.astype(int) - inked.pixels
    red, green, _ = darker[darker.max(axis=-1) > 60].mean(axis=0)
    assert red > 1.3 * green  # green ink takes red away
    assert (inked.truth == clean.truth).all()


def test_slides_are_as_a_scanner_leaves_them(tmp_path: Path, materials: Materials) -> None:
    plans = make_cohort(tmp_path, materials, LAYOUT, seed=0)
    entries = read_manifest(tmp_path / "manifest.csv")
    assert [(e.patient_id, e.label) for e in entries] == [(p.patient_id, p.label) for p in plans]
    with openslide.OpenSlide(entries[0].ref.path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.properties["openslide.mpp-x"] == "0.5"
        assert slide.level_count == 2
        size = slide.dimensions
    with Image.open(truth_path(tmp_path, plans[0].slide_id)) as truth:
        assert tuple(edge * TRUTH_DOWNSAMPLE for edge in truth.size) == size


def test_another_cohort_is_not_mixed_in(tmp_path: Path, materials: Materials) -> None:
    few = replace(LAYOUT, rows=1, columns=1, lesion_columns=1)
    make_cohort(tmp_path, materials, few, seed=0)
    before = (tmp_path / "slide-000.svs").stat().st_mtime_ns
    make_cohort(tmp_path, materials, few, seed=0)
    assert (tmp_path / "slide-000.svs").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="holds a cohort made otherwise"):
        make_cohort(tmp_path, materials, few, seed=1)


def test_missing_pixels_are_named(tmp_path: Path, made_data: Path) -> None:
    with pytest.raises(MissingDataError, match=r"lacks .*--data"):
        load_materials(tmp_path)
    for name in ("slides", "pen_and_tissue"):
        (tmp_path / name).symlink_to(made_data / name)
    with pytest.raises(LabelledDataError):
        load_materials(tmp_path)
