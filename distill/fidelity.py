"""How well a student repeats its teacher on tiles that the student was not trained on."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from distill.encoders import normalise
from distill.losses import fidelity
from distill.nuclei_net import responses_of
from wsi.slide import Pixels

CORE = 0.5  # distance from the centre, of a nucleus's own extent, within which is its core
BATCH = 32


@torch.inference_mode()
def measure_fidelity(net: nn.Module, pixels: Pixels, maps: NDArray[np.float32]) -> dict[str, float]:
    """Compare a network's maps of tiles with a teacher's.

    Parameters
    ----------
    net
        Such as `NucleiNet`, or `StudentNet`, whose first three maps are compared.
    pixels, maps
        (N, S, S, 3) uint8 tiles, and (N, 3, S/2, S/2) probability and distances.

    Returns
    -------
    ``dice`` and ``distance_error`` as `distill.losses.fidelity`; ``count_correlation``, Pearson's
    between the numbers of nuclei a tile, nan where all tiles have as many.
    """
    device = next(net.parameters()).device
    parts = torch.split(torch.from_numpy(np.ascontiguousarray(pixels)), BATCH)
    predicted = torch.cat([net(normalise(part.to(device)))[:, :3].float().cpu() for part in parts])
    target = torch.from_numpy(maps)
    answers = responses_of(predicted)
    counts = np.array(
        [[count_nuclei(a), count_nuclei(b)] for a, b in zip(answers, target, strict=True)]
    )
    return fidelity(predicted, target) | {"count_correlation": _correlation(*counts.T)}


def count_nuclei(maps: Tensor) -> int:
    """How many nuclei (3, H, W) maps show: cores that do not touch, of nuclei that may."""
    near_centre = maps[1].square() + maps[2].square() < CORE**2
    _, count = ndimage.label(((maps[0] > 0.5) & near_centre).numpy())
    return int(count)


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
