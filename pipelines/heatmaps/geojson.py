"""`heatmap.geojson`: tiles with their values as QuPath takes them.

QuPath wants coordinates in level-0 pixels counted from the corner of the scanned area, a UUID a
feature, and measurements as a mapping.
"""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.heatmaps.channels import Channel
from wsi.atomic import replacing
from wsi.tilestore import TileTable


def write_geojson(
    path: Path,
    tiles: TileTable,
    values: NDArray[np.floating],
    channels: Sequence[Channel],
    *,
    slide_id: str,
) -> None:
    """Write one square a tile with (N, K) values, as people read them, as its measurements.

    With overlapping tiles the squares are one stride wide around the tiles' centres, so that
    they lie side by side as in the heatmap. Squares end at the slide's edge.
    """
    width, height = tiles.dimensions
    offset = np.array([tiles.attributes["bounds_x"], tiles.attributes["bounds_y"]])
    margin = (tiles.tile_level0_px - tiles.stride_level0_px) / 2
    start = tiles.coords + margin
    end = np.minimum(start + tiles.stride_level0_px, [width, height])
    corners = np.round(np.concatenate([start, end], axis=1) - np.tile(offset, 2), 2)
    read = [c.read(of) for c, of in zip(channels, values.T, strict=True)]
    features = []
    for number, ((left, top, right, bottom), row) in enumerate(
        zip(corners.tolist(), np.stack(read, axis=1).tolist(), strict=True)
    ):
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        measurements = {c.title: round(v, 6) for c, v in zip(channels, row, strict=True)}
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{slide_id}/{number}")),
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": "tile", "measurements": measurements},
            }
        )
    collection = {"type": "FeatureCollection", "features": features}
    with replacing(path) as tmp:
        tmp.write_text(json.dumps(collection, allow_nan=False))
