"""A slide cut into blocks is segmented as one that is not, to the pixel."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from distill.card import TrainingCard
from distill.segmentation.card import SegmenterCard
from distill.segmentation.network import build_network
from distill.segmentation.segmenter import Segmenter
from distill.segmentation.windows import Lattice
from pipelines.blockwise.frame import BlockFrame, blocks_on_tissue, lay_frame
from pipelines.readable import SQUARE_PX
from pipelines.segmentation.block import SegmentedBlock, segment_block
from pipelines.segmentation.lattice import windows_on_tissue
from wsi.errors import UnreadableRegionError
from wsi.slide import Pixels, Slide
from wsi.tissue import Tissue

LATTICE = Lattice(window_px=96, margin_px=8, ramp_px=16)  # 64 apart
WIDTH, HEIGHT = 300, 230


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """A network with random weights, which sees far beyond the margin: the hardest to join."""
    card = SegmenterCard(
        name="segmentation",
        architecture="mobilenetv3_small_050",
        decoder="unet",
        classes=("a", "b", "c"),
        mpp=0.5,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        weights="",
        sha256="",
        training=TrainingCard(data="none", data_licence="CC0", method="none"),
    )
    net = build_network(card.architecture, card.decoder, outputs=3, seed=1).eval()
    return Segmenter(net=net, card=card)


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 10, WIDTH // 10, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(10, axis=0).repeat(10, axis=1))


def everywhere() -> Tissue:
    return Tissue(mask=np.ones((29, 38), bool), downsample=8.0)


def segment(
    slide: Slide,
    segmenter: Segmenter,
    core_px: int,
    *,
    level0_mpp: float = 0.5,
    tissue: Tissue | None = None,
) -> tuple[NDArray[np.uint8], BlockFrame, list[SegmentedBlock]]:
    """Segment in blocks of a size, and put them side by side."""
    tissue = tissue or everywhere()
    frame = lay_frame(slide, level0_mpp=level0_mpp, network_mpp=0.5, core_px=core_px)
    looked = windows_on_tissue(frame, tissue, LATTICE)
    labels = np.zeros(frame.shape, np.uint8)
    blocks = []
    for block in blocks_on_tissue(frame, tissue):
        left, top, right, bottom = frame.core(block)
        done = segment_block(slide, frame, block, looked, segmenter, lattice=LATTICE)
        labels[top:bottom, left:right] = done.labels
        blocks.append(done)
    return labels, frame, blocks


def test_blocks_leave_no_seam(
    pixels: Pixels, segmenter: Segmenter, array_slide: Callable[[Pixels], Slide]
) -> None:
    slide = array_slide(pixels)
    whole, frame, blocks = segment(slide, segmenter, 320)
    assert frame.grid == (1, 1)
    assert len(np.unique(whole)) == 3
    for core_px in (64, 128, 192):
        cut, frame, blocks = segment(slide, segmenter, core_px)
        assert len(blocks) == frame.grid[0] * frame.grid[1] > 1
        np.testing.assert_array_equal(cut, whole)


def test_blocks_are_the_blend_of_all_windows_of_the_slide(
    pixels: Pixels, segmenter: Segmenter, array_slide: Callable[[Pixels], Slide]
) -> None:
    """Against the plain definition: all windows of the slide, each times its weight, summed."""
    found, _, _ = segment(array_slide(pixels), segmenter, 128)
    total = np.zeros((3, 3 * HEIGHT, 3 * WIDTH))
    canvas = np.full((3 * HEIGHT, 3 * WIDTH, 3), 255, np.uint8)
    canvas[HEIGHT : 2 * HEIGHT, WIDTH : 2 * WIDTH] = pixels
    along = LATTICE.weights()
    for row in range(LATTICE.windows(HEIGHT)):
        for column in range(LATTICE.windows(WIDTH)):
            top, left = HEIGHT + row * 64 - 24, WIDTH + column * 64 - 24
            probs = segmenter.answer(canvas[top : top + 96, left : left + 96])
            kept = probs[:, 8:-8, 8:-8] * along[:, None] * along
            total[:, top + 8 : top + 88, left + 8 : left + 88] += kept
    inside = total[:, HEIGHT : 2 * HEIGHT, WIDTH : 2 * WIDTH]
    np.testing.assert_allclose(inside.sum(0), 1, atol=1e-5)
    first, second = np.sort(inside, axis=0)[-1], np.sort(inside, axis=0)[-2]
    clear = first - second > 1e-4
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(found[clear], inside.argmax(0)[clear] + 1)


def test_resampled_blocks_differ_at_near_ties_only(
    pixels: Pixels, segmenter: Segmenter, array_slide: Callable[[Pixels], Slide]
) -> None:
    slide = array_slide(pixels)
    whole, frame, _ = segment(slide, segmenter, 320, level0_mpp=0.37)
    assert frame.scale == pytest.approx(0.5 / 0.37)
    cut, _, blocks = segment(slide, segmenter, 64, level0_mpp=0.37)
    assert len(blocks) > 4
    assert (cut == whole).mean() > 0.99


def test_what_is_on_tissue_does_not_depend_on_where_else_tissue_is(
    pixels: Pixels, segmenter: Segmenter, array_slide: Callable[[Pixels], Slide]
) -> None:
    """Windows without tissue are not looked at, and none of them weighs in a pixel of tissue."""
    slide = array_slide(pixels)
    whole, frame, _ = segment(slide, segmenter, 128)
    mask = np.zeros((29, 38), bool)
    mask[3:9, 20:24] = True
    some = Tissue(mask=mask, downsample=8.0)
    looked = windows_on_tissue(frame, some, LATTICE)
    assert 0 < looked.sum() < looked.size / 2
    few, _, _ = segment(slide, segmenter, 128, tissue=some)
    on = np.s_[24:72, 160:192]
    np.testing.assert_array_equal(few[on], whole[on])
    assert (few == 0).mean() > 0.5


class Damaged(Slide):
    """A slide of which 40 pixels, at x = 300, do not decode."""

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        self.level_dimensions = slide.level_dimensions
        self.level_downsamples = slide.level_downsamples

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        (x, y), (width, height) = location, size
        if x < 300 < x + width and y < 40 and y + height > 0:
            raise UnreadableRegionError("made to fail")
        return self.slide.read_region(location, level, size)

    def read_associated(self, name: str) -> Pixels:
        raise KeyError(name)

    def close(self) -> None:
        pass


def test_what_does_not_decode_is_not_looked_at(
    segmenter: Segmenter, array_slide: Callable[[Pixels], Slide]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), np.uint8)
    slide = Damaged(array_slide(pixels))
    tissue = Tissue(mask=np.ones((38, 75), bool), downsample=8.0)
    whole, _, blocks = segment(slide, segmenter, 640, tissue=tissue)
    squares = {(u.x, u.y, u.size) for of in blocks for u in of.unreadable}
    above = (SQUARE_PX, -SQUARE_PX, SQUARE_PX)  # reaches into the damage with the filter's margin
    assert squares - {above} == {(SQUARE_PX, 0, SQUARE_PX)}
    unseen = np.zeros((300, 600), bool)
    unseen[:SQUARE_PX, SQUARE_PX : 2 * SQUARE_PX] = True
    np.testing.assert_array_equal(whole == 0, unseen)
    # A block that reads only sound pixels of the square knows nothing of the others.
    cut, _, _ = segment(slide, segmenter, 128, tissue=tissue)
    assert not cut[:40, 300].any()
    assert not (cut == 0)[~unseen].any()
