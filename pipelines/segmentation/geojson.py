"""`segmentation.geojson`: each piece of each class as a QuPath annotation.

QuPath wants coordinates in level-0 pixels counted from the corner of the scanned area, and a UUID
a feature. Pieces are drawn from the finest level of the labels that has at most `MOST_PX` pixels.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import ndimage
from shapely import Polygon

from pipelines.segmentation.block import Labels
from pipelines.segmentation.labels import colour_of
from wsi.atomic import replacing
from wsi.labels import open_labels
from wsi.outline import outline

MOST_PX = 4096**2
LEAST_PX = 16  # a piece of fewer pixels of the level it is drawn from is left out


def write_segmentation_geojson(
    path: Path,
    image: Path,
    name: str,
    classes: Sequence[str],
    *,
    level0_mpp: float,
    slide_id: str,
    origin: tuple[int, int],
) -> dict[str, Any]:
    """Draw around the classes but the first; returns how many pieces there are, and how fine.

    `origin` is the corner of the scanned area, level-0 pixels. The same labels give the same
    bytes.
    """
    labels, downsample = read_labels(image, name, level0_mpp=level0_mpp)
    count = 0
    with replacing(path) as tmp, tmp.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for index, of_class in enumerate(classes):
            if index == 0:
                continue
            for piece in _pieces(labels == index + 1):
                feature = _feature(piece, downsample, origin, level0_mpp)
                feature["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{slide_id}/{name}/{count}"))
                feature["properties"]["classification"] = {
                    "name": of_class,
                    "color": list(colour_of(index)),
                }
                file.write(("," if count else "") + "\n" + json.dumps(feature, allow_nan=False))
                count += 1
        file.write("\n]}\n")
    return {"n_pieces": count, "outline_um": downsample * level0_mpp}


def read_labels(
    image: Path, name: str, *, level0_mpp: float, most_px: int = MOST_PX
) -> tuple[Labels, float]:
    """The finest level of a label image with at most `most_px` pixels, or the coarsest.

    Returns
    -------
    The labels (H, W), and level-0 pixels per pixel of them.
    """
    group = zarr.open_group(image / "labels" / name, mode="r")
    labels = open_labels(group, level0_mpp=level0_mpp)
    sizes = [array.shape[0] * array.shape[1] for array in labels.levels]
    level = next((n for n, size in enumerate(sizes) if size <= most_px), len(sizes) - 1)
    return np.asarray(labels.levels[level][...], np.uint8), labels.downsamples[level]


def _pieces(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[Polygon]:
    """What is connected over the sides of pixels, in pixels of the mask, row by row."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        if sizes[number] < LEAST_PX:
            continue
        (piece,) = outline(parts[box] == number, downsample=1.0)
        rows, columns = box
        corner = np.array([columns.start, rows.start])
        rings = [np.asarray(ring.coords) + corner for ring in (piece.exterior, *piece.interiors)]
        yield Polygon(rings[0], rings[1:])


def _feature(
    piece: Polygon, downsample: float, origin: tuple[int, int], level0_mpp: float
) -> dict[str, Any]:
    rings = [
        np.round(np.asarray(ring.coords) * downsample - origin, 2).tolist()
        for ring in (piece.exterior, *piece.interiors)
    ]
    area_um2 = piece.area * (downsample * level0_mpp) ** 2
    return {
        "type": "Feature",
        "id": "",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "isLocked": False,
            "measurements": {"Area µm^2": round(area_um2, 2)},
        },
    }
