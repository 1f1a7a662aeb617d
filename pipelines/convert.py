"""A slide as a pyramid and nothing else."""

from pathlib import Path
from typing import Any

from pipelines.config import Codec
from pipelines.errors import UsageError
from wsi.atomic import replacing
from wsi.identity import stored_bytes
from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.open import open_slide
from wsi.overview import read_overview
from wsi.pyramid import write_pyramid
from wsi.ref import SlideRef
from wsi.resolution import MppSource, resolve_mpp
from wsi.slide import Slide
from wsi.tissue import find_tissue, overview_downsample


def tiles_to_copy(path: Path, slide: Slide, codec: Codec) -> JpegTiles | None:
    """The slide's JPEG tiles if they are to be copied and can be; None for decoding it."""
    return find_tiles(path, slide) if codec == "auto" else None


def convert_slide(
    ref: SlideRef, path: Path, *, codec: Codec = "auto", overwrite: bool = False
) -> dict[str, Any]:
    """Write a slide's OME-Zarr pyramid to `path`; returns what was written.

    Slides that no model here can use (fluorescence, blank ones) are converted like any other,
    with an empty tissue mask that carries the flag.

    Parameters
    ----------
    codec
        ``"auto"`` keeps the slide's JPEG tiles unchanged where that is possible; ``"zstd"``
        decodes always, for readers without the ``jpeg`` codec.

    Raises
    ------
    UsageError
        If there is something at `path` and `overwrite` is not set.
    SlideError
        If the slide cannot be opened, or its resolution is unknown.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: use --overwrite, or another folder")
    with open_slide(ref) as slide:
        resolution = resolve_mpp(
            slide.properties, given=ref.mpp, given_by=MppSource(ref.mpp_source)
        )
        downsample = overview_downsample(slide.dimensions, level0_mpp=resolution.mpp)
        overview = read_overview(slide, downsample=downsample)
        tissue = find_tissue(overview, level0_mpp=resolution.mpp)
        with replacing(path) as tmp:
            written = write_pyramid(
                slide,
                tmp,
                name=ref.slide_id,
                resolution=resolution,
                tissue=tissue,
                tiles=tiles_to_copy(ref.path, slide, codec),
            )
        width, height = slide.dimensions
    return {
        "verdict": "partial" if written.invalid_chunks else "ok",
        "path": str(path),
        "codec": written.codec,
        "megapixels": round(width * height / 1e6, 1),
        "levels": len(written.level_shapes),
        "invalid_chunks": written.invalid_chunks,
        "bytes_in": stored_bytes(ref.path),
        "bytes_out": sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
        "flags": list(tissue.flags),
    }
