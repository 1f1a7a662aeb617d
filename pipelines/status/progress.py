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
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from pipelines.job import SlideJob
from pipelines.processes import process_space, start_of
from pipelines.records import SlideRecord
from pipelines.status.said import PROGRESS_NAME, Said
from wsi.atomic import replacing

BEAT_S = 2.0
NAMED = 100  # slides in hand that are named in the file


class Progress:
    """What a driver does, as `progress.json` in its run's folder; a context manager.

    See `Said` for what the file holds; the shares are for an estimate of what is left.
    """

    def __init__(self, out: Path, sizes: Mapping[str, int]) -> None:
        """Begin the progress of a run in `out` over slides of these `sizes`, bytes by slide id."""
        self._path = out / PROGRESS_NAME
        self._sizes = {slide_id: max(1, size) for slide_id, size in sizes.items()}
        self._all_bytes = sum(self._sizes.values())
        self._done_bytes = self._worked_bytes = 0
        self._in_hand: dict[str, None] = {}  # in the order in which they were handed out
        self._space, self._start = process_space(), start_of(os.getpid()) or ""
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)

    def handing_out(self, jobs: Iterable[SlideJob]) -> Iterator[SlideJob]:
        """Pass jobs on, remembering that somebody took them."""
        for job in jobs:
            with self._lock:
                self._in_hand[job.entry.ref.slide_id] = None
            yield job

    def finished(self, record: SlideRecord) -> None:
        """Remember that a slide has its record."""
        size = self._sizes[record.slide_id]
        with self._lock:
            self._in_hand.pop(record.slide_id, None)
            self._done_bytes += size
            self._worked_bytes += 0 if record.is_reused else size

    def __enter__(self) -> Self:
        self._write("running")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
                done_share=self._done_bytes / max(1, self._all_bytes),
                worked_share=self._worked_bytes / max(1, self._all_bytes),
            )
        with replacing(self._path) as tmp:
            tmp.write_text(json.dumps(asdict(said), indent=1))
