"""`tiles.h5`: coordinates and embeddings of a slide's tiles, as TRIDENT and CLAM lay them out.

Those formats say *patch* where we say tile; their words stay in their attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wsi.atomic import replacing
from wsi.quality import MEASURES

NAMES = "names"  # attribute: what the columns of `quality`, and the reasons, are called


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Tiles that were read and left out for their quality; they have no embedding.

    Attributes
    ----------
    coords
        (K, 2) int64 top-left corners (x, y), level-0 pixels.
    quality
        (K, 4) float32 measures, by `wsi.quality.MEASURES`.
    reason
        (K,) index of the measure each was left out for.
    """

    coords: NDArray[np.int64]
    quality: NDArray[np.float32]
    reason: NDArray[np.int8]

    @classmethod
    def none(cls) -> "LeftOut":
        """No tile."""
        return cls(
            coords=np.zeros((0, 2), np.int64),
            quality=np.zeros((0, len(MEASURES)), np.float32),
            reason=np.zeros(0, np.int8),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TileTable:
    """The content of a `tiles.h5`.

    Attributes
    ----------
    coords
        (N, 2) int64 top-left corners (x, y), level-0 pixels.
    embeddings
        (N, D) float32 in memory, whatever the precision on disk.
    invalid
        (M, 2) int64 corners of tiles whose bytes did not decode; they have no embedding.
    quality
        (N, 4) float32 measures of the embedded tiles, by `wsi.quality.MEASURES`; None where they
        were not measured.
    left_out
        Tiles left out for their quality.
    attributes
        TRIDENT's, and ours; see `tile_attributes`.
    """

    coords: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    invalid: NDArray[np.int64]
    attributes: Mapping[str, Any]
    quality: NDArray[np.float32] | None = None
    left_out: LeftOut = field(default_factory=LeftOut.none)

    @property
    def tile_level0_px(self) -> float:
        """Exact edge of a tile in level-0 pixels."""
        return _tile_level0_px(self.attributes)

    @property
    def stride_level0_px(self) -> float:
        """Exact step between tiles in level-0 pixels."""
        share = float(self.attributes["stride"] / self.attributes["patch_size"])
        return self.tile_level0_px * share

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of the slide's level 0."""
        return int(self.attributes["level0_width"]), int(self.attributes["level0_height"])


def write_tiles(path: Path, table: TileTable, *, dtype: str = "float16") -> None:
    """Write a table in one step: the file is there whole or not at all.

    Raises
    ------
    ValueError
        If an embedding is not finite in the precision of `dtype`.
    """
    with np.errstate(over="ignore"):
        features = table.embeddings.astype(dtype)
    if not np.isfinite(features).all():
        raise ValueError(
            f"embeddings are not finite as {dtype} (largest {np.abs(table.embeddings).max():.3g}, "
            f"limit {np.finfo(dtype).max:.3g}): store them as float32, or mend the encoder"
        )
    with replacing(path) as tmp, h5py.File(tmp, "w", track_order=True) as file:
        datasets = {"coords": table.coords, "features": features, "invalid_coords": table.invalid}
        if table.quality is not None:
            datasets |= {
                "quality": table.quality,
                "excluded_coords": table.left_out.coords,
                "excluded_quality": table.left_out.quality,
                "excluded_reason": table.left_out.reason,
            }
        for name, data in datasets.items():
            # Without times in the file the same tiles give the same bytes.
            dataset = file.create_dataset(name, data=data, track_times=False)
            dataset.attrs.update(table.attributes)
            if name in ("quality", "excluded_quality", "excluded_reason"):
                dataset.attrs[NAMES] = list(MEASURES)


def read_tiles(path: Path) -> TileTable:
    """Read what `write_tiles` wrote."""
    with h5py.File(path) as file:
        measured = "quality" in file
        return TileTable(
            coords=file["coords"][:].astype(np.int64),
            embeddings=file["features"][:].astype(np.float32),
            invalid=file["invalid_coords"][:].astype(np.int64),
            attributes=dict(file["coords"].attrs),
            quality=file["quality"][:].astype(np.float32) if measured else None,
            left_out=_read_left_out(file) if measured else LeftOut.none(),
        )


def read_left_out(path: Path) -> tuple[LeftOut, float]:
    """The tiles left out, without the embeddings; and a tile's exact edge in level-0 pixels."""
    with h5py.File(path) as file:
        left_out = _read_left_out(file) if "quality" in file else LeftOut.none()
        return left_out, _tile_level0_px(file["coords"].attrs)


def _read_left_out(file: h5py.File) -> LeftOut:
    return LeftOut(
        coords=file["excluded_coords"][:].astype(np.int64),
        quality=file["excluded_quality"][:].astype(np.float32),
        reason=file["excluded_reason"][:].astype(np.int8),
    )


def _tile_level0_px(attributes: Mapping[str, Any]) -> float:
    return float(attributes["patch_size"] * attributes["mpp"] / attributes["level0_mpp"])
