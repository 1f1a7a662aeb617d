"""Made-up slides to try the pipeline on: known truth, known coordinates, nobody's patient."""

from wsi.synthetic.cohort import (
    TRUTH_DOWNSAMPLE,
    CohortSlide,
    plan_cohort,
    write_cohort_slide,
    write_manifest,
)
from wsi.synthetic.crops import nuclei_crops
from wsi.synthetic.slides import write_locating_slide, write_slide
from wsi.synthetic.specimen import Specimen, Stain
from wsi.synthetic.tissue import Rendering, render, tissue_mask, tumour_mask

__all__ = [
    "TRUTH_DOWNSAMPLE",
    "CohortSlide",
    "Rendering",
    "Specimen",
    "Stain",
    "nuclei_crops",
    "plan_cohort",
    "render",
    "tissue_mask",
    "tumour_mask",
    "write_cohort_slide",
    "write_locating_slide",
    "write_manifest",
    "write_slide",
]
