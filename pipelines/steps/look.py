"""Looking at a slide before any work: resolution, tissue, and whether the model can use it."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.tissue_geojson import read_tissue
from wsi.errors import NotBrightfieldError, NoTissueError
from wsi.overview import overview_grid, read_overview
from wsi.ref import SlideRef
from wsi.resolution import MppSource, Resolution, resolve_mpp
from wsi.slide import Slide
from wsi.tissue import Tissue, find_tissue, load_mask, overview_downsample


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a slide from its properties and a small picture of it."""

    resolution: Resolution
    tissue: Tissue

    @property
    def flags(self) -> tuple[str, ...]:
        """What a person should know: of the tissue, and of the resolution."""
        return self.tissue.flags + self.resolution.warnings

    @property
    def tissue_mm2(self) -> float:
        """Area of tissue."""
        pixel_mm = self.tissue.downsample * self.resolution.mpp / 1000
        return float(self.tissue.mask.sum()) * pixel_mm**2


def look(slide: Slide, ref: SlideRef, *, edited: Path | None = None) -> Look:
    """Resolve the resolution and find the tissue, or take the mask a person gave.

    Parameters
    ----------
    edited
        The run's `tissue.geojson`, if a person edited it; it goes before the manifest's mask.

    Raises
    ------
    ResolutionError, MaskError, NotBrightfieldError, NoTissueError
        If the slide cannot be used; nothing was written.
    """
    given_by = MppSource(ref.mpp_source)
    resolution = resolve_mpp(slide.properties, given=ref.mpp, given_by=given_by)
    tissue = _tissue(slide, resolution.mpp, mask=edited or ref.mask)
    if edited is not None:
        tissue = replace(tissue, flags=("edited_tissue", *tissue.flags))
    if "fluorescence" in tissue.flags:
        raise NotBrightfieldError(
            "the background is dark, as in fluorescence: models for stained tissue on bright "
            "glass do not apply; to run one all the same, name a tissue mask in the manifest"
        )
    if not tissue.mask.any() and (edited or ref.mask):
        raise NoTissueError(f"nothing is tissue in the mask {edited or ref.mask}")
    if not tissue.mask.any():
        raise NoTissueError(
            "no tissue found: the slide is blank, grey, or too pale for the detection; "
            "name a tissue mask in the manifest's mask column to look anyway"
        )
    return Look(resolution=resolution, tissue=tissue)


def scanned_corner(slide: Slide) -> tuple[int, int]:
    """The corner (x, y) of the scanned area, level-0 pixels, from which QuPath counts."""
    x, y = (int(slide.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
    return x, y


def _tissue(slide: Slide, level0_mpp: float, *, mask: Path | None) -> Tissue:
    downsample = overview_downsample(slide.dimensions, level0_mpp=level0_mpp)
    if mask is None:
        return find_tissue(read_overview(slide, downsample=downsample), level0_mpp=level0_mpp)
    if mask.suffix.lower() not in (".geojson", ".json"):
        return load_mask(mask, dimensions=slide.dimensions)
    # On the detection's own grid, so that what was not edited stays as it was to the pixel.
    shape, downsample = overview_grid(slide, downsample=downsample)
    return read_tissue(
        mask,
        dimensions=slide.dimensions,
        origin=scanned_corner(slide),
        shape=shape,
        downsample=downsample,
    )
