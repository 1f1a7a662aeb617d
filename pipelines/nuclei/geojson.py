"""`nuclei.geojson`: every nucleus as a QuPath detection, written as it is read.

QuPath wants coordinates in level-0 pixels counted from the corner of the scanned area, a UUID a
feature, and measurements as a mapping.
"""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import contourpy
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from shapely import Polygon

from distill.teachers.measure import MEASURES
from pipelines.nuclei.table import (
    MASK_COLUMNS,
    SLACK_PX,
    NucleiInfo,
    mask_of,
    read_groups,
    read_info,
)
from wsi.atomic import replacing

# Names as QuPath writes its own, with the unit.
TITLES = {
    "area_um2": "Area µm^2",
    "perimeter_um": "Perimeter µm",
    "major_axis_um": "Major axis µm",
    "minor_axis_um": "Minor axis µm",
    "eccentricity": "Eccentricity",
    "haematoxylin_od": "Hematoxylin OD mean",
    "eosin_od": "Eosin OD mean",
    "mean_od": "OD mean",
    "spread_od": "OD std dev",
}
CELL_PX = 1024  # edge of what is drawn at a time, level-0 pixels
COLOUR = (0, 114, 178)
SIMPLIFY_PX = 0.5  # an outline may leave its mask by this: 20 points a nucleus instead of 80


def write_nuclei_geojson(path: Path, table: Path) -> int:
    """Write the nuclei of a table in the memory of one block of it; returns how many.

    The same table gives the same bytes.
    """
    info, count = read_info(table)
    head = json.dumps({"type": "FeatureCollection", "features": []})[:-2]
    with replacing(path) as tmp, tmp.open("w", encoding="utf-8") as file:
        file.write(head)
        separator = "\n"
        for group in read_groups(table, [*MASK_COLUMNS, *MEASURES]):
            for row in group.to_pylist():
                file.write(separator + json.dumps(_feature(row, info), allow_nan=False))
                separator = ",\n"
        file.write("\n]}\n")
    return count


def outline_of(row: Mapping[str, Any]) -> Polygon:
    """The outline of a row's mask in pixels of the frame, simplified; edges of pixels are whole."""
    mask = np.pad(mask_of(row), 1).astype(np.float64)
    lines = contourpy.contour_generator(z=mask, fill_type="OuterOffset").filled(0.5, np.inf)
    pieces = []
    for points, ends in zip(*lines, strict=True):
        rings = np.split(points - 0.5, np.asarray(ends[1:-1], np.intp))
        pieces.append(Polygon(rings[0], rings[1:]))
    # A nucleus is connected over the sides of its pixels; in tables of before, not every one.
    piece = max(pieces, key=lambda piece: piece.area)
    simple: Polygon = shapely.simplify(piece, SIMPLIFY_PX, preserve_topology=True)
    return shapely.transform(simple, lambda at: at + np.array([row["left"], row["top"]]))


def outlines_within(table: Path, *, column: int, row: int) -> list[list[list[float]]]:
    """Outer rings of the nuclei with their centre in a cell of `CELL_PX`, [x, y] in level-0 pixels.

    Unlike the file, they count from the slide's corner.
    """
    info, _ = read_info(table)
    left, top = column * CELL_PX, row * CELL_PX
    edge = info.core_px * info.scale
    slack = SLACK_PX * info.scale  # of a centre that lies hardly outside its block
    rings = []
    with pq.ParquetFile(table) as file:
        for number, block in enumerate(info.blocks):
            x, y = block.column * edge, block.row * edge
            across = x - slack < left + CELL_PX and x + edge + slack > left
            if not (across and y - slack < top + CELL_PX and y + edge + slack > top):
                continue
            nuclei = file.read_row_group(number, columns=["x", "y", *MASK_COLUMNS])
            inside = (pc.field("x") >= left) & (pc.field("x") < left + CELL_PX)
            inside &= (pc.field("y") >= top) & (pc.field("y") < top + CELL_PX)
            for nucleus in nuclei.filter(inside).to_pylist():
                ring = np.asarray(outline_of(nucleus).exterior.coords) * info.scale
                rings.append(ring.round(1).tolist())
    return rings


def _feature(row: Mapping[str, Any], info: NucleiInfo) -> dict[str, Any]:
    outline = outline_of(row)
    rings = [
        np.round(np.asarray(ring.coords) * info.scale - info.origin, 2).tolist()
        for ring in (outline.exterior, *outline.interiors)
    ]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{info.slide_id}/nucleus/{row['id']}")),
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "detection",
            "classification": {"name": "Nucleus", "color": list(COLOUR)},
            "measurements": {title: round(row[name], 4) for name, title in TITLES.items()},
        },
    }
