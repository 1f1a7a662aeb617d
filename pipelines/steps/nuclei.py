"""Nuclei: a slide's tissue through the teacher, into a table, outlines, labels and a density."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distill.teachers.teacher import read_teacher_card
from pipelines.config import RunConfig
from pipelines.heatmap import Heatmap, write_heatmap
from pipelines.nuclei.frame import CORE_PX, Block, blocks_on_tissue, lay_frame
from pipelines.nuclei.geojson import write_nuclei_geojson
from pipelines.nuclei.labels import LABEL, write_nuclei_labels
from pipelines.nuclei.search import NucleiSearch, forget_blocks, join_blocks, plan_search
from pipelines.picture import write_picture
from pipelines.receipts import Receipts, code_version
from pipelines.runfolder import HEATMAP_NAME, IMAGE_NAME, NUCLEI_GEOJSON_NAME, NUCLEI_NAME
from pipelines.steps.look import Look
from wsi.atomic import digest, replacing
from wsi.ref import SlideRef
from wsi.slide import Slide

PICTURE_NAME = "heatmap.png"
DENSITY_OUTPUTS = (HEATMAP_NAME, PICTURE_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiPlan:
    """A search for nuclei, and the blocks it goes through."""

    search: NucleiSearch
    blocks: tuple[Block, ...]


def plan_nuclei(
    slide: Slide, ref: SlideRef, folder: Path, look: Look, config: RunConfig, *, source: str
) -> NucleiPlan:
    """Lay the blocks over the slide's tissue; `source` is the digest of the slide's bytes.

    Raises
    ------
    ModelError
        If the teacher cannot be used.
    ResolutionError
        If the slide is too coarse for it.
    """
    assert config.teacher is not None  # who calls this has looked
    card = read_teacher_card(config.teacher)
    frame = lay_frame(slide, level0_mpp=look.resolution.mpp, teacher_mpp=card.mpp, core_px=CORE_PX)
    search = plan_search(
        ref,
        frame,
        level0_mpp=look.resolution.mpp,
        teacher=config.teacher,
        teacher_sha256=card.sha256,
        thresholds=card.thresholds.model_dump(),
        bfloat16=config.bfloat16,
        folder=folder,
        made_from={"input": source, "code_version": code_version()},
    )
    return NucleiPlan(search=search, blocks=tuple(blocks_on_tissue(frame, look.tissue)))


def find_slide_nuclei(
    slide: Slide,
    folder: Path,
    plan: NucleiPlan,
    look: Look,
    receipts: Receipts,
    base: dict[str, Any],
) -> dict[str, Any]:
    """Write `nuclei.parquet`, `nuclei.geojson` and ``labels/nuclei``; returns what was found.

    `base` is what the nuclei depend on besides the slide's bytes and the teacher.
    """
    table = folder / NUCLEI_NAME
    parameters = base | plan.search.parameters
    found = receipts.do(
        "nuclei",
        parameters,
        (NUCLEI_NAME,),
        partial(join_blocks, slide, plan.search, plan.blocks, look.tissue, table),
    )
    forget_blocks(folder)
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
    write_picture(folder / PICTURE_NAME, folder / IMAGE_NAME, heatmap, title=slide_id)
    return {}
