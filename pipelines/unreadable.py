"""Areas of a slide that did not decode: where they are, and how a picture shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipelines.pixels import Pyramid, thumbnail
from wsi.slide import Pixels


def unreadable_areas(image: Path) -> dict[str, Any]:
    """Chunks of level 0 that did not decode: their edge in pixels, and [column, row] of each."""
    group = zarr.open_group(image, mode="r")
    if "validity/0" not in group:
        return {"cell_level0_px": 0, "cells": []}
    validity: Any = group["validity/0"]
    rows, columns = np.nonzero(~np.asarray(validity[...], np.bool_))
    return {
        "cell_level0_px": int(validity.attrs["chunk_px"]),
        "cells": np.stack([columns, rows], axis=1).tolist(),
    }


def hatch(pixels: Pixels, areas: Mapping[str, Any], *, downsample: float) -> Pixels:
    """Hatch `areas` (see `unreadable_areas`) of a picture with `downsample` level-0 pixels a pixel.

    They hold zeros, and black would be taken for something on the slide.
    """
    marked = pixels.copy()
    y, x = np.indices(pixels.shape[:2])
    lines = np.where(((x + y) % 6 == 0)[..., None], (138, 148, 163), (255, 255, 255))
    cell = areas["cell_level0_px"] / downsample
    for column, row in areas["cells"]:
        top, left = int(row * cell), int(column * cell)
        bottom, right = int(np.ceil((row + 1) * cell)), int(np.ceil((column + 1) * cell))
        marked[top:bottom, left:right] = lines[top:bottom, left:right]
    return marked


def small_picture(pyramid: Pyramid, *, longest_px: int) -> tuple[Pixels, float]:
    """The whole slide, (H, W, 3), its longer side at most `longest_px`, unreadable areas hatched.

    Returns
    -------
    The picture, and level-0 pixels per pixel of it.
    """
    pixels = thumbnail(pyramid, longest_px=longest_px)
    downsample = pyramid.level_dimensions[0][0] / pixels.shape[1]
    return hatch(pixels, unreadable_areas(pyramid.path), downsample=downsample), downsample
