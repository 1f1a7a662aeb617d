"""One block of a slide: read, looked at window by window, blended, and stored as labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.segmentation.segmenter import Segmenter
from distill.segmentation.windows import Lattice, blend_rows
from pipelines.blockwise.frame import Block, BlockFrame
from pipelines.readable import SQUARE_PX, Unreadable, read_known
from pipelines.segmentation.lattice import Looked, windows_of
from wsi.atomic import replacing
from wsi.slide import Pixels, Slide

Labels = NDArray[np.uint8]

NOT_LOOKED = 0  # label of a pixel nobody looked at; class number k is label k + 1
WHOLE = 1 - 1e-3  # sum of the weights of a pixel that all of its windows answered


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedBlock:
    """Labels (H, W) of a block's core, and what in or around it did not decode."""

    labels: Labels
    unreadable: tuple[Unreadable, ...]


def segment_block(
    slide: Slide,
    frame: BlockFrame,
    block: Block,
    looked: Looked,
    segmenter: Segmenter,
    *,
    lattice: Lattice,
    bfloat16: bool = False,
) -> SegmentedBlock:
    """Label a block's pixels with the most probable class.

    Parameters
    ----------
    looked
        The windows of the whole frame that are looked at, see `windows_on_tissue`. Pixels that
        others weigh in are `NOT_LOOKED`, and so is what does not decode.
    """
    left, top, right, bottom = frame.core(block)
    shape = (bottom - top, right - left)
    windows = windows_of(looked, frame, block, lattice)
    labels = np.full(shape, NOT_LOOKED, np.uint8)
    if not windows.any():
        return SegmentedBlock(labels=labels, unreadable=())
    pixels, bad = _read(slide, frame, (left, top), windows, lattice)
    strips = blend_rows(
        lambda window: segmenter.answer(window, bfloat16=bfloat16),
        pixels,
        lattice,
        shape=shape,
        outputs=len(segmenter.card.classes),
        looked=windows,
    )
    for first, probs in strips:
        answered = probs.sum(0) > WHOLE
        of_strip = np.where(answered, probs.argmax(0) + 1, NOT_LOOKED)
        labels[first : first + probs.shape[1]] = of_strip
    for x, y in bad:
        x, y = x - left, y - top
        labels[max(y, 0) : max(y + SQUARE_PX, 0), max(x, 0) : max(x + SQUARE_PX, 0)] = NOT_LOOKED
    return SegmentedBlock(
        labels=labels,
        unreadable=tuple(
            Unreadable(x=x * frame.scale, y=y * frame.scale, size=SQUARE_PX * frame.scale)
            for x, y in bad
        ),
    )


def write_segmented(path: Path, done: SegmentedBlock) -> None:
    """Store a block; the file is there whole or not at all."""
    squares = np.array([(u.x, u.y, u.size) for u in done.unreadable]).reshape(-1, 3)
    with replacing(path) as tmp, tmp.open("wb") as stream:
        np.savez_compressed(stream, labels=done.labels, unreadable=squares)


def read_segmented(path: Path) -> SegmentedBlock:
    """Read what `write_segmented` wrote."""
    with np.load(path) as stored:
        return SegmentedBlock(
            labels=stored["labels"],
            unreadable=tuple(
                Unreadable(x=x, y=y, size=size) for x, y, size in stored["unreadable"].tolist()
            ),
        )


def _read(
    slide: Slide,
    frame: BlockFrame,
    corner: tuple[int, int],
    windows: Looked,
    lattice: Lattice,
) -> tuple[Pixels, list[tuple[int, int]]]:
    """What a block's windows see, and the corners (x, y) in the frame of what does not decode.

    Of windows that nobody looks at nothing is read, as far as they lie outside all others.
    """
    rows, columns = (np.flatnonzero(windows.any(axis)) for axis in (1, 0))
    stride = lattice.stride_px
    height, width = ((n - 1) * stride + lattice.window_px for n in windows.shape)
    pixels = np.zeros((height, width, 3), np.uint8)
    first = (columns[0] * stride, rows[0] * stride)
    last = (columns[-1] * stride + lattice.window_px, rows[-1] * stride + lattice.window_px)
    left, top = (int(at) - lattice.before_px for at in corner)
    box = (left + first[0], top + first[1], left + last[0], top + last[1])
    seen, bad = read_known(
        slide,
        (int(box[0]), int(box[1]), int(box[2]), int(box[3])),
        spec=frame.spec,
        plan=frame.plan,
        scale=frame.scale,
    )
    pixels[first[1] : last[1], first[0] : last[0]] = seen
    return pixels, [(int(x + box[0]), int(y + box[1])) for x, y in bad]
