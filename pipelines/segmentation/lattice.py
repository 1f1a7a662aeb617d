"""Which windows of a slide are looked at: those that see tissue in what is kept of them."""

import numpy as np
from numpy.typing import NDArray

from distill.segmentation.windows import Lattice
from pipelines.blockwise.frame import Block, BlockFrame
from wsi.tissue import Tissue

LATTICE = Lattice()
CORE_PX = 8 * LATTICE.stride_px  # edge of a block; a ninth row and column only blend in

Looked = NDArray[np.bool_]


def windows_on_tissue(frame: BlockFrame, tissue: Tissue, lattice: Lattice) -> Looked:
    """Which windows of a frame have any tissue where they weigh anything, (rows, columns).

    A pixel of tissue has all windows that weigh in it, whichever block they are looked at for.
    """
    table = np.zeros(tuple(n + 1 for n in tissue.mask.shape), np.int64)
    table[1:, 1:] = tissue.mask.cumsum(0, dtype=np.int64).cumsum(1)
    edges = []
    for length, limit in zip(frame.shape, tissue.mask.shape, strict=True):
        starts = np.arange(lattice.windows(length)) * lattice.stride_px
        begin = (starts - lattice.ramp_px) * frame.scale / tissue.downsample
        end = (starts + lattice.stride_px) * frame.scale / tissue.downsample
        edges.append(
            [np.clip(f(at), 0, limit).astype(int) for f, at in ((np.floor, begin), (np.ceil, end))]
        )
    (top, bottom), (left, right) = edges
    count = table[np.ix_(bottom, right)] - table[np.ix_(top, right)]
    count += table[np.ix_(top, left)] - table[np.ix_(bottom, left)]
    return np.asarray(count > 0)


def windows_of(looked: Looked, frame: BlockFrame, block: Block, lattice: Lattice) -> Looked:
    """The part of a frame's windows that reach into a block.

    Blocks begin where a window's stride does: `core_px` must be a multiple of it.
    """
    left, top, right, bottom = frame.core(block)
    row, column = top // lattice.stride_px, left // lattice.stride_px
    rows, columns = lattice.windows(bottom - top), lattice.windows(right - left)
    return looked[row : row + rows, column : column + columns]
