"""A planned slide as pixels, and which of them are benign and malignant tissue."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks.cohort.plan import MALIGNANT, PIECE_PX, Layout, SlidePlan
from benchmarks.slides import Mosaic, Pieces, turn
from distill.downstream.dataset import LabelledImages
from distill.resample import resample
from wsi.slide import Pixels
from wsi.testing import TRUTH_DOWNSAMPLE

MPP, MAGNIFICATION = 0.5, 20  # what the encoders look at; GlaS has 0.62 and is enlarged to it
INK_ENLARGED = 2  # pictures of ink are of coarser levels, and blurred already
FEATHER_PX = 2.0  # by which a section's edge is softened
NO_TISSUE, BENIGN_TISSUE, MALIGNANT_TISSUE = 0, 128, 255  # grey values of the truth

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What slides are made of.

    Attributes
    ----------
    glas
        Images with class and owner.
    background
        Squares of empty slide.
    inks
        Pictures of ink on empty slide, (H, W, 3).
    """

    glas: LabelledImages
    background: tuple[Pixels, ...]
    inks: tuple[Pixels, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """A slide: level 0, (H, W, 3), and its truth, (H, W) / `TRUTH_DOWNSAMPLE`, in grey values."""

    pixels: Pixels
    truth: NDArray[np.uint8]


def paint(plan: SlidePlan, layout: Layout, materials: Materials) -> Painted:
    """Paint a slide: background, a section in each part of its width, and ink if there is any."""
    random = np.random.default_rng(plan.seed)
    longer = max(layout.columns, layout.rows) * PIECE_PX
    part, height = longer + PIECE_PX, 2 * longer
    width = part * layout.sections
    empty = Pieces(tissue=(), background=materials.background)
    slide = Mosaic(empty, width, height, tissue_share=0.0, seed=plan.seed)
    pixels = slide.read_block(0, 0, width, height)
    truth = np.full((height // TRUTH_DOWNSAMPLE, width // TRUTH_DOWNSAMPLE), NO_TISSUE, np.uint8)
    corners = []
    for number, images in enumerate(plan.sections):
        section, classes, inside = _section(images, layout, materials.glas, random)
        rows, columns = inside.shape
        left, top = (
            int(random.integers(room // TRUTH_DOWNSAMPLE + 1)) * TRUTH_DOWNSAMPLE
            for room in (part - columns, height - rows)
        )
        left += number * part
        corners.append((left, top, columns, rows))
        _blend(pixels[top : top + rows, left : left + columns], section, inside)
        at = tuple(
            slice(start // TRUTH_DOWNSAMPLE, (start + size) // TRUTH_DOWNSAMPLE)
            for start, size in ((top, rows), (left, columns))
        )
        middle = slice(TRUTH_DOWNSAMPLE // 2, None, TRUTH_DOWNSAMPLE)
        truth[at] = np.where(inside, classes, NO_TISSUE)[middle, middle]
    if plan.is_inked:
        _mark(pixels, corners[random.integers(len(corners))], materials.inks, random)
    return Painted(pixels=pixels, truth=truth)


def _section(
    images: tuple[int, ...], layout: Layout, glas: LabelledImages, random: np.random.Generator
) -> tuple[Pixels, NDArray[np.uint8], NDArray[np.bool_]]:
    """An island: its pixels, the class of each as a grey value, and where it is tissue."""
    shape = (layout.rows, layout.columns)
    pieces = [_piece(image, glas, random) for image in images]
    section = np.block(
        [[[pieces[row * layout.columns + column]] for column in range(shape[1])]
         for row in range(shape[0])]
    )  # fmt: skip
    malignant = glas.targets[list(images)].reshape(shape) == glas.classes.index(MALIGNANT)
    classes = np.where(malignant, MALIGNANT_TISSUE, BENIGN_TISSUE).astype(np.uint8)
    classes = classes.repeat(PIECE_PX, axis=0).repeat(PIECE_PX, axis=1)
    inside = _island(classes.shape[0], classes.shape[1], random)
    turns = int(random.integers(4))
    turned = [np.rot90(of, turns) for of in (section, classes, inside)]
    return turned[0], turned[1], turned[2]


def _piece(image: int, glas: LabelledImages, random: np.random.Generator) -> Pixels:
    """A square of an image at `MPP`, turned and mirrored."""
    pixels = resample(glas.images.read(image), glas.mpp / MPP)
    y, x = (int(random.integers(side - PIECE_PX + 1)) for side in pixels.shape[:2])
    return turn(pixels[y : y + PIECE_PX, x : x + PIECE_PX], random)


def _island(height: int, width: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """A rounded rectangle with an uneven edge, (height, width)."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    angle = np.arctan2(y[:, None], x[None, :])
    phases = random.uniform(0, 2 * np.pi, 4).astype(np.float32)
    waves = [np.sin(n * angle + phase) / n for n, phase in zip((2, 3, 5, 9), phases, strict=True)]
    reach = 0.94 + 0.055 * np.asarray(sum(waves))
    return np.asarray((y**4)[:, None] + (x**4)[None, :] < reach**4)


def _blend(under: Pixels, over: Pixels, inside: NDArray[np.bool_]) -> None:
    """Lay `over` on `under`, in place, where it is `inside`."""
    share = ndimage.gaussian_filter(inside.astype(np.float32), FEATHER_PX)[..., None]
    under[:] = np.rint(under * (1 - share) + over * share).astype(np.uint8)


def _mark(
    pixels: Pixels,
    section: tuple[int, int, int, int],
    inks: tuple[Pixels, ...],
    random: np.random.Generator,
) -> None:
    """Draw over the edge of a section, (left, top, width, height), in place.

    Ink lets light through like a filter on the glass, so what it passes is multiplied.
    """
    ink = turn(inks[random.integers(len(inks))], random)
    picture = Image.fromarray(ink)
    picture = picture.resize((ink.shape[1] * INK_ENLARGED, ink.shape[0] * INK_ENLARGED))
    passed: Floats = np.asarray(picture, np.float32)
    passed = np.minimum(passed / np.quantile(passed, 0.98, axis=(0, 1)), 1)
    passed = 1 - (1 - passed) * _fading(passed.shape[0], passed.shape[1])[..., None]
    left, top, columns, rows = section
    x = int(random.choice([left, left + columns])) - passed.shape[1] // 2
    y = top + int(random.integers(rows)) - passed.shape[0] // 2
    under = pixels[max(y, 0) : y + passed.shape[0], max(x, 0) : x + passed.shape[1]]
    passed = passed[max(-y, 0) :, max(-x, 0) :][: under.shape[0], : under.shape[1]]
    under[:] = np.rint(under * passed).astype(np.uint8)


def _fading(height: int, width: int) -> Floats:
    """1 within, falling to 0 at the border, (height, width): a stroke ends, it is not cut."""
    sides = [np.sin(np.linspace(0, np.pi, n)) ** 2 for n in (height, width)]
    return np.asarray(np.minimum(1, 3 * np.minimum(sides[0][:, None], sides[1][None, :])))
