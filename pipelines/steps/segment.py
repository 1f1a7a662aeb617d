"""Segmentation: a slide's tissue through a segmenter, into labels, outlines and areas."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import dask

from distill.segmentation.card import SegmenterCard, read_segmenter_card
from pipelines.blockwise.frame import Block, blocks_on_tissue
from pipelines.blockwise.work import BlockPlan, forget_blocks
from pipelines.labels import publish_labels
from pipelines.readable import unseen_tissue_mm2
from pipelines.receipts import Receipts
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
from pipelines.segmentation.work import SegmentationWork, unreadable_in
from pipelines.steps.look import Look
from pipelines.steps.opened import Opened
from pipelines.tissue_mask import scanned_corner
from wsi.atomic import digest, replacing
from wsi.labels import label_areas
from wsi.tissue import Tissue

OPACITY = 140  # of a label's colour, 0-255

SegmentationPlan = BlockPlan[SegmentationWork, Block]


def plan_segmentation(opened: Opened) -> SegmentationPlan:
    """Lay the blocks in which the segmenter looks over the slide's tissue.

    Raises
    ------
    ModelError
        If the segmenter cannot be used.
    ResolutionError
        If the slide is too coarse for it.
    """
    segmenter, level0_mpp = opened.config.segmenter, opened.look.resolution.mpp
    assert segmenter is not None  # who calls this has looked
    card = read_segmenter_card(segmenter)
    frame = opened.lay_frame(card.mpp, core_px=CORE_PX)
    looked = windows_on_tissue(frame, opened.look.tissue, LATTICE)
    parameters = {
        "mpp": frame.mpp,
        "core_px": frame.core_px,
        "segmenter": card.model_dump(mode="json", exclude={"training", "weights"}),
        "bfloat16": opened.config.bfloat16,
        **opened.config.where,
    }
    windows = hashlib.sha256(looked.tobytes()).hexdigest()
    work = SegmentationWork(
        ref=opened.ref,
        frame=frame,
        level0_mpp=level0_mpp,
        looked=looked,
        network=segmenter,
        sha256=card.sha256,
        bfloat16=opened.config.bfloat16,
        device=opened.config.device,
        parameters=parameters,
        folder=opened.blocks_folder(SegmentationWork.step, parameters | {"windows": windows}),
    )
    return BlockPlan(work=work, blocks=tuple(blocks_on_tissue(frame, opened.look.tissue)))


def segment_slide(
    opened: Opened, plan: SegmentationPlan, receipts: Receipts, base: dict[str, Any]
) -> dict[str, Any]:
    """Write ``labels/<name>``, areas, outlines and a picture; returns the areas.

    `base` is what the segmentation depends on besides the slide's bytes and the segmenter.
    """
    of, folder, slide = plan.work, opened.folder, opened.slide
    card = read_segmenter_card(of.network)
    label = f"{IMAGE_NAME}/labels/{card.name}"
    labels = partial(_write_labels, folder, plan, card, opened.look.tissue)
    found = receipts.do(of.step, base | of.parameters, (label,), labels)
    if of.step not in receipts.reused:
        receipts.renew("pyramid")
    forget_blocks(folder, of.step)
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
        _write_areas(folder / SEGMENTATION_NAME, of, card, opened.look, found, drawn)
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


def _write_labels(
    folder: Path, plan: SegmentationPlan, card: SegmenterCard, tissue: Tissue
) -> dict[str, Any]:
    """Segment what is not segmented yet, put the blocks together and measure them."""
    of = plan.work
    for block in plan.blocks:
        of.do(block)
    labels = lazy_labels(of, plan.blocks, tissue)
    meanings = dict(enumerate(card.classes, start=1))
    publish_labels(
        folder / IMAGE_NAME,
        card.name,
        labels,
        downsample=of.frame.scale,
        level0_mpp=of.level0_mpp,
        colours={n + 1: (*colour_of(n), OPACITY) for n in range(len(card.classes))},
        meanings=meanings,
        ours={
            "segmenter_sha256": of.sha256,
            "labels": {"0": "not looked at"}
            | {str(value): name for value, name in meanings.items()},
        },
    )
    with dask.config.set(scheduler="synchronous"):
        areas = label_areas(labels, pixel_um=of.frame.mpp)
    by_class = {
        name: areas[n + 1].area_mm2 if n + 1 in areas else 0.0
        for n, name in enumerate(card.classes)
    }
    unseen = unseen_tissue_mm2(tissue, unreadable_in(of, plan.blocks), level0_mpp=of.level0_mpp)
    return {
        "area_mm2": {name: round(area, 6) for name, area in by_class.items()},
        "unseen_mm2": round(unseen, 6),
        "n_blocks": len(plan.blocks),
    }


def _write_areas(
    path: Path,
    of: SegmentationWork,
    card: SegmenterCard,
    look: Look,
    found: dict[str, Any],
    drawn: dict[str, Any],
) -> None:
    areas = found["area_mm2"]
    looked = sum(areas.values())
    said = {
        "slide_id": of.ref.slide_id,
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
        "mpp": of.frame.mpp,
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
