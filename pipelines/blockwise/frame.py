"""The pixels in which a network looks at a slide, and the square blocks they are cut into."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.resample import SAME_MPP
from pipelines.readable import Box
from wsi.plan import ReadPlan, TileSpec, plan_read
from wsi.slide import Slide
from wsi.tissue import Tissue

ENLARGED = 2.1  # a teacher for 40× looks at slides scanned at 20×


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block by its row and column."""

    row: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFrame:
    """A slide at the resolution a network looks at it.

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

    def seen(self, block: Block, *, margin_px: int) -> Box:
        """What is read for a block: its core and as much around it as the slide has."""
        left, top, right, bottom = self.core(block)
        height, width = self.shape
        return (
            max(left - margin_px, 0),
            max(top - margin_px, 0),
            min(right + margin_px, width),
            min(bottom + margin_px, height),
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


def lay_frame(slide: Slide, *, level0_mpp: float, network_mpp: float, core_px: int) -> BlockFrame:
    """Choose the resolution for a network: the slide's own, halved or doubled, if that is near.

    Pixels of the slide's own grid need no resampling, and a network bears a tenth of difference;
    otherwise it is the network's own exactly. Level 0 is enlarged up to `ENLARGED` times.

    Parameters
    ----------
    core_px
        Edge of a block, a multiple of 32: the network then sees every block on the same raster.

    Raises
    ------
    ResolutionError
        If the slide is coarser than that.
    """
    wanted = network_mpp / level0_mpp
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
    return BlockFrame(mpp=mpp, scale=scale, shape=(height, width), core_px=core_px, plan=plan)


def blocks_on_tissue(frame: BlockFrame, tissue: Tissue) -> list[Block]:
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
