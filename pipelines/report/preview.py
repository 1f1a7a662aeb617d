"""`preview/`: small pictures of a slide, left in its folder for the report by the slide's task.

The report of ten thousand slides then only reads small files, and opens no pyramid.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.heatmaps.channels import is_shown_unasked
from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.pixels import open_pyramid, version_of
from pipelines.report.pictures import encode_webp, lay_over, mark_left_out, outline_tissue
from pipelines.runfolder import HEATMAP_NAME, IMAGE_NAME, PREDICTION_NAME, TILES_NAME, read_json
from pipelines.tissue_mask import stored_tissue
from pipelines.unreadable import small_picture
from wsi.atomic import replacing
from wsi.slide import Pixels
from wsi.tilestore import read_left_out
from wsi.tissue import Tissue

PREVIEW_NAME = "preview"
INDEX_NAME = "preview.json"
PANEL_PX = 360  # longer side of a picture
PANEL_BYTES = 16_000
THUMBNAIL_PX = 72
THUMBNAIL_BYTES = 1_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What `preview/preview.json` holds.

    Attributes
    ----------
    thumbnail
        The slide as a ``data:`` address of at most `THUMBNAIL_BYTES` of WebP; empty without one.
    panels
        Names of the pictures beside it, each ``<name>.webp`` of at most `PANEL_BYTES`: ``slide``
        with the outline of its tissue, ``heatmap``, and ``quality``, the tiles left out.
    withheld
        Title of a heatmap that is not drawn because it would mislead; empty where it is.
    """

    thumbnail: str = ""
    panels: list[str] = field(default_factory=list)
    withheld: str = ""


def write_preview(folder: Path) -> Preview:
    """Draw the slide of a run's `folder` with what steps have left there, in place of older ones.

    A folder without a pyramid gets no preview.
    """
    if not version_of(folder / IMAGE_NAME):
        return Preview()
    bare, drawn, withheld = _draw(folder)
    small = Image.fromarray(bare)
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    encoded = encode_webp(np.asarray(small), most_bytes=THUMBNAIL_BYTES)
    preview = Preview(thumbnail=data_uri(encoded), panels=list(drawn), withheld=withheld)
    with replacing(folder / PREVIEW_NAME) as tmp:
        tmp.mkdir()
        for name, pixels in drawn.items():
            encoded = encode_webp(pixels, most_bytes=PANEL_BYTES)
            (tmp / f"{name}.webp").write_bytes(encoded)
        (tmp / INDEX_NAME).write_text(json.dumps(asdict(preview)))
    return preview


def read_preview(folder: Path) -> Preview:
    """The preview in a slide's folder; drawn first where it is missing or older than the slide."""
    index = folder / PREVIEW_NAME / INDEX_NAME
    drawn_from = [folder / name / "zarr.json" for name in (IMAGE_NAME, HEATMAP_NAME)]
    newest = max((p.stat().st_mtime_ns for p in drawn_from if p.exists()), default=0)
    if not index.exists() or index.stat().st_mtime_ns < newest:
        return write_preview(folder)
    return Preview(**json.loads(index.read_text()))


def data_uri(webp: bytes) -> str:
    """A picture as an address that holds it."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def _draw(folder: Path) -> tuple[Pixels, dict[str, Pixels], str]:
    """The slide, the panels by name, all (H, W, 3), and the title of a heatmap withheld."""
    image, heatmap = folder / IMAGE_NAME, folder / HEATMAP_NAME
    pyramid = open_pyramid(image, version_of(image))
    pixels, downsample = small_picture(pyramid, longest_px=PANEL_PX)
    drawn = {"slide": pixels}
    if tissue := stored_tissue(image):
        mask = _in_picture(tissue, pyramid.level_dimensions[0], pixels)
        drawn["slide"] = outline_tissue(pixels, mask)
    withheld = ""
    if heatmap.exists():
        values = read_heatmap(heatmap)
        said: Mapping[str, Any] = read_json(folder / PREDICTION_NAME)
        if is_shown_unasked(values.channels[0], said):
            drawn["heatmap"] = lay_over(pixels, values)
        else:
            withheld = values.channels[0].title
    if (folder / TILES_NAME).exists():
        left_out, edge = read_left_out(folder / TILES_NAME)
        if len(left_out.coords):
            drawn["quality"] = mark_left_out(
                pixels, left_out, tile_level0_px=edge, downsample=downsample
            )
    return pixels, drawn, withheld


def _in_picture(tissue: Tissue, dimensions: tuple[int, int], pixels: Pixels) -> NDArray[np.bool_]:
    """A mask as a picture (H, W, 3) of a whole slide of `dimensions` (width, height) has it."""
    mask = Image.fromarray(tissue.mask.astype(np.uint8))
    right, bottom = (n / tissue.downsample for n in dimensions)
    box = (0, 0, min(right, mask.width), min(bottom, mask.height))
    height, width = pixels.shape[:2]
    return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST, box=box)) > 0
