"""Nuclei: a slide's tissue through the teacher, into a table, outlines, labels and a density."""

from functools import partial
from pathlib import Path
from typing import Any

from distill.teachers.card import read_teacher_card
from pipelines.blockwise.frame import Block, blocks_on_tissue
from pipelines.blockwise.work import BlockPlan, forget_blocks
from pipelines.heatmaps.ome_zarr import Heatmap, write_heatmap
from pipelines.heatmaps.picture import write_picture
from pipelines.nuclei.block import CORE_PX
from pipelines.nuclei.geojson import write_nuclei_geojson
from pipelines.nuclei.labels import LABEL, write_nuclei_labels
from pipelines.nuclei.work import NucleiWork, join_blocks
from pipelines.receipts import Receipts
from pipelines.runfolder import (
    HEATMAP_NAME,
    HEATMAP_PICTURE_NAME,
    IMAGE_NAME,
    NUCLEI_GEOJSON_NAME,
    NUCLEI_NAME,
)
from pipelines.steps.opened import Opened
from wsi.atomic import digest, replacing

DENSITY_OUTPUTS = (HEATMAP_NAME, HEATMAP_PICTURE_NAME)

NucleiPlan = BlockPlan[NucleiWork, Block]


def plan_nuclei(opened: Opened) -> NucleiPlan:
    """Lay the blocks in which the teacher looks over the slide's tissue.

    Raises
    ------
    ModelError
        If the teacher cannot be used.
    ResolutionError
        If the slide is too coarse for it.
    """
    teacher = opened.config.teacher
    assert teacher is not None  # who calls this has looked
    card = read_teacher_card(teacher)
    frame = opened.lay_frame(card.mpp, core_px=CORE_PX)
    parameters = {
        "mpp": frame.mpp,
        "core_px": frame.core_px,
        "teacher": card.sha256,
        "thresholds": card.thresholds.model_dump(),
        "bfloat16": opened.config.bfloat16,
        **opened.config.where,
    }
    work = NucleiWork(
        ref=opened.ref,
        frame=frame,
        level0_mpp=opened.look.resolution.mpp,
        network=teacher,
        sha256=card.sha256,
        bfloat16=opened.config.bfloat16,
        device=opened.config.device,
        parameters=parameters,
        folder=opened.blocks_folder(NucleiWork.step, parameters),
    )
    return BlockPlan(work=work, blocks=tuple(blocks_on_tissue(frame, opened.look.tissue)))


def find_slide_nuclei(
    opened: Opened, plan: NucleiPlan, receipts: Receipts, base: dict[str, Any]
) -> dict[str, Any]:
    """Write `nuclei.parquet`, `nuclei.geojson` and ``labels/nuclei``; returns what was found.

    `base` is what the nuclei depend on besides the slide's bytes and the teacher.
    """
    folder, work = opened.folder, plan.work
    table = folder / NUCLEI_NAME
    found = receipts.do(
        work.step,
        base | work.parameters,
        (NUCLEI_NAME,),
        partial(join_blocks, opened.slide, work, plan.blocks, opened.look.tissue, table),
    )
    forget_blocks(folder, work.step)
    made_from = {"nuclei": digest(table)}

    def outlines() -> dict[str, Any]:
        return {"n_nuclei": write_nuclei_geojson(folder / NUCLEI_GEOJSON_NAME, table)}

    receipts.do("nuclei_geojson", made_from, (NUCLEI_GEOJSON_NAME,), outlines)

    def labels() -> dict[str, Any]:
        write_nuclei_labels(folder / IMAGE_NAME, table)
        return {}

    receipts.do("nuclei_labels", made_from, (f"{IMAGE_NAME}/labels/{LABEL}",), labels)
    if "nuclei_labels" not in receipts.reused:
        receipts.renew("pyramid")
    return found


def write_density(folder: Path, heatmap: Heatmap, *, slide_id: str) -> dict[str, Any]:
    """Write the density as the slide's heatmap, and draw it."""
    with replacing(folder / HEATMAP_NAME) as tmp:
        write_heatmap(tmp, heatmap, name=f"{slide_id} nuclei per mm²")
    write_picture(folder / HEATMAP_PICTURE_NAME, folder / IMAGE_NAME, heatmap, title=slide_id)
    return {}
