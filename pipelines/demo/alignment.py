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

from pipelines.cohort.manifest import Entry
from pipelines.heatmaps.channels import Channel
from pipelines.heatmaps.ome_zarr import make_heatmap, write_heatmap
from pipelines.job import SlideJob
from pipelines.model import save_untrained
from pipelines.runfolder import HEATMAP_NAME, IMAGE_NAME, TILES_NAME
from pipelines.settings.config import RunConfig
from pipelines.slide import run_slide
from wsi.atomic import replacing
from wsi.ngff import pixel_of
from wsi.open import open_slide
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.tilestore import read_tiles

RAMP_STEPS = 256
NOT_RAMP = 160  # of blue, which is 128 on the ramp: more is glass around what was scanned


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Largest distance in level-0 pixels between where values are and where they say they are.

    `heatmap_px` over all cells of the heatmap; `image_px` the largest mean shift of a level of
    the pyramid.
    """

    heatmap_px: float
    image_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Where values are minus where they say they are, (2, H, W) level-0 pixels along x and y.

    Attributes
    ----------
    heatmap
        Of each cell; NaN where there is no value.
    image
        Of each pixel of each level, finest first; NaN outside of what was scanned. A pixel's own
        is within a step of the ramp; their mean is the level's shift.
    """

    heatmap: NDArray[np.float64]
    image: tuple[NDArray[np.float64], ...]


def measure_alignment(folder: Path, *, slide: Path, spec: TileSpec) -> Alignment:
    """Send a slide through the chain as `measure_errors` does, and keep the largest errors."""
    errors = measure_errors(folder, slide=slide, spec=spec)
    return Alignment(
        heatmap_px=float(np.nanmax(np.abs(errors.heatmap))),
        image_px=max(float(np.abs(np.nanmean(level, axis=(1, 2))).max()) for level in errors.image),
    )


def measure_errors(
    folder: Path,
    *,
    slide: Path,
    spec: TileSpec,
    stride_px: int | None = None,
    mask: Path | None = None,
) -> Errors:
    """Send a slide with the pixels of `write_locating_slide` through the chain in `folder`.

    Parameters
    ----------
    slide
        In any format.
    mask
        Where to look, as in a manifest; tiles wholly in it are taken. None for everywhere.
    """
    if mask is None:
        mask = folder / "everything.png"
        with open_slide(slide) as opened:
            Image.new("L", opened.dimensions, 255).save(mask)
    write_colour_model(folder / "model", spec)
    out = folder / "slide"
    config = RunConfig(
        model=folder / "model",
        stride_px=stride_px,
        feature_dtype="float32",
        min_tissue_fraction=1.0,
        quality="off",  # half of the ramp has the colours of a pen
    )
    ref = SlideRef(path=slide, slide_id="locating", mask=mask)
    run_slide(SlideJob(entry=Entry(ref=ref), folder=out, config=config))
    tiles = read_tiles(out / TILES_NAME)
    channels = [_channel("x"), _channel("y")]
    centres = _decode(tiles.embeddings[:, :2] * 255, tiles.dimensions)
    with replacing(out / HEATMAP_NAME) as tmp:
        write_heatmap(tmp, make_heatmap(centres, channels, tiles), name="locating")
    level0_mpp = float(tiles.attributes["level0_mpp"])
    heatmap = _Placed.read(out / HEATMAP_NAME, 0, level0_mpp)
    return Errors(
        heatmap=heatmap.errors(heatmap.values),
        image=tuple(
            _shift(_Placed.read(out / IMAGE_NAME, level, level0_mpp), tiles.dimensions)
            for level in range(_levels(out / IMAGE_NAME))
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

    def errors(self, said: NDArray[np.floating]) -> NDArray[np.float64]:
        """Positions (x, y) that its pixels say, (2, H, W), minus the pixels' centres."""
        x, y = (
            self.first_centre + np.arange(count, dtype=np.float64) * self.downsample + 0.5
            for count in self.values.shape[:0:-1]
        )
        return np.stack([said[0] - x[None, :], said[1] - y[:, None]])


def _shift(level: _Placed, dimensions: tuple[int, int]) -> NDArray[np.float64]:
    """Errors of the pixels of a level of the pyramid."""
    said = _decode(level.values[:2].transpose(1, 2, 0), dimensions)
    errors = level.errors(said.transpose(2, 0, 1))
    errors[:, level.values[2] > NOT_RAMP] = np.nan
    return errors


def _decode(colour: NDArray[np.floating], dimensions: tuple[int, int]) -> NDArray[np.float64]:
    """The level-0 positions (x, y) that means of the ramp's (red, green) stand for, (…, 2)."""
    return (np.asarray(colour, np.float64) + 0.5) * np.array(dimensions, np.float64) / RAMP_STEPS


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
