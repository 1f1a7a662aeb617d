"""InstanSeg's TorchScript models for H&E, such as `brightfield_nuclei`.

Goldsborough et al., InstanSeg: an embedding-based instance segmentation algorithm optimized for
accurate, efficient and portable cell segmentation, 2024 (arXiv:2408.15954). A model takes RGB at
0.5 µm/px, each channel scaled so that its 0.1th and 99.9th percentile are 0 and 1, and returns a
number for each nucleus at its pixels.
"""

import math
import warnings
from io import BytesIO

import numpy as np
import torch
from torch import Tensor, nn

from distill.errors import ModelError
from distill.targets import nuclei_maps

PERCENTILES = (0.001, 0.999)
# Of a channel that is all one value; in units of normalised pixels, of which a grey level is 0.017.
LEAST_RANGE = 1e-5
# A nuclear pixel's probability. The model is never in doubt; a student need not copy that.
SURE = 0.95


class InstanSegTeacher(nn.Module):
    """A TorchScript of InstanSeg as a teacher's network: its nuclei, drawn as maps.

    Parameters
    ----------
    script
        (B, 3, H, W) scaled pixels to (B, 1, H, W) numbers of nuclei, 0 for background.
    """

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels to (B, 3, H, W): nuclei logit, horizontal, vertical.

        Raises
        ------
        ModelError
            If the script does not answer with one map of numbers an image.
        """
        with torch.autocast(x.device.type, enabled=False):  # numbers of nuclei are no bfloat16
            labels = self.script(scale_channels(x.float()))
        if labels.shape != (len(x), 1, *x.shape[2:]):
            raise ModelError(
                f"the script answers {tuple(x.shape)} with {tuple(labels.shape)}: one map of "
                "nuclei an image is wanted, as brightfield_nuclei gives"
            )
        numbers = labels[:, 0].cpu().numpy().astype(np.int64)
        maps = torch.from_numpy(np.stack([nuclei_maps(of_image) for of_image in numbers]))
        logit = math.log(SURE / (1 - SURE))
        maps[:, 0] = (2 * maps[:, 0] - 1) * logit
        return maps.to(x.device)


def scale_channels(x: Tensor) -> Tensor:
    """Bring each channel's 0.1th and 99.9th percentile to 0 and 1; (B, C, H, W) both ways.

    Whatever normalisation by channel came before makes no difference.
    """
    levels = torch.tensor(PERCENTILES, device=x.device)
    low, high = torch.quantile(x.flatten(2), levels, dim=2)[..., None, None]
    scaled: Tensor = (x - low) / (high - low).clamp(min=LEAST_RANGE)
    return scaled


def load_instanseg(stored: BytesIO) -> InstanSegTeacher:
    """Load a TorchScript, which is code: only ever of bytes whose digest was asked for.

    Raises
    ------
    ModelError
        If it is no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            # torch would rather have models exported anew; what others published is as it is.
            warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
            script = torch.jit.load(stored, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ModelError(f"not a TorchScript: {error}") from error
    return InstanSegTeacher(script).eval()
