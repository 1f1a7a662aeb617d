"""Verifying a run: its own files, and each of its slides."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from cluster.executor import Executor
from pipelines.journal import JOURNAL_NAME
from pipelines.receipts import RECEIPT_NAME, read_receipts
from pipelines.records import SlideRecord
from pipelines.remote.local_copy import drop, own_files, slide_names
from pipelines.runfolder import (
    RECORDS_NAME,
    SLIDES_NAME,
    UNFINISHED,
    NotARunError,
    is_folder_name,
    read_run,
)
from pipelines.verify.contents import Facts, read_contents
from pipelines.verify.problem import Problem, Verified
from pipelines.verify.slide import VerifyTask, verify_slide
from wsi.atomic import TMP_MARK, digest


def verify_run(out: Path, executor: Executor) -> Iterator[Verified]:
    """Read all of a run's folder again; yields what was found of the run, then of each slide.

    Raises
    ------
    NotARunError
        If `out` holds no run.
    """
    own = own_files(out)
    records, problems = _read(own)
    yield Verified(name="", problems=(*problems, *_verify_own_files(own)))
    for outcome in executor.map(verify_slide, _tasks(out, records)):
        if outcome.result is not None:
            yield outcome.result
            continue
        assert outcome.failure is not None  # an outcome has a result or a failure
        message = f"{outcome.failure.kind}: {outcome.failure.message}"
        problem = Problem(file=".", kind="unreadable", message=message)
        yield Verified(name=outcome.item.folder.name, problems=(problem,))


def redo_slide(out: Path, found: Verified) -> None:
    """Let the next run do a slide with problems again: its receipts are removed, nothing else."""
    if found.name and found.problems:
        drop(out / SLIDES_NAME / found.name / RECEIPT_NAME)


def count_slides(out: Path) -> int:
    """How many slides `verify_run` looks at."""
    records, _ = _read(own_files(out))
    return sum(1 for _ in _tasks(out, records))


def _read(out: Path) -> tuple[Mapping[str, SlideRecord] | None, tuple[Problem, ...]]:
    """The records by slide, and what is wrong with them; None where they do not read.

    Of a run that has not ended there is one for each folder. A record whose id is no folder's name
    is a problem, and left out: whoever wrote it may mean a folder of somebody else.
    """
    try:
        run = read_run(out)
    except NotARunError:
        raise
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        what = f"{type(error).__name__}: {error}"
        return None, (Problem(file=RECORDS_NAME, kind="unreadable", message=what),)
    records = {record.slide_id: record for record in run.records}
    file = RECORDS_NAME if run.is_finished else JOURNAL_NAME
    problems = tuple(
        Problem(file=file, kind="wrong", message=f"slide_id {slide_id!r} is no folder's name")
        for slide_id in records
        if not is_folder_name(slide_id)
    )
    return {k: record for k, record in records.items() if is_folder_name(k)}, problems


def _verify_own_files(out: Path) -> Iterator[Problem]:
    """`run.json`, `slides.parquet`, `report.html`: the same as when the run ended."""
    try:
        outputs = read_receipts(out)["run"]["outputs"]
    except FileNotFoundError:
        message = "the run has not ended: run the same command again to finish it"
        yield Problem(file=RECEIPT_NAME, kind="missing", message=message)
        return
    except (ValueError, LookupError) as error:
        yield Problem(file=RECEIPT_NAME, kind="changed", message=str(error))
        return
    for name, was in outputs.items():
        path = out / name
        if not path.exists():
            yield Problem(file=name, kind="missing", message="the run had written it")
            continue
        yield from read_contents(path, Facts())
        if digest(path) != was:
            message = "its bytes are not those that were written; another run writes it anew"
            yield Problem(file=name, kind="changed", message=message)


def _tasks(out: Path, records: Mapping[str, SlideRecord] | None) -> Iterator[VerifyTask]:
    """One for each row, and for each folder without one."""
    folder = out / SLIDES_NAME
    known = records or {}
    for slide_id, record in known.items():
        yield VerifyTask(folder=folder / slide_id, record=record)
    for other in slide_names(out):
        if other not in known and not other.startswith(TMP_MARK):
            nothing = SlideRecord(slide_id=other, path="", verdict=UNFINISHED)
            yield VerifyTask(folder=folder / other, record=None if records is not None else nothing)
