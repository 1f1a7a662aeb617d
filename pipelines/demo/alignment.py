"""Does a heatmap lie where its tiles were? Measured, through the same steps a slide takes.

The slide's colours say where they are. An encoder that averages colours turns each tile into its
own position, which travels through `tiles.h5`, the raster and the OME-Zarr metadata like any
other score. Read back by physical coordinates, it must be where it says it is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image

from pipelines.channels import Channel
from pipelines.config import RunConfig
from pipelines.heatmap import make_heatmap, write_heatmap
from pipelines.job import SlideJob
from pipelines.manifest import Entry
from pipelines.model import save_untrained
from pipelines.runfolder import HEATMAP_NAME, IMAGE_NAME, TILES_NAME
from pipelines.slide import run_slide
from wsi.atomic import replacing
from wsi.ngff import pixel_of
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.testing import write_locating_slide
from wsi.tilestore import read_tiles

RAMP_STEPS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Largest distance in level-0 pixels between where values are and where they say they are.

    `heatmap_px` over all cells of the heatmap; `image_px` the largest mean shift of a level of
    the pyramid.
    """

    heatmap_px: float
    image_px: float


def measure_alignment(
    folder: Path, *, spec: TileSpec, size_px: int = 4096, stride_px: int | None = None
) -> Alignment:
    """Send a self-locating slide of `size_px` through the chain in `folder` and compare."""
    slide = write_locating_slide(folder / "locating.svs", width=size_px, height=size_px)
    mask = folder / "everything.png"
    Image.new("L", (64, 64), 255).save(mask)
    write_colour_model(folder / "model", spec)
    out = folder / "slide"
    config = RunConfig(
        model=folder / "model",
        stride_px=stride_px,
        feature_dtype="float32",
        min_tissue_fraction=1.0,
    )
    ref = SlideRef(path=slide, slide_id="locating", mask=mask)
    run_slide(SlideJob(entry=Entry(ref=ref), folder=out, config=config))
    tiles = read_tiles(out / TILES_NAME)
    centres = _decode(tiles.embeddings[:, :2] * 255, size_px)
    channels = [_channel("x"), _channel("y")]
    with replacing(out / HEATMAP_NAME) as tmp:
        write_heatmap(tmp, make_heatmap(centres, channels, tiles), name="locating")
    level0_mpp = float(tiles.attributes["level0_mpp"])
    heatmap = _Placed.read(out / HEATMAP_NAME, 0, level0_mpp)
    image = [
        _Placed.read(out / IMAGE_NAME, level, level0_mpp)
        for level in range(_levels(out / IMAGE_NAME))
    ]
    return Alignment(
        heatmap_px=max(
            float(np.nanmax(np.abs(heatmap.values[axis] - heatmap.positions(axis))))
            for axis in (0, 1)
        ),
        image_px=max(
            abs(float((_decode(level.values[axis], size_px) - level.positions(axis)).mean()))
            for level in image
            for axis in (0, 1)
        ),
    )


def write_colour_model(folder: Path, spec: TileSpec) -> None:
    """Write a model without weights whose embeddings are mean colours."""
    save_untrained(folder, "mean-colour", spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """An array of an OME-Zarr image with its place in level-0 pixels, read from its metadata."""

    values: NDArray[np.floating]
    downsample: float
    first_centre: float

    @classmethod
    def read(cls, path: Path, level: int, level0_mpp: float) -> "_Placed":
        group = zarr.open_group(path, mode="r")
        ome = group.attrs["ome"]
        transforms = ome["multiscales"][0]["datasets"][level]["coordinateTransformations"]  # type: ignore[index, call-overload]
        downsample, first = pixel_of(transforms, level0_mpp=level0_mpp)  # type: ignore[arg-type]
        values = np.asarray(group[str(level)][...], np.float64)  # type: ignore[index]
        return cls(values=values, downsample=downsample, first_centre=first)

    def positions(self, axis: int) -> NDArray[np.float64]:
        """Centres of the pixels along x (0) or y (1), counted from the slide's corner."""
        count = self.values.shape[2 - axis]
        centres = self.first_centre + np.arange(count) * self.downsample + 0.5
        return np.asarray(centres[None, :] if axis == 0 else centres[:, None], np.float64)


def _decode(colour: NDArray[np.floating], size_px: int) -> NDArray[np.float64]:
    """The level-0 position that a mean of the slide's ramp stands for."""
    return (np.asarray(colour, np.float64) + 0.5) * size_px / RAMP_STEPS


def _levels(path: Path) -> int:
    group = zarr.open_group(path, mode="r")
    return sum(name.isdigit() for name in group.array_keys())


def _channel(name: str) -> Channel:
    return Channel(
        name=name,
        title=f"{name} position",
        meaning="level-0 pixels",
        low=0,
        high=1,
        low_label="0",
        high_label="1",
        colormap="viridis",
    )
