"""Unlabelled tiles for pretraining, drawn evenly from the slides of a cohort."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from distill.teachers.labelled import case_of
from pipelines.cohort.manifest import Entry
from pipelines.errors import UsageError
from pipelines.pretraining.places import Place
from pipelines.steps.look import look
from wsi.errors import NoTissueError, SlideError
from wsi.grid import make_grid
from wsi.open import open_slide
from wsi.plan import TileSpec, plan_read

NAMED = 3  # slides, in a message that is about all


def place_in_slides(
    entries: Sequence[Entry],
    *,
    spec: TileSpec,
    count: int,
    context_px: int = 0,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> list[Place]:
    """Choose tiles at random places of tissue, the same number from each slide.

    Slides of one patient are of one source. There are at most `count` tiles, fewer where slides
    have less tissue; one without room for a single tile has no place. `say` is called with a line
    for each slide without tissue, which has none either.

    Raises
    ------
    UsageError
        If no slide has a place, or one cannot be used; it names that slide.
    """
    cases = [entry.patient_id or case_of(entry.ref.slide_id) for entry in entries]
    sources = np.unique(cases, return_inverse=True)[1].tolist()
    generator = np.random.default_rng(seed)
    each = -(-count // len(entries))
    left = count
    places = []
    for entry, case, source in zip(entries, cases, sources, strict=True):
        try:
            place = _place(entry, spec, min(each, left), context_px, source, generator)
        except NoTissueError as error:
            say(f"{entry.ref.path} is left out: {error}")
            continue
        except SlideError as error:
            raise UsageError(f"{entry.ref.path}: {error}") from error
        left -= len(place)
        if len(place):
            places.append(replace(place, case=case))
    if not places:
        names = ", ".join(entry.ref.slide_id for entry in entries[:NAMED])
        raise UsageError(
            f"{names}{', …' if len(entries) > NAMED else ''}: no tile of {spec.size_px} px at "
            f"{spec.mpp:g} µm with {context_px} px around it has tissue enough: take smaller ones"
        )
    return places


def _place(
    entry: Entry, spec: TileSpec, count: int, context_px: int, source: int, generator: Generator
) -> Place:
    seen = replace(spec, size_px=spec.size_px + 2 * context_px)
    with open_slide(entry.ref) as slide:
        found = look(slide, entry.ref)
        mpp = found.resolution.mpp
        plan = plan_read(seen, level0_mpp=mpp, downsamples=slide.level_downsamples)
        grid = make_grid(dimensions=slide.dimensions, spec=seen, plan=plan, tissue=found.tissue)
    chosen = np.sort(generator.permutation(len(grid.coords))[:count])
    return Place(
        slide=entry.ref,
        coords=grid.coords[chosen] + round(context_px * spec.mpp / mpp),
        numbers=np.zeros(len(chosen), np.int64),
        sources=np.full(len(chosen), source, np.int64),
        spec=spec,
        context_px=context_px,
        level0_mpp=mpp,
    )
