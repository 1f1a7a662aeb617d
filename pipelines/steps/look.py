"""Looking at a slide before any work: resolution, tissue, and whether the model can use it."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.tissue_mask import tissue_of
from wsi.errors import NotBrightfieldError, NoTissueError
from wsi.ref import SlideRef
from wsi.resolution import MppSource, Resolution, resolve_mpp
from wsi.slide import Slide
from wsi.tissue import Tissue


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
    tissue = tissue_of(slide, ref, level0_mpp=resolution.mpp, edited=edited)
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
