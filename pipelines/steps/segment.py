"""Segmentation: a slide's tissue through a segmenter, into labels, outlines and areas."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask

from distill.segmentation.segmenter import SegmenterCard, read_segmenter_card
from pipelines.config import RunConfig
from pipelines.labels import publish_labels
from pipelines.nuclei.frame import Block, blocks_on_tissue, lay_frame
from pipelines.readable import unseen_tissue_mm2
from pipelines.receipts import Receipts, code_version
from pipelines.runfolder import (
    IMAGE_NAME,
    SEGMENTATION_GEOJSON_NAME,
    SEGMENTATION_NAME,
    SEGMENTATION_PICTURE_NAME,
)
from pipelines.segmentation.geojson import write_segmentation_geojson
from pipelines.segmentation.labels import colour_of, lazy_labels
from pipelines.segmentation.lattice import CORE_PX, LATTICE, windows_on_tissue
from pipelines.segmentation.picture import write_segmentation_picture
from pipelines.segmentation.task import (
    Segmentation,
    SegmentTask,
    do_block,
    forget_segmented,
    plan_segmentation,
    unreadable_in,
)
from pipelines.steps.look import Look
from pipelines.tissue_mask import scanned_corner
from wsi.atomic import digest, replacing
from wsi.labels import label_areas
from wsi.ref import SlideRef
from wsi.slide import Slide

SEGMENTATION = "segmentation"  # the step in the receipt
OPACITY = 140  # of a label's colour, 0-255


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationPlan:
    """A segmentation, the segmenter's card, and the blocks it goes through."""

    segmentation: Segmentation
    card: SegmenterCard
    blocks: tuple[Block, ...]


def plan_slide_segmentation(
    slide: Slide, ref: SlideRef, folder: Path, look: Look, config: RunConfig, *, source: str
) -> SegmentationPlan:
    """Lay the blocks over the slide's tissue; `source` is the digest of the slide's bytes.

    Raises
    ------
    ModelError
        If the segmenter cannot be used.
    ResolutionError
        If the slide is too coarse for it.
    """
    assert config.segmenter is not None  # who calls this has looked
    card = read_segmenter_card(config.segmenter)
    frame = lay_frame(slide, level0_mpp=look.resolution.mpp, teacher_mpp=card.mpp, core_px=CORE_PX)
    segmentation = plan_segmentation(
        ref,
        frame,
        windows_on_tissue(frame, look.tissue, LATTICE),
        level0_mpp=look.resolution.mpp,
        segmenter=config.segmenter,
        sha256=card.sha256,
        bfloat16=config.bfloat16,
        folder=folder,
        made_from={"input": source, "code_version": code_version()},
    )
    blocks = tuple(blocks_on_tissue(frame, look.tissue))
    return SegmentationPlan(segmentation=segmentation, card=card, blocks=blocks)


def segment_slide(
    slide: Slide,
    folder: Path,
    plan: SegmentationPlan,
    look: Look,
    receipts: Receipts,
    base: dict[str, Any],
) -> dict[str, Any]:
    """Write ``labels/<name>``, areas, outlines and a picture; returns the areas.

    `base` is what the segmentation depends on besides the slide's bytes and the segmenter.
    """
    of, card = plan.segmentation, plan.card
    label = f"{IMAGE_NAME}/labels/{card.name}"
    labels = partial(_write_labels, folder, plan, look)
    found = receipts.do(SEGMENTATION, base | segmentation_parameters(plan), (label,), labels)
    if SEGMENTATION not in receipts.reused:
        receipts.renew("pyramid")
    forget_segmented(folder)
    made_from = base | {"labels": digest(folder / label), "areas": found}

    def outlines() -> dict[str, Any]:
        drawn = write_segmentation_geojson(
            folder / SEGMENTATION_GEOJSON_NAME,
            folder / IMAGE_NAME,
            card.name,
            card.classes,
            level0_mpp=of.level0_mpp,
            slide_id=of.ref.slide_id,
            origin=scanned_corner(slide),
        )
        _write_areas(folder / SEGMENTATION_NAME, plan, look, found, drawn)
        write_segmentation_picture(
            folder / SEGMENTATION_PICTURE_NAME,
            folder / IMAGE_NAME,
            card.name,
            found["area_mm2"],
            level0_mpp=of.level0_mpp,
            dimensions=slide.dimensions,
            title=of.ref.slide_id,
        )
        return drawn

    outputs = (SEGMENTATION_NAME, SEGMENTATION_GEOJSON_NAME, SEGMENTATION_PICTURE_NAME)
    receipts.do("segmentation_outlines", made_from, outputs, outlines)
    return found


def segmentation_parameters(plan: SegmentationPlan) -> dict[str, Any]:
    """What a slide's labels depend on besides its bytes and its tissue."""
    return plan.segmentation.parameters | {"name": plan.card.name, "classes": plan.card.classes}


def _write_labels(folder: Path, plan: SegmentationPlan, look: Look) -> dict[str, Any]:
    """Segment what is not segmented yet, put the blocks together and measure them."""
    of, card = plan.segmentation, plan.card
    for block in plan.blocks:
        do_block(SegmentTask(segmentation=of, block=block))
    labels = lazy_labels(of, plan.blocks, look.tissue)
    publish_labels(
        folder / IMAGE_NAME,
        card.name,
        labels,
        downsample=of.frame.scale,
        level0_mpp=of.level0_mpp,
        colours={n + 1: (*colour_of(n), OPACITY) for n in range(len(card.classes))},
        ours={
            "segmenter_sha256": of.sha256,
            "labels": {"0": "not looked at"}
            | {str(n + 1): name for n, name in enumerate(card.classes)},
        },
    )
    with dask.config.set(scheduler="synchronous"):
        areas = label_areas(labels, pixel_um=of.frame.mpp)
    by_class = {
        name: areas[n + 1].area_mm2 if n + 1 in areas else 0.0
        for n, name in enumerate(card.classes)
    }
    unseen = unseen_tissue_mm2(
        look.tissue, unreadable_in(of, plan.blocks), level0_mpp=of.level0_mpp
    )
    return {
        "area_mm2": {name: round(area, 6) for name, area in by_class.items()},
        "unseen_mm2": round(unseen, 6),
        "n_blocks": len(plan.blocks),
    }


def _write_areas(
    path: Path,
    plan: SegmentationPlan,
    look: Look,
    found: dict[str, Any],
    drawn: dict[str, Any],
) -> None:
    card, areas = plan.card, found["area_mm2"]
    looked = sum(areas.values())
    said = {
        "slide_id": plan.segmentation.ref.slide_id,
        "name": card.name,
        "classes": [
            {
                "name": name,
                "label": number,
                "area_mm2": area,
                "share_of_looked": round(area / looked, 6) if looked else None,
            }
            for number, (name, area) in enumerate(areas.items(), start=1)
        ],
        "looked_mm2": round(looked, 6),
        "tissue_mm2": round(look.tissue_mm2, 6),
        "unreadable_tissue_mm2": found["unseen_mm2"],
        "mpp": plan.segmentation.frame.mpp,
        "outline_um": drawn["outline_um"],
        "n_outlines": drawn["n_pieces"],
        "segmenter": {
            "architecture": card.architecture,
            "decoder": card.decoder,
            "sha256": card.sha256,
            "licence": card.training.data_licence,
        },
    }
    with replacing(path) as tmp:
        tmp.write_text(json.dumps(said, indent=1, allow_nan=False))
