"""Grad-CAM: which cells of the feature maps that an embedding averages push the score up.

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017. With A_k those maps and y the score,

    alpha_k = mean over cells of dy / dA_k,        map = ReLU(sum_k alpha_k A_k)

For a network that averages its features over space and is linear after that, this is the class
activation map of Zhou et al. (CVPR 2016) without its negative part, up to the number of cells.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def grad_cam(
    features_of: Callable[[Tensor], Tensor], score_of: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Weigh the feature maps of each image: (B, H, W), 0 where nothing speaks for the score.

    A cell of the map is as large as the network's stride, 32 pixels in most; between their
    centres the map is interpolated.

    Parameters
    ----------
    features_of
        Maps (B, 3, H, W) images to (B, C, h, w) features.
    score_of
        Maps those features to (B,) scores.

    Raises
    ------
    ValueError
        If the features have no place in the image, as those of token models.
    """
    with torch.no_grad():
        features = features_of(x)
    if features.ndim != 4:
        raise ValueError(
            f"Grad-CAM needs features (B, C, h, w), got {tuple(features.shape)}: take occlusion "
            "or integrated gradients for networks without feature maps"
        )
    at = features.requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(score_of(at).sum(), at)
    alpha = slope.mean((2, 3), keepdim=True)
    small = (alpha * features.detach()).sum(1, keepdim=True).relu()
    size = (x.shape[2], x.shape[3])
    return functional.interpolate(small, size, mode="bilinear", align_corners=False)[:, 0]
