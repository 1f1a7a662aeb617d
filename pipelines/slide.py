"""One slide from file to heatmap: what an executor runs for each slide of a cohort."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.manifest import Entry
from pipelines.model import Model, load_model
from pipelines.receipts import Receipts
from pipelines.records import SlideRecord
from pipelines.runfolder import IMAGE_NAME, TILES_NAME, TISSUE_NAME
from pipelines.steps.embed import embed_slide, is_sparse, lay_grid
from pipelines.steps.look import Look, look
from pipelines.steps.predict import OUTPUTS, predict_slide
from pipelines.steps.reuse import known_tiles
from pipelines.tissue_geojson import is_edited, write_tissue
from pipelines.tissue_mask import scanned_corner
from wsi.atomic import digest, replacing, sweep
from wsi.identity import content_digest
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.write import write_pyramid
from wsi.slide import Slide


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideJob:
    """A slide to work on, the folder for its results, and the settings."""

    entry: Entry
    folder: Path
    config: RunConfig


def run_slide(job: SlideJob) -> SlideRecord:
    """Do everything for one slide, skipping the steps whose receipts match.

    A model without a head ends with the embeddings.

    Raises
    ------
    RayPathError
        If the slide cannot be used; what earlier steps finished stays in its folder.
    """
    ref = job.entry.ref
    outline = job.folder / TISSUE_NAME
    edited = outline if is_edited(outline, slide_id=ref.slide_id) else None
    with open_slide(ref) as slide:
        model = load_model(job.config.model)
        seen = look(slide, ref, edited=edited)
        grid = lay_grid(slide, seen, model.encoder, job.config)
        job.folder.mkdir(parents=True, exist_ok=True)
        sweep(job.folder)
        receipts = Receipts(folder=job.folder, source=content_digest(ref.path))
        base = _base_parameters(job, seen, mask=edited or ref.mask)
        receipts.do("tissue", base, (TISSUE_NAME,), partial(_write_tissue, slide, job, seen))
        image = receipts.do(
            "pyramid",
            base | {"codec": job.config.codec},
            (IMAGE_NAME,),
            partial(_write_image, slide, job, seen),
        )
        embedding = base | _embedding_parameters(job.config, model)

        def embed() -> dict[str, Any]:
            return embed_slide(
                slide,
                job.folder / TILES_NAME,
                name=ref.slide_id,
                look=seen,
                grid=grid,
                model=model,
                config=job.config,
                known=known_tiles(receipts, embedding),
            )

        embedded = receipts.do("embed", embedding, (TILES_NAME,), embed)
        record = _describe(job.entry, slide, seen)
        record = replace(record, flags=(*record.flags, *embedded["flags"]))
        if is_sparse(grid, job.config):
            record = replace(record, flags=(*record.flags, "little_tissue"))
    if image["invalid_tiles"] or embedded["n_invalid_tiles"]:
        message = _unreadable(image["invalid_tiles"], embedded)
        record = replace(record, verdict="partial", reason="unreadable_region", message=message)
    if model.head is not None:
        made_from = {"tiles": digest(job.folder / TILES_NAME), "model": model.sha256}
        predicted = receipts.do(
            "predict",
            embedding | made_from,
            OUTPUTS,
            partial(predict_slide, job.folder, model, slide_id=ref.slide_id),
        )
        score = predicted["scores"][predicted["positive"]]
        record = replace(record, prediction=predicted["prediction"], score=score)
    is_reused = "embed" in receipts.reused
    return replace(
        record,
        n_tiles=embedded["n_tiles"],
        n_invalid_tiles=embedded["n_invalid_tiles"],
        n_excluded_tiles=embedded["n_excluded_tiles"],
        excluded=embedded["excluded"],
        n_reused_tiles=len(grid.coords) if is_reused else embedded["n_reused_tiles"],
        seconds=receipts.seconds,
        reused=tuple(receipts.reused),
    )


def _base_parameters(job: SlideJob, seen: Look, *, mask: Path | None) -> dict[str, Any]:
    """What every step depends on besides the slide's bytes."""
    return {
        "slide_id": job.entry.ref.slide_id,
        "mpp": seen.resolution.mpp,
        "mpp_source": seen.resolution.source.value,
        "mask": digest(mask) if mask is not None else None,
    }


def _embedding_parameters(config: RunConfig, model: Model) -> dict[str, Any]:
    return {
        "encoder": model.card.encoder.model_dump(),
        "tile": model.card.tile.model_dump(),
        "stride_px": config.stride_px,
        "min_tissue_fraction": config.min_tissue_fraction,
        "quality": config.quality.model_dump(),
        "preprocess": config.preprocess,
        "feature_dtype": config.feature_dtype,
    }


def _write_tissue(slide: Slide, job: SlideJob, seen: Look) -> dict[str, int]:
    path = job.folder / TISSUE_NAME
    if not is_edited(
        path, slide_id=job.entry.ref.slide_id
    ):  # what a person drew is never overwritten
        origin = scanned_corner(slide)
        write_tissue(path, seen.tissue, slide_id=job.entry.ref.slide_id, origin=origin)
    return {}


def _write_image(slide: Slide, job: SlideJob, seen: Look) -> dict[str, int]:
    ref = job.entry.ref
    with replacing(job.folder / IMAGE_NAME) as tmp:
        written = write_pyramid(
            slide,
            tmp,
            name=ref.slide_id,
            resolution=seen.resolution,
            tissue=seen.tissue,
            tiles=find_tiles(ref.path, slide) if job.config.codec == "auto" else None,
            options=PyramidOptions(codec=job.config.codec),
        )
    return {"invalid_tiles": written.invalid_tiles}


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


def _unreadable(chunks: int, embedded: dict[str, Any]) -> str:
    tiles = embedded["n_invalid_tiles"]
    return (
        f"{tiles} of {tiles + embedded['n_tiles']} tiles and {chunks} blocks of the image do not "
        "decode; they are left out of the prediction and marked in image.ome.zarr/validity/0"
    )
