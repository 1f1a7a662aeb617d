"""Training targets from labelled nuclei: which pixels, and how far from their nucleus's centre."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label


def nuclei_maps(instances: NDArray[np.integer]) -> NDArray[np.float32]:
    """The nuclei map and the horizontal and vertical distance maps of an instance map.

    Each side of a nucleus is scaled by itself, so that a distance runs from −1 at the left
    (upper) end over 0 at the centre of mass to 1 at the right (lower) end, whatever the size.
    After HoVer-Net (Graham et al., 2019), with a symmetric range.

    Parameters
    ----------
    instances
        (H, W), 0 for background and one positive number a nucleus.

    Returns
    -------
    (3, H, W) float32: nuclei 0 or 1, horizontal, vertical; 0 outside nuclei.
    """
    maps = np.zeros((3, *instances.shape), np.float32)
    inside = instances > 0
    maps[0] = inside
    _, nucleus = np.unique(instances[inside], return_inverse=True)
    rows, columns = np.nonzero(inside)
    maps[1][inside] = _spread(columns, nucleus)
    maps[2][inside] = _spread(rows, nucleus)
    return maps


def number_parts(instances: NDArray[np.integer]) -> NDArray[np.int32]:
    """Number each connected part of an (H, W) instance map by itself, from 1.

    Mirroring at an image's edge doubles a nucleus, reflecting and bending can tear one: each part
    has its own centre then.
    """
    parts: NDArray[np.int32] = label(instances, connectivity=1)  # type: ignore[no-untyped-call]
    return parts


def _spread(positions: NDArray[np.integer], nucleus: NDArray[np.integer]) -> NDArray[np.float64]:
    """Offsets from the mean of each pixel's nucleus, each side divided by its own extent."""
    mean = np.bincount(nucleus, positions) / np.bincount(nucleus)
    offset = positions - mean[nucleus]
    side = (offset > 0).astype(np.intp), nucleus
    extents = np.zeros((2, len(mean)))
    np.maximum.at(extents, side, np.abs(offset))
    scaled: NDArray[np.float64] = offset / np.maximum(extents[side], 1e-6)
    return scaled


def reduce_maps(maps: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Sample (3, H, W) maps at the network's output stride, (3, H/stride, W/stride).

    The nuclei map is averaged, which makes it soft at borders; distances are averaged over the
    nuclear pixels of a block, so that background does not pull them to 0, and where the map is
    soft, by how nuclear each is.
    """
    height, width = (n // stride for n in maps.shape[1:])
    blocks = maps[:, : height * stride, : width * stride]
    blocks = blocks.reshape(3, height, stride, width, stride)
    nuclear = blocks[0].sum((1, 3))
    distances = (blocks[1:] * blocks[0]).sum((2, 4)) / np.maximum(nuclear, 1e-6)
    return np.concatenate([nuclear[None] / stride**2, distances]).astype(np.float32)
