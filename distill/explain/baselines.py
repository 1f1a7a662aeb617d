"""What stands in for pixels that are taken away.

No stand-in is neutral: a white square is glass where there was tissue, a grey one is a colour no
tissue has, a blurred one keeps colour and loses texture. What a map says holds for its stand-in.
"""

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

BLUR_SHARE = 1 / 16  # standard deviation of the blur by edge of the image: no nucleus is left


def white(x: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Glass, for images normalised with `mean` and `std` by channel: the shape of `x`."""
    shift, spread = (x.new_tensor(v).view(1, -1, 1, 1) for v in (mean, std))
    return ((1 - shift) / spread).expand_as(x)


def mean_colour(x: Tensor) -> Tensor:
    """Each image's own mean colour everywhere: the shape of `x`."""
    return x.mean((2, 3), keepdim=True).expand_as(x)


def blurred(x: Tensor) -> Tensor:
    """Each image without detail, with a blur of `BLUR_SHARE` of its shorter edge."""
    sigma = min(x.shape[2:]) * BLUR_SHARE
    soft = gaussian_filter(x.detach().cpu().numpy(), sigma, axes=(2, 3))
    return torch.from_numpy(soft).to(x)
