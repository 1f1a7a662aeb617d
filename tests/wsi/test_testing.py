"""The made-up slides that everything else is tested on."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsi.testing import (
    TRUTH_DOWNSAMPLE,
    Specimen,
    nuclei_crops,
    plan_cohort,
    render,
    tumour_mask,
    write_cohort_slide,
    write_locating_slide,
    write_manifest,
    write_slide,
)

SPECIMEN = Specimen(seed=3, width=1300, height=1100, tumour=True)


def pixels(
    slide: openslide.OpenSlide, x: int, y: int, level: int, size: tuple[int, int]
) -> NDArray[np.int64]:
    return np.asarray(slide.read_region((x, y), level, size))[..., :3].astype(np.int64)


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "made-up.svs", SPECIMEN)


def test_a_slide_shows_its_specimen(slide_path: Path) -> None:
    truth = render(SPECIMEN, x=300, y=200, width=700, height=600).rgb
    with openslide.OpenSlide(slide_path) as slide:
        assert slide.dimensions == (1300, 1100)
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        seen = pixels(slide, 300, 200, 0, (700, 600))
        assert np.abs(seen - truth).mean() < 5
        assert np.abs(seen.mean(axis=(0, 1)) - truth.mean(axis=(0, 1))).max() < 1
        coarse = pixels(slide, 300, 200, 1, (175, 150))
        means = truth.reshape(150, 4, 175, 4, 3).mean(axis=(1, 3))
        assert np.abs(coarse - means).mean() < 5


def test_a_slide_names_somebody_who_does_not_exist(slide_path: Path) -> None:
    with openslide.OpenSlide(slide_path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        for key in ("Patient", "ScanScope ID", "Date", "Time", "User", "Filename"):
            assert slide.properties[f"aperio.{key}"]
        assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
        label = np.asarray(slide.associated_images["label"].convert("L"))
        assert 0.02 < (label < 100).mean() < 0.4  # something is written on it


def test_slides_are_equal_byte_for_byte(slide_path: Path, tmp_path: Path) -> None:
    again = write_slide(tmp_path / "other name.svs", SPECIMEN)
    assert again.read_bytes() == slide_path.read_bytes()


@pytest.fixture(scope="module")
def locating_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "locating.svs"
    return write_locating_slide(path, width=4500, height=3001, mpp=0.25)


def test_locating_pixels_are_exact_at_level_0(locating_path: Path) -> None:
    with openslide.OpenSlide(locating_path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        seen = pixels(slide, 4000, 2500, 0, (500, 501))
    assert (seen[..., 0] == np.arange(4000, 4500) * 256 // 4500).all()
    assert (seen[..., 1] == (np.arange(2500, 3001) * 256 // 3001)[:, None]).all()
    assert (seen[..., 2] == 128).all()


def test_locating_pixels_say_where_a_region_is_at_every_level(locating_path: Path) -> None:
    rng = np.random.default_rng(0)
    with openslide.OpenSlide(locating_path) as slide:
        assert slide.level_count == 3
        for level, downsample in enumerate(slide.level_downsamples):
            for _ in range(10):
                side = int(rng.integers(10, 40))
                x = int(rng.integers(0, 4500 - side * downsample - 20))
                y = int(rng.integers(0, 3001 - side * downsample - 20))
                red, green, _ = pixels(slide, x, y, level, (side, side)).mean(axis=(0, 1))
                step_x, step_y = 4500 / 256, 3001 / 256
                reach = side * downsample / 2
                assert abs((red + 0.5) * step_x - x - reach) < step_x + downsample
                assert abs((green + 0.5) * step_y - y - reach) < step_y + downsample


@pytest.mark.parametrize("patients", [6, 7, 8, 12, 13])
def test_splits_hold_whole_patients_and_both_labels(patients: int, tmp_path: Path) -> None:
    slides = plan_cohort(tmp_path, patients=patients)
    assert len({slide.slide_id for slide in slides}) == len(slides) == 2 * patients
    assert len({slide.specimen.seed for slide in slides}) == len(slides)
    for patient in {slide.patient_id for slide in slides}:
        own = [slide for slide in slides if slide.patient_id == patient]
        assert len({(slide.split, slide.label) for slide in own}) == 1
    for split in ("train", "tune", "test"):
        assert {s.label for s in slides if s.split == split} == {"normal", "tumour"}
    assert all(slide.specimen.tumour == (slide.label == "tumour") for slide in slides)
    large = [slide for slide in slides if slide.specimen.width == 20_000]
    assert [(slide.split, slide.label) for slide in large] == [("test", "tumour")]
    assert pickle.loads(pickle.dumps(slides)) == slides
    assert not list(tmp_path.iterdir())


def test_planning_refuses_too_few_patients(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 6 patients"):
        plan_cohort(tmp_path, patients=5)


def test_a_cohort_is_written_with_its_truth(tmp_path: Path) -> None:
    slides = plan_cohort(
        tmp_path, patients=6, slides_per_patient=1, size_px=600, large_px=1200, seed=4
    )
    for slide in slides:
        write_cohort_slide(slide)
    manifest = write_manifest(tmp_path, slides)
    assert manifest == tmp_path / "manifest.csv"
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "slide_id", "patient_id", "label", "split"]
    assert [row["slide_id"] for row in rows] == [slide.slide_id for slide in slides]
    for row, slide in zip(rows, slides, strict=True):
        with openslide.OpenSlide(tmp_path / row["path"]) as opened:
            assert opened.dimensions == (slide.specimen.width, slide.specimen.height)
        with Image.open(slide.truth_path) as mask:
            assert mask.info["downsample"] == str(TRUTH_DOWNSAMPLE)
            truth = np.asarray(mask)
        assert truth.any() == (row["label"] == "tumour")
        np.testing.assert_array_equal(
            truth, tumour_mask(slide.specimen, downsample=TRUTH_DOWNSAMPLE)
        )
    note = json.loads((tmp_path / "truth" / "truth.json").read_text())
    assert note["downsample"] == TRUTH_DOWNSAMPLE
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_cohort_slide(slides[0])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_nuclei_crops_are_labelled_varied_and_repeatable() -> None:
    rgb, nuclei = nuclei_crops(count=20, size_px=96, seed=1)
    assert rgb.shape == (20, 96, 96, 3)
    assert rgb.dtype == np.uint8
    assert nuclei.shape == (20, 96, 96)
    assert nuclei.dtype == np.int32
    share = (nuclei > 0).mean(axis=(1, 2))
    assert (share > 0).mean() > 0.8
    assert share.std() > 0.03
    assert rgb.mean(axis=(1, 2)).std(axis=0).min() > 3
    again, labels = nuclei_crops(count=9, size_px=96, seed=1)
    np.testing.assert_array_equal(again, rgb[:9])
    np.testing.assert_array_equal(labels, nuclei[:9])
    other, _ = nuclei_crops(count=9, size_px=96, seed=2)
    assert (other != again).any(axis=(1, 2, 3)).all()
