"""One slide from file to heatmap: what an executor runs for each slide of a cohort."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.blockwise.work import BlockPlan, forget_blocks
from pipelines.cohort.manifest import Entry
from pipelines.embedding.embedders import load_embedders
from pipelines.embedding.work import plan_embedding
from pipelines.job import HandedOut, SlideJob
from pipelines.labels import list_labels
from pipelines.nuclei.density import density_heatmap, density_spec
from pipelines.receipts import RECEIPT_NAME, Receipts
from pipelines.records import SlideRecord
from pipelines.report.preview import PREVIEW_NAME, write_preview
from pipelines.runfolder import IMAGE_NAME, NUCLEI_NAME, TILES_NAME, TISSUE_NAME
from pipelines.steps.embed import embed_slide, is_sparse, lay_grid
from pipelines.steps.look import Look, look
from pipelines.steps.nuclei import (
    DENSITY_OUTPUTS,
    find_slide_nuclei,
    plan_nuclei,
    write_density,
)
from pipelines.steps.opened import Opened
from pipelines.steps.predict import OUTPUTS, predict_slide
from pipelines.steps.pyramid import plan_image, pyramid_parameters, write_image
from pipelines.steps.reuse import CHOOSING, known_tiles, unknown_tiles
from pipelines.steps.segment import plan_segmentation, segment_slide
from pipelines.steps.timing import Timing
from pipelines.tissue_geojson import is_edited, write_tissue
from pipelines.tissue_mask import scanned_corner
from wsi.atomic import digest, sweep
from wsi.errors import MaskError
from wsi.grid import TileGrid
from wsi.identity import content_digest
from wsi.open import open_slide
from wsi.slide import Slide


def run_slide(job: SlideJob) -> SlideRecord | HandedOut:
    """Do everything for one slide, skipping the steps whose receipts match.

    A model without a head ends with the embeddings; without a model there are none. A job that
    `hands_out` ends with a plan where there is more than one block to be done, and else as any.

    Raises
    ------
    RayPathError
        If the slide cannot be used; what earlier steps finished stays in its folder.
    """
    ref, edited = job.entry.ref, _edited_tissue(job)
    with open_slide(ref) as slide:
        embedders = load_embedders(job.config)
        model = embedders[0].model if embedders else None
        seen = look(slide, ref, edited=edited)
        spec = model.encoder.spec if model else density_spec(seen.resolution.mpp)
        grid = lay_grid(slide, seen, spec, job.config)
        source = content_digest(ref.path)
        opened = Opened(
            slide=slide, ref=ref, look=seen, config=job.config, folder=job.folder, source=source
        )
        nuclei = plan_nuclei(opened) if job.config.teacher else None
        classes = plan_segmentation(opened) if job.config.segmenter else None
        receipts = Receipts(folder=job.folder, source=source)
        if edited and receipts.made_from("tissue") not in (None, source):
            raise MaskError(
                f"{edited} was drawn on another slide of this name: remove it, or, where it fits "
                f"this one, the {RECEIPT_NAME} beside it"
            )
        base = _base_parameters(job, seen, mask=edited or ref.mask)
        unembedded = tuple(e for e in embedders if not receipts.holds(e.step, base | e.parameters))
        pyramid = base | pyramid_parameters(job.config)
        if job.hands_out:
            looking = [p for p in (nuclei, classes) if p and not p.is_done(receipts, base)]
            plans: list[BlockPlan[Any, Any]] = [*looking]
            if unembedded:
                new = unknown_tiles(grid, known_tiles(receipts, unembedded, base))
                plans.append(plan_embedding(opened, new, unembedded))
            if not receipts.holds("pyramid", pyramid):
                plans.append(plan_image(opened))
            if shared := tuple(plan for plan in plans if len(plan.blocks) > 1):
                return HandedOut(plans=tuple(plan.sealed() for plan in shared))
        job.folder.mkdir(parents=True, exist_ok=True)
        sweep(job.folder)
        known = {name: value for name, value in base.items() if name not in CHOOSING}
        receipts.forget_others(known, keep=(TISSUE_NAME,))  # which a person may have edited
        receipts.do("tissue", base, (TISSUE_NAME,), partial(_write_tissue, slide, job, seen))
        image = receipts.do("pyramid", pyramid, (IMAGE_NAME,), partial(write_image, opened))
        forget_blocks(job.folder, "pyramid")
        record = _describe(job.entry, slide, seen)
        if model:
            timing = Timing()
            embedded = embed_slide(opened, grid, embedders, unembedded, receipts, base, timing)
            record = _with_embedding(record, embedded, grid, reused=receipts.reused)
            record = replace(record, waited_s=timing.waited_s, worked_s=timing.worked_s)
            if is_sparse(grid, job.config):
                record = replace(record, flags=(*record.flags, "little_tissue"))
        found = find_slide_nuclei(opened, nuclei, receipts, base) if nuclei else {}
        areas = segment_slide(opened, classes, receipts, base) if classes else {}
    density = density_heatmap(job.folder / NUCLEI_NAME, grid) if nuclei else None
    if nuclei:
        record = _with_nuclei(record, found)
    if classes:
        record = replace(record, segmented_mm2=areas["area_mm2"])
    unseen = {
        "looked for nuclei in": found.get("unseen_mm2", 0.0),
        "segmented": areas.get("unseen_mm2", 0.0),
    }
    if problems := _unreadable(image["invalid_tiles"], record, unseen):
        record = replace(record, verdict="partial", reason="unreadable_region", message=problems)
    if model and model.head is not None:
        made_from = {"tiles": digest(job.folder / TILES_NAME), "model": model.sha256}
        made_from |= _made_from_nuclei(job, has_nuclei=nuclei is not None)
        predicted = receipts.do(
            "predict",
            base | embedders[0].parameters | made_from,
            OUTPUTS,
            partial(predict_slide, job.folder, model, slide_id=ref.slide_id, density=density),
        )
        score = predicted["scores"].get(predicted["positive"])  # None without a positive class
        record = replace(record, prediction=predicted["prediction"], score=score)
    elif density:
        receipts.do(
            "density",
            base | _lattice(grid) | _made_from_nuclei(job, has_nuclei=True),
            DENSITY_OUTPUTS,
            partial(write_density, job.folder, density, slide_id=ref.slide_id),
        )
    if any(name.startswith(f"{IMAGE_NAME}/") for name in receipts.forget_stale(base)):
        list_labels(job.folder / IMAGE_NAME)
        receipts.renew("pyramid")
    drawn_from = {"drawn_from": receipts.outputs(receipts.seconds)}
    receipts.do("preview", drawn_from, (PREVIEW_NAME,), partial(_write_preview, job.folder))
    return replace(record, seconds=receipts.seconds, reused=tuple(receipts.reused))


def _edited_tissue(job: SlideJob) -> Path | None:
    """The outline of the tissue, if a person edited it."""
    outline = job.folder / TISSUE_NAME
    return outline if is_edited(outline, slide_id=job.entry.ref.slide_id) else None


def _with_embedding(
    record: SlideRecord, embedded: dict[str, Any], grid: TileGrid, *, reused: list[str]
) -> SlideRecord:
    is_reused = "embed" in reused
    return replace(
        record,
        flags=(*record.flags, *embedded["flags"]),
        n_tiles=embedded["n_tiles"],
        n_invalid_tiles=embedded["n_invalid_tiles"],
        n_excluded_tiles=embedded["n_excluded_tiles"],
        excluded=embedded["excluded"],
        n_reused_tiles=len(grid.coords) if is_reused else embedded["n_reused_tiles"],
    )


def _with_nuclei(record: SlideRecord, found: dict[str, Any]) -> SlideRecord:
    seen_mm2 = (record.tissue_mm2 or 0.0) - found["unseen_mm2"]
    return replace(
        record,
        n_nuclei=found["n_nuclei"],
        nuclei_per_mm2=found["n_nuclei"] / seen_mm2 if seen_mm2 > 0 else None,
    )


def _made_from_nuclei(job: SlideJob, *, has_nuclei: bool) -> dict[str, str]:
    return {"nuclei": digest(job.folder / NUCLEI_NAME)} if has_nuclei else {}


def _lattice(grid: TileGrid) -> dict[str, Any]:
    """What a grid's tiles depend on besides slide and tissue."""
    least = float(grid.tissue_fraction.min())
    return {"tile": asdict(grid.spec), "stride_px": grid.stride_px, "least_tissue": least}


def _base_parameters(job: SlideJob, seen: Look, *, mask: Path | None) -> dict[str, Any]:
    """What every step depends on besides the slide's bytes."""
    return {
        "slide_id": job.entry.ref.slide_id,
        "level0_mpp": seen.resolution.mpp,
        "mpp_source": seen.resolution.source.value,
        "mask": digest(mask) if mask is not None else None,
    }


def _write_tissue(slide: Slide, job: SlideJob, seen: Look) -> dict[str, int]:
    path = job.folder / TISSUE_NAME
    if not is_edited(
        path, slide_id=job.entry.ref.slide_id
    ):  # what a person drew is never overwritten
        origin = scanned_corner(slide)
        write_tissue(path, seen.tissue, slide_id=job.entry.ref.slide_id, origin=origin)
    return {}


def _write_preview(folder: Path) -> dict[str, Any]:
    write_preview(folder)
    return {}


def _describe(entry: Entry, slide: Slide, seen: Look) -> SlideRecord:
    width, height = slide.dimensions
    return SlideRecord(
        slide_id=entry.ref.slide_id,
        path=str(entry.ref.path),
        verdict="ok",
        patient_id=entry.patient_id,
        label=entry.label,
        split=entry.split,
        flags=seen.flags,
        vendor=slide.vendor,
        width=width,
        height=height,
        mpp=seen.resolution.mpp,
        mpp_source=seen.resolution.source.value,
        tissue_mm2=seen.tissue_mm2,
    )


def _unreadable(chunks: int, record: SlideRecord, unseen_mm2: Mapping[str, float]) -> str:
    """What of the slide did not decode, and what that means; empty where all did.

    `unseen_mm2` is the tissue that nobody looked at, by what was to be done there.
    """
    if not (chunks or record.n_invalid_tiles or any(unseen_mm2.values())):
        return ""
    what = []
    if record.n_tiles is not None and record.n_invalid_tiles is not None:
        tiles = record.n_invalid_tiles
        what.append(f"{tiles} of {tiles + record.n_tiles} tiles")
    what.append(f"{chunks} blocks of the image")
    message = (
        f"{' and '.join(what)} do not decode; they are left out of the prediction and marked in "
        "image.ome.zarr/validity/0"
    )
    for done, area in unseen_mm2.items():
        if area:
            message += f"; nobody {done} {area:.2g} mm² of the tissue"
    return message
