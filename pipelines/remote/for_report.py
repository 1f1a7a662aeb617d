"""What the report of a run at a URL is made of, and where it goes."""

from pathlib import Path

from pipelines.remote.store import fetch_objects, list_objects, store_files
from pipelines.report.preview import PREVIEW_NAME
from pipelines.runfolder import HEATMAP_NAME, PREDICTION_NAME, REPORT_NAME, SLIDES_NAME
from wsi.remote import is_remote


def gather_for_report(out: Path, folder: Path) -> None:
    """Have in `folder` what the report shows of slides, beside the run's own files.

    That is their pictures and predictions, and one heatmap for what its colours mean.
    """
    if not is_remote(out):
        return
    slides = out / SLIDES_NAME
    heatmaps, shown, with_heatmap = [], [], ""
    for name in list_objects(slides):
        slide_id, _, file = name.partition("/")
        (folder / SLIDES_NAME / slide_id).mkdir(parents=True, exist_ok=True)
        if file.startswith(f"{PREVIEW_NAME}/") or file == PREDICTION_NAME:
            shown.append(name)
        elif file.startswith(f"{HEATMAP_NAME}/") and with_heatmap in ("", slide_id):
            with_heatmap = slide_id
            heatmaps.append(name)
    fetch_objects(slides, heatmaps, folder / SLIDES_NAME)
    fetch_objects(slides, shown, folder / SLIDES_NAME)  # a preview is never older than its slide


def store_report(folder: Path, out: Path) -> None:
    """Store the report that was written into `folder`."""
    if is_remote(out):
        store_files(folder, [REPORT_NAME], out)
