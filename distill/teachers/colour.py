"""How else the same tissue could look: stain, light, focus and noise of a training crop."""

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter

from wsi.slide import Pixels
from wsi.stain import HED, jitter_hed

HUE = 0.08  # standard deviation of the parts of each stain's vector, before it has length 1
STAIN = 0.3  # greatest relative change of each stain, and of all together
STAIN_SHIFT = 0.03  # greatest change of density, in units of a stain's vector
BRIGHTNESS = 25.0  # grey values
CONTRAST = 0.25  # relative
TINT = 8.0  # grey values, channel by channel
BLUR_PX = (0.4, 1.5)  # standard deviation
NOISE = 10.0  # greatest standard deviation, grey values
OCCASIONAL = 0.25  # share of crops that are blurred, and of those with noise
GREY = 0.05  # share of crops without colour


def vary_colour(pixels: Pixels, rng: Generator, *, strength: float = 1.0) -> Pixels:
    """Vary stains, brightness, contrast and tint of an (H, W, 3) crop; sometimes focus and noise.

    `strength` multiplies how far the colours go, from 0 on; focus and noise vary all the same.

    Amounts of stain after Tellez et al., IEEE Trans Med Imaging 37:2126-2136, 2018
    (`wsi.stain.jitter_hed`). The stains' own colours are varied too, since laboratories and
    scanners differ in them: what is learned from one laboratory's purple finds nuclei of another.
    """
    scale = 1 + strength * (rng.uniform(-STAIN, STAIN, (1, 3)) + rng.uniform(-STAIN, STAIN))
    shift = strength * rng.uniform(-STAIN_SHIFT, STAIN_SHIFT, (1, 3))
    vectors = np.clip(HED + strength * rng.normal(0, HUE, HED.shape), 0, None)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stained = jitter_hed(pixels[None], scale=scale, shift=shift, vectors=vectors)[0]
    varied = stained.astype(np.float32)
    if rng.random() < strength * GREY:
        varied[:] = varied.mean(axis=2, keepdims=True)
    contrast = 1 + strength * rng.uniform(-CONTRAST, CONTRAST)
    middle = varied.mean(axis=(0, 1))
    light = strength * (rng.uniform(-BRIGHTNESS, BRIGHTNESS) + rng.uniform(-TINT, TINT, 3))
    varied = (varied - middle) * np.float32(contrast) + (middle + light).astype(np.float32)
    if rng.random() < OCCASIONAL:
        varied = gaussian_filter(varied, rng.uniform(*BLUR_PX), axes=(0, 1))
    if rng.random() < OCCASIONAL:
        deviation = np.float32(rng.uniform(0, NOISE))
        varied += deviation * rng.standard_normal(varied.shape, np.float32)
    return np.asarray(np.rint(np.clip(varied, 0, 255)), np.uint8)
