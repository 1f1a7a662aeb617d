"""The responses of a teacher, computed before a pretraining by it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines.cli.bar import progress_bar
from pipelines.cli.teacher_messages import say_teacher

if TYPE_CHECKING:
    from pipelines.pretraining.job import PretrainJob


def taught(
    job: "PretrainJob", teacher: Path, folder: Path, workers: int
) -> tuple["PretrainJob", dict[str, float]]:
    """The job with the teacher's responses in `folder`, and what they cost."""
    from distill.teachers.card import read_teacher_card
    from distill.teachers.teacher import load_teacher
    from pipelines.executors import make_executor
    from pipelines.pretraining.responding import origin_of, respond
    from pipelines.pretraining.sources import find_tiles
    from pipelines.pretraining.teacher import seen_by_teacher, training_cost

    places = find_tiles(job.sources, job.mpps, job.request, say=partial(typer.echo, err=True))
    card = read_teacher_card(teacher)
    say_teacher(card)
    load_teacher(teacher)  # what is wrong with it is said before any task begins
    origin = origin_of(places, card)
    where = "ray" if workers > 1 else "serial"
    with (
        make_executor(where, address=None, workers=workers) as executor,
        progress_bar("responses", sum(len(place) for place in places)) as advance,
    ):
        cost = respond(
            places,
            origin,
            teacher,
            folder,
            executor,
            device=job.settings.device,
            report=lambda done: advance(done.tiles, f"{done.seconds:.0f} s"),
        )
    terms = f"{job.settings.licence}; teacher: {card.licence}"
    settings = replace(job.settings, licence=terms)
    job = replace(
        job,
        settings=settings,
        responses=folder,
        origin=origin,
        teacher_seen=seen_by_teacher(teacher),
    )
    return job, cost | training_cost(card)
