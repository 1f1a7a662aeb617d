"""`progress.json`: the driver of a run says that it is alive, and what it works on.

A small file of bounded size, written again every `BEAT_S` seconds by a thread: the driver itself
may wait for a slide for hours.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from pipelines.job import BlockDone, HandedOut, SlideJob
from pipelines.processes import process_space, start_of
from pipelines.records import SlideRecord
from pipelines.status.progress_file import PROGRESS_NAME, Said
from wsi.atomic import replacing

BEAT_S = 2.0
NAMED = 100  # slides in hand that are named in the file


@dataclass(slots=True)
class _InHand:
    """A slide given to workers: its blocks, where it was cut into any.

    `found` are those of the `done` blocks that an earlier run did, and `tiles` what the others
    embedded.
    """

    blocks: int = 0
    done: int = 0
    found: int = 0
    tiles: int = 0

    def share(self, blocks: int) -> float:
        """Share of the slide that so many blocks stand for, 0-1.

        As if each took as long, and what is left to do when all are done as well.
        """
        return blocks / (self.blocks + 1)


class Progress:
    """What a driver does, as `progress.json` in its run's folder; a context manager.

    See `Said` for what the file holds; the shares are for an estimate of what is left.
    """

    def __init__(self, out: Path, sizes: Mapping[str, int]) -> None:
        """Begin the progress of a run in `out` over slides of these `sizes`, bytes by slide id."""
        self._path = out / PROGRESS_NAME
        self._sizes = {slide_id: max(1, size) for slide_id, size in sizes.items()}
        self._all_bytes = sum(self._sizes.values())
        self._done_bytes = self._worked_bytes = 0.0  # of finished slides
        self._tiles = 0
        self._in_hand: dict[str, _InHand] = {}  # in the order in which they were handed out
        self._space, self._start = process_space(), start_of(os.getpid()) or ""
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)

    def handing_out(self, jobs: Iterable[SlideJob]) -> Iterator[SlideJob]:
        """Pass jobs on, remembering that somebody took them."""
        for job in jobs:
            with self._lock:
                self._in_hand[job.ref.slide_id] = _InHand()
            yield job

    def advanced(self, slide_id: str, done: SlideRecord | HandedOut | BlockDone | None) -> None:
        """Remember what came of a task of a slide that is not finished; None of one that failed."""
        with self._lock:
            slide = self._in_hand[slide_id]
            if isinstance(done, HandedOut):
                slide.blocks += sum(len(plan.blocks) for plan in done.plans)
            elif isinstance(done, BlockDone):
                slide.done += 1
                slide.found += not done.is_new
                slide.tiles += done.tiles

    def finished(self, record: SlideRecord) -> None:
        """Remember that a slide has its record."""
        size = self._sizes[record.slide_id]
        with self._lock:
            slide = self._in_hand.pop(record.slide_id)
            self._done_bytes += size
            if not record.is_reused:
                self._worked_bytes += size * (1 - slide.share(slide.found))
                self._tiles += record.new_tiles

    def __enter__(self) -> Self:
        self._write("running")
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._ended.set()
        self._thread.join()
        if error is None:
            self._write("finished")
        elif isinstance(error, KeyboardInterrupt):
            self._write("interrupted")
        else:
            self._write("broken", f"{type(error).__name__}: {error}")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._write("running")
            except OSError:  # a full disk is for the slides to report; it may have room again
                continue

    def _write(self, state: str, message: str = "") -> None:
        with self._lock:
            done, worked = self._done_bytes, self._worked_bytes
            for slide_id, slide in self._in_hand.items():
                done += self._sizes[slide_id] * slide.share(slide.done)
                worked += self._sizes[slide_id] * slide.share(slide.done - slide.found)
            in_hand = self._in_hand.values()
            said = Said(
                state=state,
                message=message,
                host=socket.gethostname(),
                pid=os.getpid(),
                space=self._space,
                start=self._start,
                beat=time.time(),
                elapsed_s=round(time.monotonic() - self._started, 3),
                total=len(self._sizes),
                n_in_hand=len(self._in_hand),
                in_hand=tuple(islice(self._in_hand, NAMED)),
                done_share=done / max(1, self._all_bytes),
                worked_share=worked / max(1, self._all_bytes),
                blocks_done=sum(slide.done for slide in in_hand),
                blocks_total=sum(slide.blocks for slide in in_hand),
                tiles=self._tiles + sum(slide.tiles for slide in in_hand),
            )
        with replacing(self._path) as tmp:
            tmp.write_text(json.dumps(asdict(said), indent=1))
