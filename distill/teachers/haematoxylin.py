"""Nuclei labelled without a human: where there is more haematoxylin than around.

Labels to begin with, for tissue that nobody has labelled. A teacher that learns from them, beside
true ones of other tissue, evens out what they get wrong here and there; what they get wrong
everywhere, such as pale nuclei with an empty middle, it gets wrong too.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import disk, h_maxima, opening, remove_small_objects
from skimage.segmentation import watershed

from distill.teachers.labelled import Instances
from wsi.slide import Pixels
from wsi.stain import DENSITY, STAINED, NotEstimable, estimate_stains

SMOOTH_UM = 0.5  # standard deviation: chromatin is coarser than a pixel
AROUND_UM = 6.0  # about a nucleus's size; darker than that much of its surroundings
CONTRAST = 1.05  # relative to the surroundings
OPENING_UM = 1.0  # radius; thinner parts are threads and edges
LEAST_UM2 = 5.0  # a lymphocyte has 30
CENTRE_UM = 0.25  # by how much a centre is farther from the edge than the waist between two


def label_by_haematoxylin(pixels: Pixels, *, mpp: float) -> Instances | NotEstimable:
    """Number the nuclei of an (H, W, 3) image stained with haematoxylin and eosin: (H, W) int32.

    The amount of haematoxylin after Macenko et al. (`wsi.stain.estimate_stains`) is divided by
    Otsu's threshold (IEEE Trans Syst Man Cybern 9:62, 1979); what touches is divided at its waists.
    """
    stains = estimate_stains(pixels)
    if isinstance(stains, NotEstimable):
        return stains
    density = np.take(DENSITY, pixels)
    amounts = density.reshape(-1, 3) @ np.linalg.pinv(stains.vectors).astype(np.float32)
    amount = ndimage.gaussian_filter(amounts[:, 0].reshape(pixels.shape[:2]), SMOOTH_UM / mpp)
    stained = density.mean(axis=2) > STAINED
    threshold = threshold_otsu(amount[stained])  # type: ignore[no-untyped-call]
    around = ndimage.gaussian_filter(amount, AROUND_UM / mpp)
    nuclear = (amount > threshold) & (amount > CONTRAST * around)
    thick = opening(nuclear, disk(round(OPENING_UM / mpp)))  # type: ignore[no-untyped-call]
    nuclear = ndimage.binary_fill_holes(thick)
    nuclear = remove_small_objects(nuclear, max_size=round(LEAST_UM2 / mpp**2))
    return _divide(nuclear, mpp)


def _divide(nuclear: NDArray[np.bool_], mpp: float) -> Instances:
    """Give each nucleus its number; touching ones have a centre each."""
    inside = ndimage.gaussian_filter(ndimage.distance_transform_edt(nuclear), SMOOTH_UM / mpp)
    centres = label(h_maxima(inside, CENTRE_UM / mpp))  # type: ignore[no-untyped-call]
    divided = watershed(-inside, centres, mask=nuclear)  # type: ignore[no-untyped-call]
    return np.asarray(divided, np.int32)
