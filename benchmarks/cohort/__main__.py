"""Slides made of GlaS images through `raypath run` and `raypath mil`, and what they are worth.

python -m benchmarks.cohort OUT --data DATA [--encoders ENCODERS] [--only rckd-resnet18 ...]

DATA holds ``glas``, ``pen_and_tissue`` and ``slides``; ENCODERS holds model folders named
``<objective>-<architecture>``. Without encoders the slides alone are made. What is there already
is not made again.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.cohort.control import mean_colour
from benchmarks.cohort.make import load_materials, make_cohort
from benchmarks.cohort.measure import SLIDES_NAME, Protocol, measure_encoder
from benchmarks.cohort.plan import Layout
from benchmarks.pretraining.candidates import Candidate, find_candidates
from benchmarks.slides import DATA
from distill.downstream.statistics import RESAMPLES
from distill.errors import ModelError
from pipelines.mil.heads.registry import HEADS
from wsi.errors import RayPathError


def main(arguments: Sequence[str] | None = None) -> None:
    """Make, measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoders", type=Path, help="folder of model folders")
    parser.add_argument("--only", nargs="+", help="names of model folders; not given, all")
    parser.add_argument("--heads", nargs="+", choices=tuple(HEADS), default=Protocol().heads)
    parser.add_argument("--divisions", type=int, default=Protocol().divisions)
    parser.add_argument("--folds", type=int, default=Protocol().folds)
    parser.add_argument("--epochs", type=int, default=Protocol().epochs)
    parser.add_argument("--seed", type=int, default=0, help="of the slides")
    parser.add_argument("--slides", type=int, default=Layout().slides, help="a patient and class")
    parser.add_argument("--sections", type=int, default=Layout().sections, help="of a slide")
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--results", type=Path, help="folder for the tables; OUT/results")
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except RayPathError as error:
        sys.exit(str(error))


def _run(given: argparse.Namespace) -> None:
    from benchmarks.cohort.report import write_report  # pandas, matplotlib: only when wanted
    from benchmarks.cohort.scores import measure

    say = partial(print, flush=True)
    layout = Layout(slides=given.slides, sections=given.sections)
    candidates = _candidates(given.encoders, given.only) if given.encoders else []
    materials = load_materials(given.data)
    plans = make_cohort(given.out / SLIDES_NAME, materials, layout, seed=given.seed, report=say)
    say(f"{len(plans)} slides of {len({plan.patient_id for plan in plans})} patients")
    if not candidates:
        return
    control = mean_colour(given.out / "control", candidates[0].card.tile)
    protocol = Protocol(
        heads=tuple(given.heads),
        divisions=given.divisions,
        folds=given.folds,
        epochs=given.epochs,
    )
    every = [control, *candidates]
    for candidate in every:
        measure_encoder(candidate, given.out, protocol, say)
    measured = [
        measure(candidate, head, given.out, resamples=given.resamples)
        for candidate in every
        for head in protocol.heads
    ]
    say(write_report(given.results or given.out / "results", measured))


def _candidates(folder: Path, only: Sequence[str] | None) -> list[Candidate]:
    """The encoders asked for, in the order they were, or all."""
    found = {candidate.name: candidate for candidate in find_candidates(folder)}
    unknown = sorted(set(only or ()) - set(found))
    if unknown:
        raise ModelError(f"{folder} has no {', '.join(unknown)}: it has {', '.join(found)}")
    return [found[name] for name in only or found]


if __name__ == "__main__":
    main()
