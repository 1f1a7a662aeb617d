"""The bare network and raypath's embedding on the same tiles, by workers as a run has them.

A run has a worker for each CPU: a process that computes with one thread. Each does a share of the
tiles, all at once.
"""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import process_time

from benchmarks.speed.measure import Done, Work, peak_bytes
from cluster.resources import available_cpus
from wsi.grid import TileGrid
from wsi.malloc import keep_freed_memory
from wsi.open import open_slide


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a worker embeds: the tiles of `grid` by a model, in batches of `batch_size`."""

    slide: Path
    grid: TileGrid
    model: Path
    batch_size: int
    bfloat16: bool


Prepare = Callable[[Share], Callable[[], int]]
"""Loads what is not to be timed, and returns what is: it gives how many tiles it did."""


def prepare_workers(prepare: Prepare, share: Share, scratch: Path) -> Work:
    """Start a worker for each CPU and wait until all are ready for their parts of `share`."""
    from pipelines.embedding.tiles import part_of

    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray tells its workers
    spawn = multiprocessing.get_context("spawn")
    length = -(-len(share.grid.coords) // available_cpus())
    pipes = []
    for first in range(0, len(share.grid.coords), length):
        part = replace(share, grid=part_of(share.grid, slice(first, first + length)))
        ours, theirs = spawn.Pipe()
        spawn.Process(target=_work, args=(prepare, part, theirs), daemon=True).start()
        theirs.close()  # so that a worker that dies is noticed
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()

    def work() -> Done:
        for pipe in pipes:
            pipe.send("go")
        done: list[Done] = [pipe.recv() for pipe in pipes]
        return Done(
            items=sum(part.items for part in done),
            cpu_seconds=sum(part.cpu_seconds for part in done),
            peak_bytes=max(part.peak_bytes for part in done),
        )

    return work


def _work(prepare: Prepare, share: Share, pipe: Connection) -> None:
    work = prepare(share)
    pipe.send("ready")
    pipe.recv()
    started = process_time()
    items = work()
    used = process_time() - started
    pipe.send(Done(items=items, cpu_seconds=used, peak_bytes=peak_bytes()))


def prepare_bare(share: Share) -> Callable[[], int]:
    """The network on tiles that are in memory as it takes them: as many as the share has."""
    import torch

    from pipelines.model import load_model

    keep_freed_memory()
    count, size_px = len(share.grid.coords), share.grid.spec.size_px
    module = load_model(share.model).encoder.module
    tiles = torch.zeros((share.batch_size, 3, size_px, size_px)).normal_()
    tiles = tiles.contiguous(memory_format=torch.channels_last)

    def work() -> int:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=share.bfloat16):
            for first in range(0, count, share.batch_size):
                module(tiles[: count - first])
        return count

    return work


def prepare_embedding(share: Share) -> Callable[[], int]:
    """Tiles read, measured and embedded, as a task does it."""
    from pipelines.embedding.tiles import embed_tiles
    from pipelines.model import load_model
    from pipelines.settings.config import RunConfig
    from pipelines.steps.timing import Timing

    keep_freed_memory()
    loaded = load_model(share.model)
    config = RunConfig.model_validate(
        {
            "model": share.model,
            "quality": "off",
            "bfloat16": share.bfloat16,
            "batch_size": share.batch_size,
        }
    )

    def work() -> int:
        with open_slide(share.slide) as opened:
            return len(embed_tiles(opened, share.grid, (loaded,), config, (), Timing()).coords)

    return work
