"""A slide named, not opened: the only form in which slides travel between processes."""

from dataclasses import dataclass
from pathlib import Path

from wsi.remote import slide_path


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRef:
    """Where a slide is and what the caller knows about it; open it on arrival with `open_slide`.

    Parameters
    ----------
    path
        The slide's file or folder, or its URL as a `upath.UPath` (see `wsi.remote`).
    slide_id
        Its name in every output: the file's stem unless the manifest says otherwise.
    mpp
        Level-0 resolution in µm per pixel given by the caller; overrides the file's.
    mpp_source
        Who gave `mpp`: ``"flag"`` or ``"manifest"``.
    mask
        What replaces detection: an image whose non-zero pixels are tissue, covering the whole
        slide, or polygons in a ``.geojson`` file.
    """

    path: Path
    slide_id: str
    mpp: float | None = None
    mpp_source: str = "flag"
    mask: Path | None = None

    @classmethod
    def of(cls, path: Path | str) -> "SlideRef":
        """Name a slide by its file alone; a ``.ome`` before the extension is not part of the id."""
        path = slide_path(path)
        return cls(path=path, slide_id=path.stem.removesuffix(".ome"))
