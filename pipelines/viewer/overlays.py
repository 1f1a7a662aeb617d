"""What lies over a slide: heatmap cells and the outline of the tissue."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.heatmaps.channels import colourise
from pipelines.heatmaps.ome_zarr import Heatmap, read_heatmap
from pipelines.tissue_mask import stored_tissue

OPEN_HEATMAPS = 8
SIMPLIFY_MASK_PX = 0.5  # an outline may leave the mask's edge by this much
SMALLEST_RING = 4  # points, the first again at the end: a triangle


@lru_cache(maxsize=OPEN_HEATMAPS)
def open_heatmap(path: Path, version: str) -> Heatmap:
    """Read the heatmap at `path` once for each `version` of it."""
    return read_heatmap(path)


def heatmap_png(heatmap: Heatmap, channel: int) -> bytes:
    """One plane of a heatmap as RGBA, a pixel a cell, transparent where the model did not look."""
    rgba = colourise(heatmap.values[channel], heatmap.channels[channel])
    stream = io.BytesIO()
    Image.fromarray(rgba).save(stream, format="PNG")
    return stream.getvalue()


def tissue_rings(image: Path) -> list[list[list[float]]]:
    """Outlines of the tissue mask of a pyramid: rings of [x, y] in level-0 pixels."""
    from skimage.measure import approximate_polygon, find_contours

    tissue = stored_tissue(image)
    if tissue is None:
        return []
    mask = np.pad(tissue.mask, 1)
    rings = []
    for contour in find_contours(mask.astype(np.float32), 0.5):  # type: ignore[no-untyped-call]
        ring = approximate_polygon(contour, SIMPLIFY_MASK_PX)  # type: ignore[no-untyped-call]
        if len(ring) >= SMALLEST_RING:
            # Contours run through pixel centres; the pad shifted them by a pixel.
            rings.append(((ring[:, ::-1] - 0.5) * tissue.downsample).round(1).tolist())
    return rings
