"""`heatmap.ome.zarr`: values of tiles as a float image in the slide's physical frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipelines.heatmaps.channels import Channel
from pipelines.heatmaps.looked import COLOURS, LABEL, NAMES, looked_at
from wsi import ngff
from wsi.labels import write_labels
from wsi.raster import RasterFrame, rasterise
from wsi.tilestore import TileTable

CHUNK_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """What a `heatmap.ome.zarr` holds.

    Attributes
    ----------
    values
        (K, rows, columns) float32, one plane a channel; NaN where the model did not look.
    channels
        What the planes mean; the first is the one to show.
    cell_level0_px
        Edge of a cell in level-0 pixels; cell (0, 0) starts at the slide's top-left corner.
    dimensions
        (width, height) of the slide's level 0.
    level0_mpp
        µm per level-0 pixel.
    looked
        (rows, columns), a label of `pipelines.heatmaps.looked.NAMES` for each cell: where the
        model looked, and why it did not; None where nobody said.
    """

    values: NDArray[np.float32]
    channels: tuple[Channel, ...]
    cell_level0_px: float
    dimensions: tuple[int, int]
    level0_mpp: float
    looked: NDArray[np.uint8] | None = None


def make_heatmap(
    values: NDArray[np.floating], channels: Sequence[Channel], tiles: TileTable
) -> Heatmap:
    """Lay (N, K) values of N tiles over their slide; a cell is one stride wide."""
    cell = tiles.stride_level0_px
    frame = RasterFrame.over(tiles.dimensions, cell_level0_px=cell)
    planes = rasterise(values, tiles.coords, tile_level0_px=tiles.tile_level0_px, frame=frame)
    return Heatmap(
        values=planes,
        channels=tuple(channels),
        cell_level0_px=cell,
        dimensions=tiles.dimensions,
        level0_mpp=float(tiles.attributes["level0_mpp"]),
        looked=looked_at(tiles, frame),
    )


def write_heatmap(path: Path, heatmap: Heatmap, *, name: str) -> None:
    """Write a heatmap as a new OME-Zarr 0.5 group whose transform is the image's."""
    group = zarr.create_group(path, zarr_format=3)
    group.create_array(
        "0",
        data=heatmap.values,
        chunks=(1, *(min(CHUNK_PX, n) for n in heatmap.values.shape[1:])),
        compressors=ZstdCodec(),
        fill_value=np.nan,
        dimension_names=("c", "y", "x"),
    )
    downsample = heatmap.cell_level0_px
    ome = ngff.multiscales(
        name=name, axes="cyx", downsamples=[downsample], level0_mpp=heatmap.level0_mpp
    )
    group.attrs.update(
        {
            "ome": ome | {"omero": {"channels": [_omero(c) for c in heatmap.channels]}},
            "raypath": {
                "channels": [channel.as_dict() for channel in heatmap.channels],
                "cell_level0_px": heatmap.cell_level0_px,
                "level0_width": heatmap.dimensions[0],
                "level0_height": heatmap.dimensions[1],
                "level0_mpp": heatmap.level0_mpp,
            },
        }
    )

    if heatmap.looked is not None:
        write_labels(
            group,
            LABEL,
            da.from_array(heatmap.looked, chunks=-1),
            downsample=downsample,
            level0_mpp=heatmap.level0_mpp,
            count=1,
            colours=COLOURS,
            meanings=NAMES,
            chunk_px=CHUNK_PX,
        )


def read_heatmap(path: Path) -> Heatmap:
    """Read what `write_heatmap` wrote."""
    group = zarr.open_group(path, mode="r")
    looked = f"labels/{LABEL}/0"
    ours: dict[str, Any] = dict(group.attrs["raypath"])  # type: ignore[arg-type]
    return Heatmap(
        values=np.asarray(group["0"][...]),  # type: ignore[index]
        channels=tuple(Channel(**channel) for channel in ours["channels"]),
        cell_level0_px=float(ours["cell_level0_px"]),
        dimensions=(int(ours["level0_width"]), int(ours["level0_height"])),
        level0_mpp=float(ours["level0_mpp"]),
        looked=np.asarray(group[looked][...]) if looked in group else None,  # type: ignore[index]
    )


def _omero(channel: Channel) -> dict[str, Any]:
    low, high = (channel.low, channel.high) if channel.scale == "linear" else (-4.0, 4.0)
    window = {"min": low, "max": high, "start": low, "end": high}
    return {"label": channel.name, "color": "FF8000", "active": True, "window": window}
