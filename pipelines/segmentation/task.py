"""Segmenting a slide block by block, so that a killed run goes on where it was."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from distill.segmentation.segmenter import Segmenter, load_segmenter
from pipelines.nuclei.frame import Block, NucleiFrame
from pipelines.readable import Unreadable
from pipelines.segmentation.block import read_segmented, segment_block, write_segmented
from pipelines.segmentation.lattice import LATTICE, Looked
from wsi.atomic import remove
from wsi.lazy import borrowed
from wsi.ref import SlideRef

PARTIAL = ".partial-segmentation-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What is segmented, where, and with what; travels to where blocks are worked on.

    Attributes
    ----------
    level0_mpp
        µm per level-0 pixel.
    looked
        The windows of the frame that see tissue.
    segmenter, sha256
        Its folder or weights, and the digest of the weights.
    parameters
        What the labels depend on besides slide and tissue.
    folder
        Where the blocks that are done are kept. Its name holds a digest of all that they depend
        on, so none is taken for one of another segmentation.
    """

    ref: SlideRef
    frame: NucleiFrame
    level0_mpp: float
    looked: Looked
    segmenter: Path
    sha256: str
    bfloat16: bool
    parameters: dict[str, Any]
    folder: Path

    def path(self, block: Block) -> Path:
        """Where a block's labels are stored."""
        return self.folder / f"{block.row}-{block.column}.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTask:
    """A block to be segmented."""

    segmentation: Segmentation
    block: Block


def plan_segmentation(
    ref: SlideRef,
    frame: NucleiFrame,
    looked: Looked,
    *,
    level0_mpp: float,
    segmenter: Path,
    sha256: str,
    bfloat16: bool,
    folder: Path,
    made_from: dict[str, Any],
) -> Segmentation:
    """Plan a segmentation whose blocks are kept in the slide's `folder` until it is done.

    `made_from` is what the blocks depend on besides the parameters: the slide's bytes, the code.
    """
    parameters = {
        "mpp": frame.mpp,
        "core_px": frame.core_px,
        "segmenter": sha256,
        "bfloat16": bfloat16,
    }
    windows = hashlib.sha256(looked.tobytes()).hexdigest()
    depends = made_from | parameters | {"level0_mpp": level0_mpp, "windows": windows}
    name = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
    return Segmentation(
        ref=ref,
        frame=frame,
        level0_mpp=level0_mpp,
        looked=looked,
        segmenter=segmenter,
        sha256=sha256,
        bfloat16=bfloat16,
        parameters=parameters,
        folder=folder / f"{PARTIAL}{name}",
    )


def do_block(task: SegmentTask) -> None:
    """Segment and store a block, unless that was done."""
    of, path = task.segmentation, task.segmentation.path(task.block)
    if path.exists():
        return
    segmenter = segmenter_of(of.segmenter, of.sha256)
    with borrowed(of.ref) as slide:
        done = segment_block(
            slide,
            of.frame,
            task.block,
            of.looked,
            segmenter,
            lattice=LATTICE,
            bfloat16=of.bfloat16,
        )
    write_segmented(path, done)


def unreadable_in(of: Segmentation, blocks: Sequence[Block]) -> tuple[Unreadable, ...]:
    """The squares that blocks could not read, each once."""
    squares = {square for block in blocks for square in read_segmented(of.path(block)).unreadable}
    return tuple(sorted(squares, key=lambda square: (square.y, square.x)))


def forget_segmented(folder: Path) -> None:
    """Remove the stored blocks of any segmentation in a slide's folder."""
    for left_over in folder.glob(f"{PARTIAL}*"):
        remove(left_over)


@lru_cache(maxsize=1)
def segmenter_of(path: Path, sha256: str) -> Segmenter:
    """Load a segmenter once a process for each digest of its weights."""
    return load_segmenter(path)
