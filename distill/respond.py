"""A network as a teacher: what it answers to tiles, at the student's stride and resolution."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from distill.device import device_of
from distill.encoders import normalise
from distill.nuclei_net import OUTPUT_STRIDE, responses_of
from distill.responses import Teacher
from wsi.slide import Pixels

MULTIPLE_PX = 32  # of which networks want their input's edges


def teacher_of(net: nn.Module, *, scale: float = 1.0) -> Teacher:
    """Make a teacher of a network that gives nuclei logit and distances at any stride.

    Parameters
    ----------
    net
        (B, 3, S, S) normalised pixels to (B, 3, S/k, S/k).
    scale
        Tiles' µm per pixel over those the network was trained at: 2 for a teacher of 0.25 µm and
        tiles of 0.5 µm, which are enlarged to twice their edge for it. With 1 they are shown as
        they are, mirrored at their right and bottom up to a multiple of `MULTIPLE_PX`.
    """
    net.eval()
    device = device_of(net)

    @torch.inference_mode()
    def respond(pixels: Pixels) -> NDArray[np.float32]:
        x = normalise(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
        height, width = (n // OUTPUT_STRIDE for n in pixels.shape[1:3])
        grid = height, width
        if scale == 1:
            below, right = (-n % MULTIPLE_PX for n in x.shape[2:])
            x = functional.pad(x, (0, right, 0, below), mode="reflect")
            grid = x.shape[2] // OUTPUT_STRIDE, x.shape[3] // OUTPUT_STRIDE
        else:
            edges = [round(n * scale / MULTIPLE_PX) * MULTIPLE_PX for n in x.shape[2:]]
            x = functional.interpolate(x, edges, mode="bicubic", antialias=scale < 1)
        soft = reduce_soft(responses_of(net(x).float()), *grid)
        return soft[:, :, :height, :width].cpu().numpy()

    return respond


def reduce_soft(maps: Tensor, height: int, width: int) -> Tensor:
    """Bring soft (B, 3, H, W) maps to a smaller grid, by any factor.

    As `distill.targets.reduce_maps`: probability is averaged over what a pixel covers, distances
    over what of it is nucleus.
    """
    if maps.shape[2:] == (height, width):
        return maps
    probability = functional.interpolate(maps[:, :1], (height, width), mode="area")
    weighted = functional.interpolate(maps[:, 1:] * maps[:, :1], (height, width), mode="area")
    return torch.cat([probability, weighted / probability.clamp(min=1e-6)], dim=1)
