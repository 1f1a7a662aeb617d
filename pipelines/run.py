"""A cohort from slides to heatmaps: every slide gets a verdict, whatever happens to the others."""

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cluster.executor import Executor, Failure
from distill.errors import ModelError
from pipelines.code_version import code_version
from pipelines.cohort.manifest import Entry, is_same
from pipelines.errors import UsageError
from pipelines.job import SlideJob
from pipelines.journal import JOURNAL_NAME, Journal, records_in_order
from pipelines.locks.folder import Lock, held
from pipelines.networks import Networks, load_networks, read_networks
from pipelines.output import GO_ON, check_folder, check_local, explained_output, stop_if_full
from pipelines.receipts import RECEIPT_NAME, seal
from pipelines.records import VERDICTS, SlideRecord, write_records
from pipelines.remote.driver_files import kept_at
from pipelines.remote.for_report import gather_for_report
from pipelines.remote.local_copy import drop, leave, slide_names
from pipelines.remote.store import check_store
from pipelines.runfolder import (
    INFO_NAME,
    RECORDS_NAME,
    REPORT_NAME,
    SLIDES_NAME,
    TRACEBACK_NAME,
    image_path,
)
from pipelines.settings.config import RunConfig
from pipelines.settings.stride import check_stride
from pipelines.status.progress import Progress
from pipelines.tasks import Spread, do, is_verdict
from wsi.atomic import replacing
from wsi.identity import stored_sizes
from wsi.remote import is_remote
from wsi.rights import is_folder

LIBRARIES = ("openslide-python", "openslide-bin", "tiffslide", "zarr", "torch", "timm", "ray")


def run_cohort(
    entries: Sequence[Entry],
    out: Path,
    config: RunConfig,
    executor: Executor,
    *,
    report: Callable[[SlideRecord], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Run every slide and write `run.json`, `slides.parquet` and `report.html`.

    Each slide's record goes into `records.jsonl` as the slide is finished, and no record is kept
    here: `slides.parquet` is made from that file, in the cohort's order. `progress.json` says
    meanwhile that the run is alive.

    Parameters
    ----------
    entries
        The cohort.
    out
        The run's folder; finished steps of an earlier run in it are not done again.
    report
        Called with each slide's record as it is finished.
    say
        Called with a line when it has to be waited for the folder, see `held`.

    Returns
    -------
    Slides by verdict: ``ok``, ``partial`` and ``failed``.

    Raises
    ------
    ModelError, UsageError
        Before any work: see `prepare` and `held`; and if a network does not load on a worker.
    DiskFullError, OutputPermissionError, LockLostError
        If the folder can no longer be written; what is finished stays, and is not done again.
    """
    config = config.absolute()
    networks = prepare(entries, out, config)
    with held(out, say=say) as lock:
        load_where_the_work_is_done(config, executor)
        with kept_at(out) as folder, explained_output(folder / INFO_NAME, go_on=GO_ON):
            return _run_held(entries, out, folder, config, executor, networks, lock, report)


def _run_held(
    entries: Sequence[Entry],
    out: Path,
    folder: Path,
    config: RunConfig,
    executor: Executor,
    networks: Networks,
    lock: Lock,
    report: Callable[[SlideRecord], None] | None,
) -> dict[str, int]:
    """Run every slide of a run that holds `out`; its own files go to `folder`, see `kept_at`."""
    from pipelines.report.report import write_report

    # The verdicts of an earlier run are not those of this one.
    (folder / RECORDS_NAME).unlink(missing_ok=True)
    (folder / RECEIPT_NAME).unlink(missing_ok=True)
    run: dict[str, Any] = {
        "raypath_version": version("raypath"),
        "code_version": code_version(),
        "started": _now(),
        "finished": None,
        "config": config.model_dump(mode="json"),
        **networks.describe(),
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "workers": executor.workers,
        },
    }
    _write_run(folder, run)
    jobs = [
        SlideJob(entry=e, folder=out.resolve() / SLIDES_NAME / e.ref.slide_id, config=config)
        for e in entries
    ]
    stored = stored_sizes(e.ref.path for e in entries)
    sizes = {e.ref.slide_id: size or 0 for e, size in zip(entries, stored, strict=True)}
    # The largest slides first: they would otherwise be what everyone waits for at the end.
    jobs.sort(key=lambda job: sizes[job.entry.ref.slide_id], reverse=True)
    counts = dict.fromkeys(VERDICTS, 0)
    # Of a slide that was done or begun before nobody knows what is left: it is no reason to wait.
    begun = set(slide_names(out))
    fresh = {slide_id: size for slide_id, size in sizes.items() if slide_id not in begun}
    spread = Spread(workers=lambda: executor.workers, sizes=fresh)
    with Journal(folder / JOURNAL_NAME) as journal, Progress(folder, sizes) as progress:
        tasks = spread.first_tasks(progress.handing_out(jobs))
        for outcome in executor.map(do, tasks, follow=spread.follow):
            if not is_verdict(outcome):
                progress.advanced(outcome.item.ref.slide_id, outcome.result)
                continue
            lock.check()
            stop_if_full(outcome.failure)
            done = outcome.result
            record = done or _failed(outcome.item, outcome.failure)
            if record.slide_id in begun and not record.is_reused and record.reason != "unexpected":
                drop(outcome.item.folder / TRACEBACK_NAME)  # of an earlier failure
            journal.append(record)
            progress.finished(record)
            counts[record.verdict] += 1
            if report:
                report(record)
        slide_ids = (entry.ref.slide_id for entry in entries)
        write_records(folder / RECORDS_NAME, records_in_order(folder / JOURNAL_NAME, slide_ids))
        _write_run(folder, run | {"finished": _now(), "counts": counts})
        write_report(folder, size=gather_for_report(out, folder))
        seal(folder, (INFO_NAME, RECORDS_NAME, REPORT_NAME))
    return counts


def load_where_the_work_is_done(config: RunConfig, executor: Executor) -> None:
    """Have one worker load the networks: better none begins than that every slide fails.

    Raises
    ------
    ModelError
        If they do not load there.
    UsageError
        If another version of this code does the work there: receipts would name the wrong one.
    """
    for outcome in executor.map(load_networks, [config]):
        if outcome.failure is not None:
            raise ModelError(outcome.failure.message)
        if outcome.result != code_version():
            raise UsageError(
                f"the worker has raypath {outcome.result or 'of an older version'}, the driver has "
                f"{code_version()}: install the same one on every machine, and start from a "
                "folder that holds no other copy of its code, which the workers would import"
            )


def _failed(job: SlideJob, failure: Failure | None) -> SlideRecord:
    entry = job.entry
    assert failure is not None  # an outcome has a result or a failure
    if failure.kind == "unexpected":
        # Kept for the person who has to find the defect; the verdict holds only one line.
        leave(job.folder / TRACEBACK_NAME, failure.trace)
    return SlideRecord(
        slide_id=entry.ref.slide_id,
        path=str(entry.ref.path),
        verdict="failed",
        reason=failure.kind,
        message=failure.message,
        patient_id=entry.patient_id,
        label=entry.label,
        split=entry.split,
    )


def prepare(entries: Sequence[Entry], out: Path, config: RunConfig) -> Networks:
    """Check all that can be checked before any work, and make the run's folder.

    No network is loaded here, see `read_networks`.

    Raises
    ------
    ModelError
        If the model, the teacher or the segmenter is not what its card says.
    UsageError
        If the settings do not fit the model, or `out` cannot be the folder.
    DiskFullError, OutputPermissionError
        If it cannot be made.
    """
    if is_remote(out):
        check_store(out)
    else:
        check_local(out)
    networks = read_networks(config)
    check_stride(config, networks)
    for entry in entries:
        if is_same(entry.ref.path, image_path(out, entry.ref.slide_id)):
            raise UsageError(
                f"{entry.ref.path} would be replaced by results: choose another folder"
            )
        if is_remote(entry.ref.path) or is_remote(out):
            continue
        if is_folder(entry.ref.path) and out.resolve().is_relative_to(entry.ref.path.resolve()):
            raise UsageError(f"{out} lies inside the slide {entry.ref.path}: choose another folder")
    if is_remote(out):
        return networks
    check_folder(out / SLIDES_NAME)
    with explained_output(out / SLIDES_NAME, go_on=GO_ON):
        (out / SLIDES_NAME).mkdir(parents=True, exist_ok=True)
    return networks


def _write_run(out: Path, run: dict[str, Any]) -> None:
    with replacing(out / INFO_NAME) as tmp:
        tmp.write_text(json.dumps(run, indent=1))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
