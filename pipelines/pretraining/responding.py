"""The teacher's responses by an executor: a task reads its tiles itself and writes whole shards."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cluster.executor import Executor
from distill.errors import ResponseError
from distill.origin import Origin
from distill.respond import teacher_of
from distill.responses import Shard, Teacher, create_cache, shards_of, write_shard
from distill.teachers.card import AnyCard
from distill.teachers.teacher import load_teacher
from pipelines.pretraining.places import Place, read_place, take_tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTask:
    """The tiles of one shard, by their places, and who is to answer them.

    Attributes
    ----------
    start
        Number of the first tile among all.
    teacher
        Folder of the teacher whose weights `origin` names.
    folder
        Of the cache.
    """

    places: tuple[Place, ...]
    start: int
    teacher: Path
    folder: Path
    origin: Origin
    device: str


def origin_of(places: Sequence[Place], teacher: AnyCard) -> Origin:
    """What the responses of the teacher of a card to these tiles are known by."""
    spec = places[0].spec
    return Origin(
        teacher_sha256=teacher.sha256,
        tile_px=spec.size_px,
        mpp=spec.mpp,
        context_px=places[0].context_px,
        scale=round(spec.mpp / teacher.mpp, 3),
    )


def respond(
    places: Sequence[Place],
    origin: Origin,
    teacher: Path,
    folder: Path,
    executor: Executor,
    *,
    device: str = "cpu",
    report: Callable[[Shard], None] | None = None,
) -> dict[str, float]:
    """Write the teacher's responses to all tiles into `folder`; goes on where it stopped.

    Returns what it cost, for a model's card.

    Raises
    ------
    ResponseError
        If `folder` holds other responses, or a task failed.
    """
    started = time.perf_counter()
    count = sum(len(place) for place in places)
    create_cache(folder, origin, count=count)
    tasks = (
        ResponseTask(
            places=tuple(take_tiles(places, part)),
            start=part.start,
            teacher=teacher.absolute(),
            folder=folder.absolute(),
            origin=origin,
            device=device,
        )
        for part in shards_of(count)
    )
    total = Shard()
    for outcome in executor.map(respond_shard, tasks):
        if outcome.failure or outcome.result is None:
            reason = outcome.failure.message if outcome.failure else "no answer"
            raise ResponseError(f"responses from tile {outcome.item.start} on: {reason}")
        total += outcome.result
        if report:
            report(total)
    return {
        "responses_computed": total.computed,
        "response_seconds": time.perf_counter() - started,
        "response_task_seconds": total.seconds,
        "response_bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
    }


def respond_shard(task: ResponseTask) -> Shard:
    """Read the tiles of a shard and write the responses to them, unless they are there."""
    pixels = np.concatenate([read_place(place) for place in task.places])
    answer = _teacher(task.teacher, task.origin, task.device)
    return write_shard(task.folder, task.origin, answer, pixels, start=task.start)


@lru_cache(maxsize=1)  # a process has many tasks of one teacher
def _teacher(folder: Path, origin: Origin, device: str) -> Teacher:
    loaded = load_teacher(folder)
    if loaded.sha256 != origin.teacher_sha256:
        raise ResponseError(
            f"{folder} holds teacher {loaded.sha256[:12]} now, not {origin.teacher_sha256[:12]}"
        )
    return teacher_of(loaded.net.to(device), scale=origin.scale)
