"""What the report of a run at a URL is made of, and where it goes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pipelines.check.compare import CHECK_NAME
from pipelines.receipts import RECEIPT_NAME, renew_seal
from pipelines.remote.local_copy import slide_names
from pipelines.remote.store import fetch_objects, list_each, read_object, store_files
from pipelines.report.preview import PREVIEW_NAME
from pipelines.runfolder import (
    HEATMAP_NAME,
    PREDICTION_NAME,
    RECORDS_NAME,
    REPORT_NAME,
    SLIDES_NAME,
    UnsafeNameError,
    is_finished,
    is_folder_name,
    stream_run,
)
from wsi.identity import stored_bytes
from wsi.remote import is_remote

LISTED_AT_ONCE = 64  # slides whose objects' names are in memory


def gather_for_report(out: Path, folder: Path) -> int | None:
    """Have in `folder` what the report shows of slides, beside the run's own files.

    That is their pictures and predictions, one heatmap for what its colours mean, and what a check
    said beforehand. Memory does not grow with the number of slides.

    Returns
    -------
    Bytes that the run stored; None for a run on a disk, of which all is at hand.

    Raises
    ------
    UnsafeNameError
        If a slide's id is no folder's name, or the name of an object leads out of its folder.
    OutputError
        If the storage does not answer, or does not let us.
    """
    if not is_remote(out):
        return None
    slides, near = out / SLIDES_NAME, folder / SLIDES_NAME
    size, has_heatmap = stored_bytes(folder) or 0, False
    slide_ids = _slide_ids(out, folder)
    while at_once := list(islice(slide_ids, LISTED_AT_ONCE)):
        heatmaps, shown = list[str](), list[str]()
        for slide_id, listed in zip(at_once, list_each(slides, at_once), strict=True):
            if listed:
                (near / slide_id).mkdir(parents=True, exist_ok=True)
            size += sum(said.size for said in listed.values())
            shown += _below(slide_id, listed, PREVIEW_NAME)
            shown += _below(slide_id, listed, PREDICTION_NAME)
            if not has_heatmap:
                heatmaps = _below(slide_id, listed, HEATMAP_NAME)
                has_heatmap = bool(heatmaps)
        fetch_objects(slides, heatmaps, near)
        fetch_objects(slides, shown, near)  # a preview is never older than its slide
    if (check := read_object(out / CHECK_NAME)) is not None:
        (folder / CHECK_NAME).write_bytes(check)
    return size


def _slide_ids(out: Path, folder: Path) -> Iterator[str]:
    """The slides that the report shows: of a run that has not ended, all that were begun."""
    if not is_finished(folder):
        yield from slide_names(out)
        return
    for record in stream_run(folder):
        if not is_folder_name(record.slide_id):
            raise UnsafeNameError(
                f"{out / RECORDS_NAME}: slide_id {record.slide_id!r} is no folder's name, and no "
                "run writes such a one: find out who did; the same 'raypath run' writes it anew"
            )
        yield record.slide_id


def _below(slide_id: str, listed: Iterable[str], output: str) -> list[str]:
    """The names below ``slides`` of the objects of one output, a file or a folder, of a slide."""
    return [f"{slide_id}/{name}" for name in listed if name.partition("/")[0] == output]


def store_report(folder: Path, out: Path) -> None:
    """Store the report that was written into `folder`; a finished run is sealed with it again."""
    if not is_remote(out):
        if is_finished(folder):
            renew_seal(folder, REPORT_NAME)
        return
    store_files(folder, [REPORT_NAME], out)
    sealed = read_object(out / RECEIPT_NAME)  # none any more where a run began meanwhile
    if sealed is None or not is_finished(folder):
        return
    (folder / RECEIPT_NAME).write_bytes(sealed)
    if renew_seal(folder, REPORT_NAME):
        store_files(folder, [RECEIPT_NAME], out)
