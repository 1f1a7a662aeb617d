"""The pixels in which a slide's nuclei are looked for, and the blocks they are cut into."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.readable import Box
from wsi.plan import ReadPlan, TileSpec, plan_read
from wsi.slide import Slide
from wsi.tissue import Tissue

# 1728 + 2 × 96 pixels are three windows of 768 whose middle 640 are kept. Larger windows see less
# twice but take more memory: 1024 take 0.8 GB beyond the weights, 512 take 1.7 times as long.
CORE_PX = 1728
MARGIN_PX = 96  # 24 µm at 40×: no nucleus with its centre in a block reaches further out of it
WINDOW_PX = 768  # of the network, see `distill.teachers.predict`
SAME_MPP = 0.1  # relative difference within which pixels are not resampled: nuclei vary more
ENLARGED = 2.1  # a teacher for 40× looks at slides scanned at 20×


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block by its row and column."""

    row: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiFrame:
    """A slide at the resolution its nuclei are looked for at.

    Attributes
    ----------
    mpp, scale
        µm, and level-0 pixels, per pixel of the frame.
    shape
        (height, width) of the slide in pixels of the frame.
    core_px
        Edge of a block without its margin, in pixels of the frame.
    plan
        How pixels of the frame are read: that of a tile of `core_px`.
    """

    mpp: float
    scale: float
    shape: tuple[int, int]
    core_px: int
    plan: ReadPlan

    @property
    def spec(self) -> TileSpec:
        """A block's core as a tile."""
        return TileSpec(size_px=self.core_px, mpp=self.mpp)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        rows, columns = (-(-length // self.core_px) for length in self.shape)
        return rows, columns

    def core(self, block: Block) -> Box:
        """Where a block is, in pixels of the frame, without its margin."""
        left, top = block.column * self.core_px, block.row * self.core_px
        height, width = self.shape
        return left, top, min(left + self.core_px, width), min(top + self.core_px, height)

    def seen(self, block: Block) -> Box:
        """What is read for a block: its core and as much around it as the slide has."""
        left, top, right, bottom = self.core(block)
        height, width = self.shape
        return (
            max(left - MARGIN_PX, 0),
            max(top - MARGIN_PX, 0),
            min(right + MARGIN_PX, width),
            min(bottom + MARGIN_PX, height),
        )

    def neighbours(self, block: Block) -> list[Block]:
        """The up to eight blocks around a block, row by row."""
        rows, columns = self.grid
        return [
            Block(row=row, column=column)
            for row in range(max(block.row - 1, 0), min(block.row + 2, rows))
            for column in range(max(block.column - 1, 0), min(block.column + 2, columns))
            if (row, column) != (block.row, block.column)
        ]


def lay_frame(slide: Slide, *, level0_mpp: float, teacher_mpp: float, core_px: int) -> NucleiFrame:
    """Choose the resolution for a teacher: the slide's own, halved or doubled, if that is near.

    Pixels of the slide's own grid need no resampling, and a teacher bears a tenth of difference;
    otherwise it is the teacher's resolution exactly. Level 0 is enlarged up to `ENLARGED` times.

    Parameters
    ----------
    core_px
        Edge of a block, a multiple of 32: the network then sees every block on the same raster.

    Raises
    ------
    ResolutionError
        If the slide is coarser than that.
    """
    wanted = teacher_mpp / level0_mpp
    halved: float = 2.0 ** round(math.log2(wanted))
    scale = halved if abs(halved / wanted - 1) <= SAME_MPP else wanted
    mpp = level0_mpp * scale
    plan = plan_read(
        TileSpec(size_px=core_px, mpp=mpp),
        level0_mpp=level0_mpp,
        downsamples=slide.level_downsamples,
        enlarged=ENLARGED,
    )
    width, height = (math.ceil(length / scale - 1e-9) for length in slide.dimensions)
    return NucleiFrame(mpp=mpp, scale=scale, shape=(height, width), core_px=core_px, plan=plan)


def blocks_on_tissue(frame: NucleiFrame, tissue: Tissue) -> list[Block]:
    """The blocks with any tissue in their core, row by row."""
    rows, columns = np.nonzero(tissue.mask)
    edge = frame.core_px * frame.scale / tissue.downsample  # of a block, in pixels of the mask
    # A pixel of the mask may lie on two blocks, or four.
    first_and_last = [
        np.stack([np.floor(at / edge), np.ceil((at + 1) / edge) - 1]) for at in (rows, columns)
    ]
    found = {
        (row, column)
        for row_of in first_and_last[0]
        for column_of in first_and_last[1]
        for row, column in np.unique(np.stack([row_of, column_of], 1).astype(int), axis=0).tolist()
    }
    limits = frame.grid
    return [
        Block(row=row, column=column)
        for row, column in sorted(found)
        if row < limits[0] and column < limits[1]
    ]


def on_tissue(x: NDArray[np.float64], y: NDArray[np.float64], tissue: Tissue) -> NDArray[np.bool_]:
    """Which of N points, in level-0 pixels, lie on tissue."""
    height, width = tissue.mask.shape
    rows = np.clip((y / tissue.downsample).astype(np.int64), 0, height - 1)
    columns = np.clip((x / tissue.downsample).astype(np.int64), 0, width - 1)
    return np.asarray(tissue.mask[rows, columns])
