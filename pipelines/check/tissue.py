"""The tissue that a person drew for a run: in its folder, or behind its URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.remote.store import read_object
from pipelines.runfolder import TISSUE_NAME
from pipelines.tissue_geojson import is_edited
from wsi.remote import is_remote


@contextmanager
def drawn_tissue(results: Path | None, *, slide_id: str) -> Iterator[Path | None]:
    """The outline that the run would take instead of finding tissue; None if there is none.

    `results` is where the run puts the slide's files; None where nobody can look there. The file
    is there for as long as the context lasts.

    Raises
    ------
    OutputError
        If the storage does not answer, or does not let us.
    """
    if results is None:
        yield None
        return
    with TemporaryDirectory(prefix="raypath-check-") as name:
        outline = results / TISSUE_NAME
        if is_remote(outline):
            content = read_object(outline)
            outline = Path(name, TISSUE_NAME)
            if content is not None:
                outline.write_bytes(content)
        yield outline if is_edited(outline, slide_id=slide_id) else None
