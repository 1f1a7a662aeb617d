"""The classes of a segmented slide for the page: names, colours, areas, and tiles of labels."""

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from PIL import Image

from pipelines.pixels import OPEN_SLIDES, TILE_PX, place_of, version_of
from pipelines.runfolder import IMAGE_NAME, SEGMENTATION_NAME, read_json
from wsi.labels import LabelLevels, open_labels


def labels_of(folder: Path) -> tuple[Path, str] | None:
    """Where a slide's folder has the labels of its segmentation, and their version; or None."""
    name = read_json(folder / SEGMENTATION_NAME).get("name")
    path = folder / IMAGE_NAME / "labels" / str(name)
    version = version_of(path)
    return (path, version) if name and version else None


@lru_cache(maxsize=OPEN_SLIDES)
def cached_labels(path: Path, version: str, *, level0_mpp: float) -> LabelLevels:
    """Open the labels at `path` once for each `version` of them; 0 is where nobody looked."""
    return open_labels(zarr.open_group(path, mode="r"), level0_mpp=level0_mpp)


def describe_segmentation(folder: Path, *, level0_mpp: float) -> dict[str, Any] | None:
    """Classes with colour and area, and the geometry of the labels; None where there are none.

    Levels are (width, height), finest first. The first class is the background.
    """
    found = labels_of(folder)
    if found is None:
        return None
    pyramid = cached_labels(*found, level0_mpp=level0_mpp)
    said = read_json(folder / SEGMENTATION_NAME)
    return {
        "version": found[1],
        "name": said["name"],
        "tile_px": TILE_PX,
        "levels": [(int(level.shape[1]), int(level.shape[0])) for level in pyramid.levels],
        "downsamples": pyramid.downsamples,
        "classes": [
            each | {"colour": "#{:02x}{:02x}{:02x}".format(*pyramid.colours[each["label"]][:3])}
            for each in said["classes"]
        ],
        "looked_mm2": said["looked_mm2"],
        "unreadable_tissue_mm2": said["unreadable_tissue_mm2"],
    }


def label_png(pyramid: LabelLevels, *, level: int, column: int, row: int) -> bytes:
    """The labels of a tile as a grey PNG, the grey of a pixel being its label.

    Raises
    ------
    NoSuchTileError
        If the pyramid has no such tile.
    """
    sizes = [(width, height) for height, width in (array.shape for array in pyramid.levels)]
    place = place_of(sizes, level=level, column=column, row=row)
    labels = np.asarray(pyramid.levels[level][place], np.uint8)
    stream = io.BytesIO()
    Image.fromarray(labels).save(stream, format="PNG")
    return stream.getvalue()
