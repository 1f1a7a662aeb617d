"""What the report of a run at a URL is made of, and where it goes."""

from pathlib import Path

from pipelines.check.compare import CHECK_NAME
from pipelines.receipts import RECEIPT_NAME, renew_seal
from pipelines.remote.store import fetch_objects, list_objects, read_object, store_files
from pipelines.report.preview import PREVIEW_NAME
from pipelines.runfolder import (
    HEATMAP_NAME,
    PREDICTION_NAME,
    REPORT_NAME,
    SLIDES_NAME,
    is_finished,
)
from wsi.identity import stored_bytes
from wsi.remote import is_remote


def gather_for_report(out: Path, folder: Path) -> int | None:
    """Have in `folder` what the report shows of slides, beside the run's own files.

    That is their pictures and predictions, one heatmap for what its colours mean, and what a check
    said beforehand.

    Returns
    -------
    Bytes that the run stored; None for a run on a disk, of which all is at hand.
    """
    if not is_remote(out):
        return None
    slides, size = out / SLIDES_NAME, stored_bytes(folder) or 0
    heatmaps, shown, with_heatmap = [], [], ""
    for name, said in list_objects(slides).items():
        size += said.size
        slide_id, _, file = name.partition("/")
        (folder / SLIDES_NAME / slide_id).mkdir(parents=True, exist_ok=True)
        if file.startswith(f"{PREVIEW_NAME}/") or file == PREDICTION_NAME:
            shown.append(name)
        elif file.startswith(f"{HEATMAP_NAME}/") and with_heatmap in ("", slide_id):
            with_heatmap = slide_id
            heatmaps.append(name)
    fetch_objects(slides, heatmaps, folder / SLIDES_NAME)
    fetch_objects(slides, shown, folder / SLIDES_NAME)  # a preview is never older than its slide
    if (check := read_object(out / CHECK_NAME)) is not None:
        (folder / CHECK_NAME).write_bytes(check)
    return size


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
