"""The beginning of a slide's conversion: look at it, and lay out all that is known at once."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import zarr

from pipelines.code_version import code_version
from pipelines.conversion.finish import clean, describe
from pipelines.conversion.tasks import Begun, Converted, ConvertJob
from pipelines.errors import UsageError
from pipelines.output import free_bytes
from wsi.atomic import digest, remove, replacing, sweep
from wsi.errors import DiskFullError, MaskError
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.pyramid import write
from wsi.pyramid.parts import Invalid
from wsi.pyramid.plan import PyramidPlan, plan_pyramid
from wsi.resolution import MppSource, Resolution, resolve_mpp
from wsi.slide import Slide
from wsi.source import Source, look_at_source


def begin(job: ConvertJob) -> Begun:
    """Lay out a slide's pyramid, or find out what an interrupted conversion left to do.

    Raises
    ------
    UsageError
        If the result exists and was made differently.
    SlideError, ResolutionError, DiskFullError
        If the slide cannot be read, or its copy has no room.
    """
    started = time.time()
    with open_slide(job.ref) as slide:
        source = look_at_source(job.ref.path)
        made = json.loads(json.dumps(_made_from(job, source)))
        width, height = slide.dimensions
        megapixels = width * height / 1e6
        if job.path.exists() and not job.overwrite:
            return Begun(
                source=source,
                plan=None,
                tissue_mpp=None,
                parts=(),
                invalid=[],
                flags=(),
                megapixels=megapixels,
                started=started,
                finished=_already_there(job, made),
            )
        ref = job.ref
        given_by = MppSource(ref.mpp_source)
        resolution = resolve_mpp(slide.properties, given=ref.mpp, given_by=given_by)
        tiles = find_tiles(ref.path, slide) if job.options.codec == "auto" else None
        plan = plan_pyramid(slide, job.options, tiles)
        _check_room(job, plan)
        missing = [name for name in job.options.associated if name not in slide.associated_images]
        flags = (*resolution.warnings, *(f"no_{name}_image" for name in missing))
        state = job.partial / "plan.json"
        done: dict[str, Invalid] = {}
        if job.resume and state.is_file() and json.loads(state.read_text()) == made:
            sweep(job.partial / "parts")
            done = {p.stem: _read_part(p) for p in (job.partial / "parts").glob("*.json")}
        else:
            _lay_out(job, slide, plan, resolution, made, state)
    tissue = job.partial / "tissue.json"
    is_found = tissue.is_file()
    return Begun(
        source=source,
        plan=replace(plan, copied={}),
        tissue_mpp=None if is_found else resolution.mpp,
        parts=tuple(part for part in plan.parts() if part.part_id not in done),
        invalid=[place for invalid in done.values() for place in invalid],
        flags=(*json.loads(tissue.read_text()), *flags) if is_found else flags,
        megapixels=megapixels,
        started=started,
    )


def _check_room(job: ConvertJob, plan: PyramidPlan) -> None:
    """Refuse to begin a copy that cannot end; what is encoded has a size nobody knows before."""
    needed = sum(int(level.lengths.sum()) for level in plan.copied.values())
    free = free_bytes(job.path.parent)
    if needed > free:
        raise DiskFullError(
            f"{job.path.name} needs about {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free "
            f"in {job.path.parent}: make room, or choose another folder with --out"
        )


def _lay_out(
    job: ConvertJob,
    slide: Slide,
    plan: PyramidPlan,
    resolution: Resolution,
    made: dict[str, Any],
    state: Path,
) -> None:
    """Begin anew: the pyramid without its pixels, and what it is made from."""
    for left_over in job.partial.glob("*"):  # the folder itself is locked by whoever asked
        remove(left_over)
    image = job.partial / "image"
    write.begin(
        image, slide, plan, name=job.ref.slide_id, resolution=resolution, ours={"made_from": made}
    )
    (job.partial / "parts").mkdir()
    with replacing(state) as tmp:
        tmp.write_text(json.dumps(made))


def _made_from(job: ConvertJob, source: Source) -> dict[str, Any]:
    """What the pyramid's bytes depend on."""
    return {
        "source": source.identity,
        "slide_id": job.ref.slide_id,
        "mpp": job.ref.mpp,
        "mpp_source": job.ref.mpp_source,
        "mask": _digest_of_mask(job.ref.mask) if job.ref.mask is not None else None,
        "options": asdict(job.options),
        "code_version": code_version(),
    }


def _digest_of_mask(mask: Path) -> str:
    try:
        return digest(mask)
    except OSError as error:
        raise MaskError(f"tissue mask {mask}: {error}") from error


def _already_there(job: ConvertJob, made: dict[str, Any]) -> Converted:
    known: Any = zarr.open_group(job.path, mode="r").attrs.get("raypath", {})
    if known.get("made_from") != made:
        raise UsageError(
            f"{job.path} exists and was made from another slide, with other settings or by "
            "another version: use --overwrite to replace it, or another folder"
        )
    clean(job)
    return describe(job.path)


def _read_part(path: Path) -> Invalid:
    return [(name, row, column) for name, row, column in json.loads(path.read_text())]
