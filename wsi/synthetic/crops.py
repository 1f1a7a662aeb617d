"""Crops of made-up tissue with every nucleus labelled."""

import itertools

import numpy as np
from numpy.typing import NDArray

from wsi.synthetic.noise import uniform
from wsi.synthetic.specimen import Specimen
from wsi.synthetic.tissue import BLOCK, render, tissue_mask, tumour_mask


def nuclei_crops(
    *, count: int, size_px: int, seed: int, mpp: float = 0.5
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Render labelled crops to train a nuclei model on.

    Crops come from many specimens of different stains, half of them with a tumour; most of a
    crop is tissue.

    Parameters
    ----------
    count, size_px
        How many crops, and their width and height in pixels.
    seed
        Which crops.
    mpp
        Of the crops, µm per pixel.

    Returns
    -------
    rgb
        (count, size_px, size_px, 3).
    nuclei
        (count, size_px, size_px) instance labels, 0 = none; not consecutive.
    """
    rgb = np.empty((count, size_px, size_px, 3), np.uint8)
    nuclei = np.empty((count, size_px, size_px), np.int32)
    side = max(round(1200 / mpp), 3 * size_px)
    done, serial = 0, 0
    while done < count:
        number = (seed * 1_000_003 + serial) % 2**31
        serial += 1
        specimen = Specimen(
            seed=number,
            width=side,
            height=side,
            mpp=mpp,
            tumour=serial % 2 == 0,
            blur=serial % 8 == 0,
        )
        for x, y in _tissue_spots(specimen, size_px)[: min(8, count - done)]:
            region = render(specimen, x=x, y=y, width=size_px, height=size_px)
            rgb[done], nuclei[done] = region.rgb, region.nuclei
            done += 1
    return rgb, nuclei


def _tissue_spots(specimen: Specimen, size_px: int) -> list[tuple[int, int]]:
    """List corners of squares that hold mostly tissue, by turns in and out of tumour; level-0."""
    step = size_px if size_px > BLOCK else BLOCK // max(1, BLOCK // size_px)
    coarse = 8
    masks = {"tissue": tissue_mask(specimen, downsample=coarse)}
    masks["tumour"] = tumour_mask(specimen, downsample=coarse)
    edge = max(1, size_px // coarse)
    kinds: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for y in range(0, specimen.height - size_px + 1, step):
        for x in range(0, specimen.width - size_px + 1, step):
            here = np.s_[y // coarse : y // coarse + edge, x // coarse : x // coarse + edge]
            if masks["tissue"][here].mean() > 0.6:
                kinds[bool(masks["tumour"][here].mean() > 0.3)].append((x, y))
    mixed = []
    for tumour, spots in kinds.items():
        order = np.argsort(uniform(specimen.seed, np.arange(len(spots)), tumour), kind="stable")
        mixed.append([spots[k] for k in order])
    return [spot for pair in itertools.zip_longest(*mixed) for spot in pair if spot is not None]
