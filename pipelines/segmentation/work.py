"""Segmenting a slide block by block."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from distill.segmentation.segmenter import Segmenter, load_segmenter
from pipelines.blockwise.frame import Block
from pipelines.blockwise.network import NetworkWork
from pipelines.readable import Unreadable
from pipelines.segmentation.block import read_segmented, segment_block, write_segmented
from pipelines.segmentation.lattice import LATTICE, Looked
from wsi.lazy import borrowed


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationWork(NetworkWork):
    """A segmenter that labels pixels.

    Attributes
    ----------
    looked
        The windows of the frame that see tissue.
    """

    step = "segmentation"
    suffix = ".npz"
    looked: Looked

    def make(self, block: Block) -> None:
        """Segment and store a block."""
        segmenter = segmenter_of(self.network, self.sha256, self.device)
        with borrowed(self.ref) as slide:
            done = segment_block(
                slide,
                self.frame,
                block,
                self.looked,
                segmenter,
                lattice=LATTICE,
                bfloat16=self.bfloat16,
            )
        write_segmented(self.path(block), done)


def unreadable_in(work: SegmentationWork, blocks: Sequence[Block]) -> tuple[Unreadable, ...]:
    """The squares that blocks could not read, each once."""
    squares = {square for block in blocks for square in read_segmented(work.path(block)).unreadable}
    return tuple(sorted(squares, key=lambda square: (square.y, square.x)))


@lru_cache(maxsize=1)
def segmenter_of(path: Path, sha256: str, device: str) -> Segmenter:
    """Load a segmenter once a process for each digest of its weights."""
    return load_segmenter(path, device=device)
