"""Ink is told from tissue on real pictures: boxes (left, top, right, bottom) drawn by eye."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi.ink import find_ink
from wsi.open import open_slide
from wsi.overview import Overview, read_overview
from wsi.slide import Pixels
from wsi.tissue import find_tissue, overview_downsample

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a person sees in a picture of about `mpp` µm a pixel."""

    name: str
    mpp: float
    ink: tuple[Box, ...]
    tissue: tuple[Box, ...] = ()


# The files do not say their resolution: it is judged by nuclei, fat cells and the pen's width.
MARKED = [
    Seen(
        name="pil-images-rgb__diagnostic-slide-thumb-rgb",  # red, green and black, partly on tissue
        mpp=50,
        ink=(
            (35, 430, 45, 465),
            (118, 38, 130, 48),
            (230, 28, 240, 36),
            (380, 88, 388, 96),
            (452, 265, 458, 285),
            (84, 118, 92, 126),
            (205, 265, 212, 285),
            (388, 330, 396, 336),
            (300, 452, 330, 462),
            (264, 146, 272, 154),
        ),
        tissue=(
            (140, 110, 190, 150),
            (215, 410, 275, 435),
            (290, 220, 320, 250),
            (390, 360, 420, 372),
            (365, 110, 395, 135),
            (250, 50, 290, 58),
        ),
    ),
    Seen(
        name="pil-images-rgb__tcga-green-pen",
        mpp=4,
        ink=((360, 30, 420, 60), (200, 470, 240, 560), (280, 470, 310, 560), (290, 160, 340, 220)),
        tissue=(
            (500, 300, 700, 500),
            (60, 110, 190, 150),
            (350, 420, 500, 470),
            (20, 560, 90, 620),
        ),
    ),
    Seen(
        name="pil-images-rgb__tcga-red-pen",
        mpp=4,
        ink=((60, 260, 130, 320), (110, 110, 150, 150), (60, 160, 120, 240), (110, 190, 130, 230)),
        tissue=((300, 100, 460, 180), (350, 230, 460, 330), (330, 380, 460, 440)),
    ),
    Seen(
        name="pil-images-rgb__wsi-blue-pen",
        mpp=60,
        ink=((153, 67, 174, 74), (152, 105, 159, 130), (160, 0, 174, 2)),
        tissue=((95, 15, 118, 45), (55, 75, 85, 88), (15, 70, 28, 78)),
    ),
    Seen(
        name="tiles__medium-nuclei-score-green-pen-level1",
        mpp=2,
        ink=(
            (20, 70, 60, 130),
            (470, 100, 511, 200),
            (330, 100, 400, 200),
            (160, 100, 220, 200),
            (240, 190, 300, 230),
        ),
        tissue=((300, 330, 500, 420), (240, 440, 340, 490), (350, 400, 440, 440)),
    ),
    Seen(
        name="tiles__high-nuclei-score-red-pen-level1",  # and a fold, which is tissue
        mpp=2,
        ink=((240, 20, 290, 80), (250, 165, 310, 225)),
        tissue=((20, 300, 200, 500), (20, 20, 180, 200), (380, 100, 500, 230), (20, 245, 220, 280)),
    ),
    Seen(
        name="tiles__no-tissue-red-pen",  # dark where two strokes cross
        mpp=2,
        ink=((0, 100, 180, 200), (200, 260, 340, 310), (350, 330, 500, 480), (100, 300, 200, 340)),
    ),
    Seen(
        name="tiles__very-low-nuclei-score-red-pen-level1",  # faint, over fat
        mpp=2,
        ink=(
            (270, 400, 340, 500),
            (150, 380, 220, 430),
            (370, 220, 470, 290),
            (160, 220, 200, 260),
        ),
    ),
    Seen(name="tiles__no-tissue-green-pen", mpp=2, ink=((150, 150, 400, 300), (20, 300, 40, 330))),
]


def picture(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("seen", MARKED, ids=lambda seen: seen.name)
def test_ink_is_no_tissue_and_tissue_no_ink(shared_data: Path, seen: Seen) -> None:
    pixels = picture(shared_data / "pen_and_tissue" / f"{seen.name}.png")
    ink = find_ink(pixels, pixel_um=seen.mpp)
    found = find_tissue(Overview(pixels=pixels, downsample=1.0), level0_mpp=seen.mpp)
    assert "pen_marks" in found.flags
    for left, top, right, bottom in seen.ink:
        box = np.s_[top:bottom, left:right]
        assert ink[box].mean() > 0.95, (left, top)
        assert found.mask[box].mean() < 0.03, (left, top)
    for left, top, right, bottom in seen.tissue:
        box = np.s_[top:bottom, left:right]
        assert ink[box].mean() < 0.03, (left, top)
        assert found.mask[box].mean() > 0.85, (left, top)


@pytest.mark.parametrize("name", ["no-tissue-red-pen", "no-tissue-green-pen"])
def test_glass_with_nothing_but_ink_is_nearly_blank(shared_data: Path, name: str) -> None:
    pixels = picture(shared_data / "pen_and_tissue" / f"tiles__{name}.png")
    found = find_tissue(Overview(pixels=pixels, downsample=1.0), level0_mpp=2.0)
    assert found.mask.mean() < 0.03


UNMARKED: list[tuple[str, str, float]] = [
    ("pen_and_tissue", "tiles__tissue-level2*", 4.0),
    ("pen_and_tissue", "tiles__*-level0*", 0.5),
    ("pen_and_tissue", "tiles__*nuclei-score-level1*", 2.0),
    ("pen_and_tissue", "tiles__*nuclei-score-level2*", 4.0),
    ("pen_and_tissue", "tiles__kidney*", 20.0),
    ("pen_and_tissue", "tiles__liver*", 8.0),
    ("pen_and_tissue", "*tcga-lung*", 0.5),
    ("pen_and_tissue", "*white*", 2.0),
    ("pen_and_tissue", "tiles__no-tissue-line*", 2.0),  # the edge of a coverslip, black and thin
    ("pen_and_tissue", "tiles__no-tissue*[e2].png", 2.0),
    ("glas", "**/*.jpg", 0.62),
    ("monuseg/images", "*.webp", 0.25),
    ("dsb2018_he/images", "*.*", 0.25),
    ("crc_val_sample", "*.*", 0.5),
]


@pytest.mark.parametrize(("folder", "pattern", "mpp"), UNMARKED)
def test_no_picture_without_a_pen_is_said_to_have_one(
    shared_data: Path, folder: str, pattern: str, mpp: float
) -> None:
    paths = sorted((shared_data / folder).glob(pattern))
    assert paths
    marked = [p.name for p in paths if find_ink(picture(p), pixel_um=mpp).any()]
    assert marked == []


SLIDES = [
    ("CMU-1-Small-Region.svs", 0.499, (0.3, 0.45)),
    ("multi_frame_jpeg_camelyon_challenge_image.dcm", 28.97, (0.18, 0.3)),
    ("kidney-48-5.tif", 10.0, (0.002, 0.006)),
]


@pytest.mark.parametrize(("name", "mpp", "share"), SLIDES)
def test_real_slides(shared_data: Path, name: str, mpp: float, share: tuple[float, float]) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        downsample = overview_downsample(slide.dimensions, level0_mpp=mpp)
        found = find_tissue(read_overview(slide, downsample=downsample), level0_mpp=mpp)
    assert found.flags == ()
    assert share[0] < found.mask.mean() < share[1]
