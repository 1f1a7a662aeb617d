"""Looking for a slide's nuclei block by block, and joining what the blocks found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from distill.teachers.teacher import Teacher, load_teacher
from pipelines.blockwise.frame import Block
from pipelines.blockwise.network import NetworkWork
from pipelines.nuclei.block import find_nuclei, read_found, write_found
from pipelines.nuclei.merge import merge_blocks
from pipelines.nuclei.table import NucleiInfo, write_nuclei
from pipelines.readable import Unreadable, unseen_tissue_mm2
from pipelines.tissue_mask import scanned_corner
from wsi.lazy import borrowed
from wsi.slide import Slide
from wsi.tissue import Tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiWork(NetworkWork):
    """A teacher that looks for nuclei."""

    step = "nuclei"
    suffix = ".parquet"

    def make(self, block: Block) -> None:
        """Find and store the nuclei of a block."""
        teacher = teacher_of(self.network, self.sha256, self.device)
        with borrowed(self.ref) as slide:
            found = find_nuclei(slide, self.frame, block, teacher, bfloat16=self.bfloat16)
        write_found(self.path(block), found)


def join_blocks(
    slide: Slide, work: NucleiWork, blocks: Sequence[Block], tissue: Tissue, path: Path
) -> dict[str, Any]:
    """Do the blocks that are not done yet, and write `nuclei.parquet`; returns what there is."""
    for block in blocks:
        work.do(block)
    unreadable: list[Unreadable] = []

    def groups() -> Iterator[tuple[Block, pa.Table]]:
        yield from merge_blocks(
            work.frame, blocks, lambda block: read_found(work.path(block)), tissue
        )

    for block in blocks:
        unreadable += read_found(work.path(block)).unreadable
    info = NucleiInfo(
        slide_id=work.ref.slide_id,
        scale=work.frame.scale,
        mpp=work.frame.mpp,
        shape=work.frame.shape,
        level0_mpp=work.level0_mpp,
        dimensions=slide.dimensions,
        origin=scanned_corner(slide),
        core_px=work.frame.core_px,
        blocks=(),
        teacher_sha256=work.sha256,
        unreadable=tuple(unreadable),
    )
    count = write_nuclei(path, groups(), info)
    unseen_mm2 = unseen_tissue_mm2(tissue, unreadable, level0_mpp=work.level0_mpp)
    return {"n_nuclei": count, "n_blocks": len(blocks), "unseen_mm2": round(unseen_mm2, 6)}


@lru_cache(maxsize=1)
def teacher_of(path: Path, sha256: str, device: str) -> Teacher:
    """Load a teacher once a process for each digest of its weights."""
    return load_teacher(path, device=device)
