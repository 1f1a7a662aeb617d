"""The pieces that `measure` tries; apart, because they load the networks' libraries."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cluster.serial import SerialExecutor
from pipelines.check.measure import Fixed, Rates
from pipelines.check.tissue import drawn_tissue
from pipelines.cohort.manifest import Entry
from pipelines.embedding.embedders import load_embedders
from pipelines.embedding.tiles import part_of
from pipelines.model import load_model
from pipelines.records import read_records
from pipelines.report.report import write_report
from pipelines.run import run_cohort
from pipelines.runfolder import IMAGE_NAME, RECORDS_NAME, SLIDES_NAME, tiles_name
from pipelines.settings.config import RunConfig
from pipelines.steps.embed import embed_grid, lay_grid
from pipelines.steps.look import Look, look
from pipelines.steps.opened import Opened
from pipelines.steps.timing import Timing
from wsi.errors import SlideError
from wsi.identity import stored_bytes
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.pyramid import write
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.plan import plan_pyramid
from wsi.ref import SlideRef
from wsi.slide import Slide
from wsi.testing import Specimen, write_slide

WARM_TILES = 8  # embedded before the clock starts
TRIED_TILES = 96
PYRAMID_S = 5.0  # after which no further part of a pyramid is tried
MADE_PX = 1536  # edge of the made-up slide
BY_AREA = ("nuclei", "segmentation")  # steps that take as long as there is tissue


def try_made_up(folder: Path, config: RunConfig) -> Fixed:
    """Run a small made-up slide twice in `folder`.

    Raises
    ------
    RayPathError
        If it fails.
    """
    mpp = load_model(config.model).encoder.spec.mpp if config.model else 0.5
    path = write_slide(
        folder / "made.svs", Specimen(seed=1, width=MADE_PX, height=MADE_PX, mpp=mpp)
    )
    entry = Entry(ref=SlideRef.of(path))
    seconds = []
    for number in (1, 2):
        out = folder / str(number)
        started = time.perf_counter()
        run_cohort([entry], out, config, SerialExecutor())
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    write_report(out)
    report_seconds = time.perf_counter() - started
    (record,) = read_records(out / RECORDS_NAME)
    if record.verdict == "failed":
        raise SlideError(f"the made-up slide fails: {record.message}")
    slide = out / SLIDES_NAME / entry.ref.slide_id
    by_area = sum(record.seconds.get(step, 0.0) for step in BY_AREA)
    area_files = sum(stored_bytes(p) or 0 for p in slide.glob("*") if _goes_by_area(p.name))
    names = (IMAGE_NAME, *map(tiles_name, config.models))
    pieces = sum(stored_bytes(slide / name) or 0 for name in names)
    area = record.tissue_mm2 or 1.0
    return Fixed(
        start_seconds=max(seconds[0] - seconds[1], 0.0),
        slide_seconds=max(
            seconds[1] - report_seconds - by_area - record.seconds.get("embed", 0.0), 0.0
        ),
        slide_bytes=float((stored_bytes(slide) or 0) - pieces - area_files),
        report_seconds=report_seconds,
        mm2_seconds=by_area / area,
        mm2_bytes=area_files / area,
        peak_bytes=0,
    )


def _goes_by_area(name: str) -> bool:
    return name.startswith(("nuclei.", "segmentation."))


def try_slide(folder: Path, config: RunConfig, entry: Entry, results: Path | None = None) -> Rates:
    """Embed some tiles of a slide and write some of its pyramid, in `folder`.

    `results` is where the run puts the slide's files, see `drawn_tissue`.

    Raises
    ------
    RayPathError
        If the slide cannot be used.
    """
    slide_id = entry.ref.slide_id
    with open_slide(entry.ref) as slide, drawn_tissue(results, slide_id=slide_id) as drawn:
        seen = look(slide, entry.ref, edited=drawn)
        tile_seconds, tile_bytes = _try_tiles(folder, slide, config, entry, seen)
        tiles = find_tiles(entry.ref.path, slide) if config.codec == "auto" else None
        plan = plan_pyramid(slide, PyramidOptions(codec=config.codec), tiles)
        started = time.perf_counter()
        image = folder / "image"
        write.begin(image, slide, plan, name="tried", resolution=seen.resolution)
        begun = stored_bytes(image) or 0
        parts, done = list(plan.parts()), 0
        # A fixed share of them from all over the slide: edges hold less than the middle.
        order = np.random.default_rng(0).permutation(len(parts))
        with ThreadPoolExecutor(1) as pool:
            for number in order:
                write.write_part(image, parts[number], slide, pool)
                done += 1
                if time.perf_counter() - started > PYRAMID_S:
                    break
        seconds = time.perf_counter() - started
        width, height = slide.dimensions
    megapixels = width * height / 1e6 * done / len(parts)
    return Rates(
        tile_seconds=tile_seconds,
        tile_bytes=tile_bytes,
        megapixel_seconds=seconds / megapixels,
        megapixel_bytes=((stored_bytes(image) or 0) - begun) / megapixels,
        is_copied=bool(plan.copied),
        peak_bytes=0,
    )


def _try_tiles(
    folder: Path, slide: Slide, config: RunConfig, entry: Entry, seen: Look
) -> tuple[float, float]:
    """Seconds and bytes a tile, of some tiles in the middle of the slide's."""
    embedders = load_embedders(config)
    if not embedders:
        return 0.0, 0.0
    grid = lay_grid(slide, seen, embedders[0].model.encoder.spec, config)
    opened = Opened(
        slide=slide, ref=entry.ref, look=seen, config=config, folder=folder, source="tried"
    )
    for count in (WARM_TILES, TRIED_TILES):
        few = part_of(grid, _in_the_middle(len(grid.coords), count))
        started = time.perf_counter()
        embedded = embed_grid(opened, few, embedders, Timing())
        for embedder in embedders:
            embedded.write(embedder)
        seconds = time.perf_counter() - started
    size = sum((folder / embedder.file).stat().st_size for embedder in embedders)
    return seconds / len(few.coords), size / len(few.coords)


def _in_the_middle(n: int, count: int) -> slice:
    """At most `count` of `n` numbers, neighbours as a run reads them."""
    count = min(count, n)
    start = (n - count) // 2
    return slice(start, start + count)
