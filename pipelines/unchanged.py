"""Making sure that a slide's results are of one slide: the file may be replaced meanwhile."""

from dataclasses import replace
from pathlib import Path

from pipelines.blockwise.work import forget_blocks
from pipelines.job import HandedOut, SlideJob
from pipelines.receipts import Receipts
from pipelines.records import SlideRecord
from pipelines.runfolder import TISSUE_NAME
from pipelines.slide import run_slide
from wsi.errors import SourceChangedError
from wsi.identity import content_digest
from wsi.remote import is_remote
from wsi.rights import explained_access
from wsi.source import Source, check_unchanged, look_at_source


def run_unchanged(job: SlideJob) -> SlideRecord | HandedOut:
    """Do everything for a slide, see `run_slide`; keep nothing of it if its content changed.

    Size, times and both ends are compared with what they were before the slide was opened, of a
    slide whose blocks others did for the plan of them; its whole content with the digest in the
    receipts.

    Raises
    ------
    SourceChangedError
        If the slide is another one than at the beginning; the steps' results and all blocks are
        removed, but for the outline of the tissue, which a person may have edited.
    RayPathError
        If the slide cannot be used.
    """
    path = job.entry.ref.path
    receipts = Receipts(folder=job.folder, source="")
    try:
        before = _before(job)
        try:
            done = run_slide(job)
        finally:
            # Whatever went wrong, this would be why.
            if before is not None:
                check_unchanged(path, before)
        if isinstance(done, HandedOut):
            return replace(done, source=before)
        _compare_content(path, receipts.made_from("pyramid"))
    except SourceChangedError:
        receipts.forget(keep=(TISSUE_NAME,))
        forget_blocks(job.folder)  # which may be of a half-written file that is whole again
        raise
    return done


def _before(job: SlideJob) -> Source | None:
    """The slide before any work on it; None if it is not there."""
    path = job.entry.ref.path
    if job.source is not None:
        check_unchanged(path, job.source)
        return job.source
    with explained_access(path):
        return look_at_source(path) if is_remote(path) or path.exists() else None


def _compare_content(path: Path, digest: str | None) -> None:
    if content_digest(path) != digest:
        raise SourceChangedError(
            f"{path} changed while it was read, though its size, its time of change and its ends "
            "did not: wait until nobody writes to it, then run it again"
        )
