"""Looking for a slide's nuclei block by block, so that a killed search goes on where it was."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from distill.teachers.teacher import Teacher, load_teacher
from pipelines.nuclei.block import find_nuclei, read_found, write_found
from pipelines.nuclei.frame import Block, NucleiFrame
from pipelines.nuclei.merge import merge_blocks
from pipelines.nuclei.table import NucleiInfo, write_nuclei
from pipelines.readable import Unreadable, unseen_tissue_mm2
from pipelines.tissue_mask import scanned_corner
from wsi.atomic import remove
from wsi.lazy import borrowed
from wsi.ref import SlideRef
from wsi.slide import Slide
from wsi.tissue import Tissue

PARTIAL = ".partial-nuclei-"


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiSearch:
    """What is looked for, where, and with what; travels to where blocks are worked on.

    Attributes
    ----------
    level0_mpp
        µm per level-0 pixel.
    teacher, teacher_sha256
        Its folder or weights, and the digest of the weights.
    parameters
        What the nuclei depend on besides the slide.
    folder
        Where the blocks that are done are kept. Its name holds a digest of all that they depend
        on, so none is taken for one of another search.
    """

    ref: SlideRef
    frame: NucleiFrame
    level0_mpp: float
    teacher: Path
    teacher_sha256: str
    bfloat16: bool
    parameters: dict[str, Any]
    folder: Path

    def path(self, block: Block) -> Path:
        """Where a block's nuclei are stored."""
        return self.folder / f"{block.row}-{block.column}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTask:
    """A block to be searched."""

    search: NucleiSearch
    block: Block


def plan_search(
    ref: SlideRef,
    frame: NucleiFrame,
    *,
    level0_mpp: float,
    teacher: Path,
    teacher_sha256: str,
    thresholds: dict[str, Any],
    bfloat16: bool,
    folder: Path,
    made_from: dict[str, Any],
) -> NucleiSearch:
    """Plan a search whose blocks are kept in the slide's `folder` until it is done.

    `made_from` is what the blocks depend on besides the parameters: the slide's bytes, the code.
    """
    parameters = {
        "mpp": frame.mpp,
        "core_px": frame.core_px,
        "teacher": teacher_sha256,
        "thresholds": thresholds,
        "bfloat16": bfloat16,
    }
    key = json.dumps(made_from | parameters | {"level0_mpp": level0_mpp}, sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return NucleiSearch(
        ref=ref,
        frame=frame,
        level0_mpp=level0_mpp,
        teacher=teacher,
        teacher_sha256=teacher_sha256,
        bfloat16=bfloat16,
        parameters=parameters,
        folder=folder / f"{PARTIAL}{name}",
    )


def search_block(task: BlockTask) -> None:
    """Find and store the nuclei of a block, unless that was done."""
    search, path = task.search, task.search.path(task.block)
    if path.exists():
        return
    teacher = teacher_of(search.teacher, search.teacher_sha256)
    with borrowed(search.ref) as slide:
        found = find_nuclei(slide, search.frame, task.block, teacher, bfloat16=search.bfloat16)
    write_found(path, found)


def join_blocks(
    slide: Slide, search: NucleiSearch, blocks: Sequence[Block], tissue: Tissue, path: Path
) -> dict[str, Any]:
    """Search what is not searched yet, and write `nuclei.parquet`; returns what there is."""
    for block in blocks:
        search_block(BlockTask(search=search, block=block))
    unreadable: list[Unreadable] = []

    def groups() -> Iterator[tuple[Block, pa.Table]]:
        yield from merge_blocks(
            search.frame, blocks, lambda block: read_found(search.path(block)), tissue
        )

    for block in blocks:
        unreadable += read_found(search.path(block)).unreadable
    info = NucleiInfo(
        slide_id=search.ref.slide_id,
        scale=search.frame.scale,
        mpp=search.frame.mpp,
        shape=search.frame.shape,
        level0_mpp=search.level0_mpp,
        dimensions=slide.dimensions,
        origin=scanned_corner(slide),
        core_px=search.frame.core_px,
        blocks=(),
        teacher_sha256=search.teacher_sha256,
        unreadable=tuple(unreadable),
    )
    count = write_nuclei(path, groups(), info)
    unseen_mm2 = unseen_tissue_mm2(tissue, unreadable, level0_mpp=search.level0_mpp)
    return {"n_nuclei": count, "n_blocks": len(blocks), "unseen_mm2": round(unseen_mm2, 6)}


def forget_blocks(folder: Path) -> None:
    """Remove the stored blocks of any search in a slide's folder."""
    for left_over in folder.glob(f"{PARTIAL}*"):
        remove(left_over)


@lru_cache(maxsize=1)
def teacher_of(path: Path, sha256: str) -> Teacher:
    """Load a teacher once a process for each digest of its weights."""
    return load_teacher(path)
