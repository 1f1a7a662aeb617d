"""`tissue.geojson`: where the tissue is, as QuPath shows and edits it, and the way back.

Coordinates are level-0 pixels counted from the corner of the scanned area, as QuPath counts. It
is the corner of the slide but for formats with a larger frame (MRXS), see docs/coordinates.md.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from wsi.atomic import replacing
from wsi.errors import MaskError
from wsi.outline import fill, outline, repair
from wsi.tissue import Tissue

TISSUE_COLOUR = (0, 158, 115)  # as the pyramid's label has it
ADDS = re.compile(r"tissue|region", re.IGNORECASE)
TAKES_AWAY = re.compile(
    r"ignore|exclude|arti?e?fact|background|pen\b|ink\b|fold|blur", re.IGNORECASE
)
MARK = "raypath"  # member of the collection that says that nobody edited it; QuPath drops it


def write_tissue(path: Path, tissue: Tissue, *, slide_id: str, origin: tuple[int, int]) -> None:
    """Write one annotation a piece of tissue, with its holes.

    `origin` is the corner of the scanned area, level-0 pixels. The same tissue gives the same
    bytes.
    """
    features = []
    for number, polygon in enumerate(outline(tissue.mask, downsample=tissue.downsample)):
        rings = [polygon.exterior, *polygon.interiors]
        places = [np.round(np.asarray(ring.coords) - origin, 2).tolist() for ring in rings]
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{slide_id}/tissue/{number}")),
                "geometry": {"type": "Polygon", "coordinates": places},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "Tissue", "color": list(TISSUE_COLOUR)},
                    "isLocked": False,
                },
            }
        )
    mark = _mark(slide_id, features)
    collection = {"type": "FeatureCollection", "features": features, MARK: mark}
    with replacing(path) as tmp:
        tmp.write_text(json.dumps(collection, allow_nan=False), encoding="utf-8")


def is_edited(path: Path, *, slide_id: str) -> bool:
    """Whether there is a file that is not as `write_tissue` left it for this slide.

    The file itself says so, whatever was killed when: its mark holds the slide and a digest of
    its features.
    """
    if not path.exists():
        return False
    try:
        collection = json.loads(path.read_text(encoding="utf-8"))
        wanted = _mark(slide_id, collection["features"])
        return bool(collection[MARK] != wanted)
    except (ValueError, LookupError, TypeError):
        return True


def read_tissue(
    path: Path,
    *,
    dimensions: tuple[int, int],
    origin: tuple[int, int],
    shape: tuple[int, int],
    downsample: float,
) -> Tissue:
    """Read polygons as a mask, (H, W) = `shape` with `downsample` level-0 pixels a pixel.

    Features classified Tissue… or Region…, or not at all, add; Ignore…, Exclude…, Artifact…,
    Background…, Pen, Ink, Fold… and Blur… take away, whatever the order. Polygons that cross
    themselves are repaired, which the flag ``repaired_mask`` says.

    Parameters
    ----------
    dimensions
        (width, height) of the slide's level 0.
    origin
        Corner of the scanned area, from which the file counts, in level-0 pixels.

    Raises
    ------
    MaskError
        If the file is missing or no GeoJSON, a feature is no area or of another class, or no
        polygon lies on the slide. The message names the file and the feature.
    """
    adds: list[MultiPolygon] = []
    takes_away: list[MultiPolygon] = []
    is_repaired = False
    for number, feature in enumerate(_features(path), start=1):
        where = f"tissue mask {path}: feature {number}"
        area = _area(feature, where)
        is_repaired |= not area.is_valid
        moved: MultiPolygon = shapely.transform(repair(area), lambda points: points + origin)
        (adds if _is_added(feature, where) else takes_away).append(moved)
    if not any(area.intersects(shapely.box(0, 0, *dimensions)) for area in adds):
        raise MaskError(_nothing_on_slide(path, adds, dimensions, origin))
    mask = fill(adds, shape=shape, downsample=downsample)
    mask &= ~fill(takes_away, shape=shape, downsample=downsample)
    flags = ("repaired_mask",) if is_repaired else ()
    return Tissue(mask=mask, downsample=downsample, flags=flags)


def _mark(slide_id: str, features: Any) -> dict[str, str]:
    as_text = json.dumps(features, sort_keys=True)
    return {"slide_id": slide_id, "sha256": hashlib.sha256(as_text.encode()).hexdigest()}


def _features(path: Path) -> Sequence[Any]:
    """The features of a collection, of a list as older QuPath exports it, or one alone."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MaskError(f"tissue mask {path}: {error}") from error
    except ValueError as error:
        raise MaskError(
            f"tissue mask {path} is no JSON ({error}): export it again as GeoJSON"
        ) from error
    if isinstance(loaded, dict):
        loaded = [loaded] if loaded.get("type") == "Feature" else loaded.get("features")
    if not isinstance(loaded, list):
        raise MaskError(
            f"tissue mask {path} is no GeoJSON FeatureCollection: "
            "in QuPath use File > Export objects as GeoJSON"
        )
    if not loaded:
        raise MaskError(
            f"tissue mask {path} has no features: draw what is tissue, or do without the file "
            "to have the tissue detected"
        )
    return loaded


def _area(feature: Any, where: str) -> MultiPolygon:
    """The geometry of a feature, perhaps not valid."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if geometry is None or kind not in ("Polygon", "MultiPolygon"):
        raise MaskError(f"{where} is a {kind}: only Polygon and MultiPolygon enclose tissue")
    coordinates = geometry.get("coordinates")
    try:
        parts = [coordinates] if kind == "Polygon" else coordinates
        rings = [[_ring(ring) for ring in part] for part in parts]
        area = MultiPolygon([Polygon(part[0], part[1:]) for part in rings])
    except (ValueError, TypeError, LookupError, shapely.errors.ShapelyError) as error:
        raise MaskError(
            f"{where} has no proper rings of (x, y) coordinates: {error}; draw it again"
        ) from error
    return area


def _ring(places: Any) -> NDArray[np.float64]:
    ring = np.array(places, np.float64)[:, :2]
    if not np.isfinite(ring).all():
        raise ValueError("a coordinate is no finite number")
    return ring


def _is_added(feature: dict[str, Any], where: str) -> bool:
    properties = feature.get("properties") or {}
    kind = properties.get("objectType", "annotation")
    if kind != "annotation":
        raise MaskError(f"{where} is a QuPath {kind}: export annotations only")
    classification = properties.get("classification")
    name = classification.get("name") if isinstance(classification, dict) else classification
    if not name or ADDS.match(str(name)):
        return True
    if TAKES_AWAY.match(str(name)):
        return False
    raise MaskError(
        f"{where} is classified {name!r}, which is neither: classify it Tissue to add it, Ignore* "
        "to take it away, or leave it out of the file"
    )


def _nothing_on_slide(
    path: Path,
    areas: Sequence[MultiPolygon],
    dimensions: tuple[int, int],
    origin: tuple[int, int],
) -> str:
    width, height = dimensions
    frame = f"pixels of level 0 ({width} x {height})"
    if origin != (0, 0):
        frame += f" counted, as in QuPath, from the scanned area's corner at {origin}"
    filled = [area for area in areas if not area.is_empty]
    if not filled:
        return f"tissue mask {path}: no feature encloses tissue: draw what is tissue"
    left, top, right, bottom = shapely.union_all(filled).bounds
    return (
        f"tissue mask {path}: all tissue lies outside the slide, at x {left:.0f} to {right:.0f} "
        f"and y {top:.0f} to {bottom:.0f} of level 0; coordinates must be {frame}"
    )
