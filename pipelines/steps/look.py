"""Looking at a slide before any work: resolution, tissue, and whether the model can use it."""

from dataclasses import dataclass

from wsi.errors import NotBrightfieldError, NoTissueError
from wsi.overview import read_overview
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


def look(slide: Slide, ref: SlideRef) -> Look:
    """Resolve the resolution and find the tissue, or take the mask the manifest names.

    Raises
    ------
    ResolutionError, MaskError, NotBrightfieldError, NoTissueError
        If the slide cannot be used; nothing was written.
    """
    given_by = MppSource(ref.mpp_source)
    resolution = resolve_mpp(slide.properties, given=ref.mpp, given_by=given_by)
    if ref.mask is not None:
        tissue = load_mask(ref.mask, dimensions=slide.dimensions)
    else:
        downsample = overview_downsample(slide.dimensions, level0_mpp=resolution.mpp)
        overview = read_overview(slide, downsample=downsample)
        tissue = find_tissue(overview, level0_mpp=resolution.mpp)
    if "fluorescence" in tissue.flags:
        raise NotBrightfieldError(
            "the background is dark, as in fluorescence: models for stained tissue on bright "
            "glass do not apply; to run one all the same, name a tissue mask in the manifest"
        )
    if not tissue.mask.any():
        raise NoTissueError(
            "no tissue found: the slide is blank, or too pale for the detection; "
            "name a tissue mask in the manifest's mask column to look anyway"
        )
    return Look(resolution=resolution, tissue=tissue)
