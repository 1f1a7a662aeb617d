"""`tiles.h5`: coordinates and embeddings of a slide's tiles, as TRIDENT and CLAM lay them out.

Those formats say *patch* where we say tile; their words stay in their attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wsi.atomic import replacing


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
    attributes
        TRIDENT's, and ours; see `tile_attributes`.
    """

    coords: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    invalid: NDArray[np.int64]
    attributes: Mapping[str, Any]

    @property
    def tile_level0_px(self) -> float:
        """Exact edge of a tile in level-0 pixels."""
        return float(
            self.attributes["patch_size"] * self.attributes["mpp"] / self.attributes["level0_mpp"]
        )

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
        for name, data in (
            ("coords", table.coords),
            ("features", features),
            ("invalid_coords", table.invalid),
        ):
            # Without times in the file the same tiles give the same bytes.
            dataset = file.create_dataset(name, data=data, track_times=False)
            dataset.attrs.update(table.attributes)


def read_tiles(path: Path) -> TileTable:
    """Read what `write_tiles` wrote."""
    with h5py.File(path) as file:
        return TileTable(
            coords=file["coords"][:].astype(np.int64),
            embeddings=file["features"][:].astype(np.float32),
            invalid=file["invalid_coords"][:].astype(np.int64),
            attributes=dict(file["coords"].attrs),
        )
