"""Doing a task of a slide whose results are objects: on a local disk, then stored.

`receipt.json` is stored last and removed first, so a slide whose receipt is there is whole. Blocks
of a large slide are stored too, because they are done on one machine and joined on another. What
they need besides the slide (the tiles' places, the pyramid without its pixels) is stored by the
task that hands them out, and its names after it in `LAID_OUT`.
"""

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pipelines.blockwise.sealed import BlockTask, open_work
from pipelines.blockwise.work import PARTIAL
from pipelines.job import HandedOut, SlideJob
from pipelines.memory import measured_peak
from pipelines.output import GO_ON, explained_output
from pipelines.receipts import RECEIPT_NAME, Receipts
from pipelines.records import SlideRecord
from pipelines.remote.finished import digest_of_wish, finished_record, note_finished
from pipelines.remote.store import (
    fetch_objects,
    has_object,
    list_objects,
    read_object,
    remove_objects,
    store_files,
    write_object,
)
from pipelines.remote.workplace import local_folder
from pipelines.runfolder import TISSUE_NAME
from wsi.atomic import remove
from wsi.errors import RayPathError
from wsi.remote import ObjectInfo

LAID_OUT = ".laid-out.json"

Done = TypeVar("Done")


def do_slide(job: SlideJob, run: Callable[[SlideJob], Done]) -> Done | HandedOut | SlideRecord:
    """Have `run` do a job, whose folder is a URL, in a local folder, and store what it leaves.

    What the storage has of the slide is fetched before, so that finished steps are not done again;
    of a slide that is known to be finished, see `finished_record`, there is nothing to do.
    Where the slide fails, what its steps finished is stored all the same.

    Raises
    ------
    RayPathError
        If the slide cannot be used, or its results not be stored.
    """
    url, folder = job.folder, local_folder(job.folder)
    remove(folder)
    try:
        with explained_output(folder, go_on=GO_ON):
            listed, wish = list_objects(url), digest_of_wish(job)
            if RECEIPT_NAME in listed and (record := _finished(job, listed, wish)) is not None:
                return record
            stored = set(listed)
            needed = _needed_of_slide(stored, joins=not job.hands_out)
            fetch_objects(url, needed, folder)
            before = _states(folder)
            try:
                done = run(replace(job, folder=folder))
            except RayPathError:
                _store(url, folder, before, stored=set(needed))
                raise
            if isinstance(done, HandedOut):
                return _hand_out(done, url)
            _store(url, folder, before, stored=stored)
            if isinstance(done, SlideRecord):
                source = Receipts(folder=folder, source="").made_from("pyramid")
                sizes = {name: size for name, (size, _) in _states(folder).items()}
                note_finished(job, done, wish=wish, source=source, sizes=sizes)
            return done
    finally:
        remove(folder)


def do_block(task: BlockTask, run: Callable[[BlockTask], Done]) -> Done | None:
    """Have `run` do a block, whose folder is a URL, and store it, unless that was done.

    Raises
    ------
    RayPathError
        If it cannot be done, or not be stored.
    """
    planned, block = task.opened()
    url, folder = planned.folder, local_folder(planned.folder)
    work = replace(planned, folder=folder)
    note = work.path(block).relative_to(folder).as_posix()
    if has_object(url / note):
        return None
    with explained_output(folder, go_on=GO_ON):
        laid_out = _at_hand.fetch(url, folder)
        try:
            done = run(replace(task, folder=folder.parent, work=pickle.dumps(work)))
            made = _states(folder).keys() - laid_out - {note}
            store_files(folder, made, url)
            store_files(folder, [note], url)  # now the block is done
        finally:
            for name in _states(folder).keys() - laid_out:
                (folder / name).unlink()
    return done


def _finished(job: SlideJob, stored: Mapping[str, ObjectInfo], wish: str) -> SlideRecord | None:
    """The record of a finished slide, with what this process held meanwhile."""
    with measured_peak() as peak:
        record = finished_record(job, stored, wish=wish)
        held = job.held | peak()
    if record is None:
        return None
    return replace(record, peak_rss_bytes=held.rss_bytes, peak_is_bound=held.is_bound)


def _needed_of_slide(stored: set[str], *, joins: bool) -> list[str]:
    """The objects that a slide's task begins with: of a whole slide all, and whole blocks."""
    laid_out = {name.partition("/")[0] for name in stored if name.endswith(f"/{LAID_OUT}")}

    def is_needed(name: str) -> bool:
        if name.startswith(PARTIAL):
            return joins and name.partition("/")[0] in laid_out
        return RECEIPT_NAME in stored or name == TISSUE_NAME  # which a person may have edited

    return sorted(filter(is_needed, stored))


def _store(
    url: Path, folder: Path, before: dict[str, tuple[int, int]], *, stored: set[str]
) -> None:
    """Make the objects below `url` the files in `folder`.

    `before` are the files that were fetched, and `stored` the objects that go where they are no
    files any more.
    """
    now = _states(folder)
    changed = {name for name, state in now.items() if before.get(name) != state}
    gone = stored - now.keys()
    if not changed and not gone:
        return
    if RECEIPT_NAME in stored:
        remove_objects(url, [RECEIPT_NAME])
    store_files(folder, sorted(changed - {RECEIPT_NAME}), url)
    # Blocks are taken for done as long as the names of what they need are there.
    laid_out = {name for name in gone if name.endswith(f"/{LAID_OUT}")}
    remove_objects(url, laid_out)
    remove_objects(url, gone - laid_out - {RECEIPT_NAME})
    if RECEIPT_NAME in now:
        store_files(folder, [RECEIPT_NAME], url)


def _hand_out(done: HandedOut, url: Path) -> HandedOut:
    """Store what the blocks need, and send them where it is.

    Blocks that are there without the names of what they need are what is left of a removal.
    """
    plans = []
    for plan in done.plans:
        work = open_work(plan.work)
        local = work.folder
        there = url / local.name
        if not has_object(there / LAID_OUT):
            remove_objects(there, list_objects(there))
        names = sorted(_states(local))
        store_files(local, names, there)
        write_object(there / LAID_OUT, json.dumps(names).encode())
        moved = pickle.dumps(replace(work, folder=there))
        plans.append(replace(plan, folder=url, work=moved))
    return replace(done, plans=tuple(plans))


@dataclass(slots=True)
class _AtHand:
    """What the blocks that this process did last need."""

    folder: Path | None = None
    names: set[str] = field(default_factory=set)

    def fetch(self, url: Path, folder: Path) -> set[str]:
        """Fetch what the blocks at `url` need to `folder`, unless it is there; its names."""
        if self.folder != folder:
            before, self.folder = self.folder, None  # of what fails half-way nothing is at hand
            if before is not None:
                remove(before)
            said = read_object(url / LAID_OUT)
            names = json.loads(said) if said is not None else []
            folder.mkdir(parents=True, exist_ok=True)
            fetch_objects(url, names, folder)
            self.folder, self.names = folder, set(names)
        return self.names


_at_hand = _AtHand()


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file below a folder, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    }
