"""Two views of a tile that differ in everything a diagnosis does not depend on.

What pathology needs otherwise than photographs, after Kang et al., Benchmarking Self-Supervised
Learning on Diverse Pathology Datasets, CVPR 2023: tissue has no upright, so all turns and both
flips; colour varies by the stain, so haematoxylin and eosin are varied (Tellez et al., IEEE Trans
Med Imaging 37:2126, 2018) more than hue. All tiles of a batch are done at once; each has its own
draw, but for the place both views are cut from, which is one for the batch.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from wsi.stain import HED

ROOM = 8 / 7  # edge of what both views are cut from, over a view's: 256 for views of 224
AREA = (0.3, 1.0)  # share of it that a view shows
ASPECT = (3 / 4, 4 / 3)
STAIN = 0.3  # a stain is scaled by 1 ± this, alone and together with the others
STAIN_SHIFT = 0.015  # optical density
LIGHT = 0.2  # brightness and contrast are scaled by 1 ± this
GREY = 0.1  # share of the views without colour
BLUR = 0.3  # share of the views out of focus
BLUR_SIGMA_PX = (0.3, 1.5)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def two_views(
    pixels: Tensor, size_px: int, generator: Generator, *, strength: float = 1.0
) -> Tensor:
    """Both views of (B, H, W, 3) uint8 tiles: (2B, 3, S, S) float 0-255, all first views first.

    They are cut from one place of the tile, `ROOM` times as wide as a view, so that nuclei are
    about as large in a view as in the tile however much larger the tile is.
    """
    edge = min(round(ROOM * size_px), *pixels.shape[1:3])
    top, left = (
        int(torch.randint(n - edge + 1, (), generator=generator)) for n in pixels.shape[1:3]
    )
    place = pixels[:, top : top + edge, left : left + edge]
    both = torch.cat([place, place]).permute(0, 3, 1, 2).float()
    crops = resized_crop(both, size_px, generator)
    return vary_colour(crops, generator, strength=strength, grey=GREY * strength)


def resized_crop(pixels: Tensor, size_px: int, generator: Generator) -> Tensor:
    """A random part of each of (B, 3, H, W) tiles, turned and flipped: (B, 3, S, S)."""
    count = len(pixels)
    area = _between(AREA, count, generator)
    aspect = _between((math.log(ASPECT[0]), math.log(ASPECT[1])), count, generator).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    # In a tile's coordinates, −1 to 1: half the part's size, and how far it may be off the centre.
    x = _between((-1, 1), count, generator) * (1 - width)
    y = _between((-1, 1), count, generator) * (1 - height)
    flip_x, flip_y, swap = (torch.randint(2, (count,), generator=generator) for _ in range(3))
    zero = torch.zeros(count)
    columns = torch.stack([width * (1 - 2 * flip_x), zero, x], 1)
    rows = torch.stack([zero, height * (1 - 2 * flip_y), y], 1)
    theta = torch.stack([columns, rows], 1)
    # Two flips and the exchange of rows and columns give all eight symmetries of the square.
    theta[:, :, :2] = torch.where(swap[:, None, None] == 1, theta[..., [1, 0]], theta[..., :2])
    grid = functional.affine_grid(
        theta.to(pixels.device), [count, 3, size_px, size_px], align_corners=False
    )
    return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def vary_colour(
    pixels: Tensor, generator: Generator, *, strength: float = 1.0, grey: float = 0.0
) -> Tensor:
    """Vary stain, light and focus of (B, 3, H, W) tiles, 0-255, image by image.

    Parameters
    ----------
    strength
        Share of `STAIN`, `STAIN_SHIFT` and `LIGHT` by which stain and light are varied; focus is
        varied all the same.
    grey
        Share of the tiles that lose their colour.
    """
    if strength or grey:
        stained = vary_stain(pixels, generator, strength=strength)
        pixels = vary_light(stained, generator, strength=strength, grey=grey)
    return blur(pixels, generator)


def vary_stain(pixels: Tensor, generator: Generator, *, strength: float = 1.0) -> Tensor:
    """Scale and shift how much haematoxylin, eosin and residue (B, 3, H, W) tiles hold."""
    count = len(pixels)
    scale = 1 + strength * STAIN * (
        _between((-1, 1), (count, 3), generator) + _between((-1, 1), (count, 1), generator)
    )
    shift = strength * STAIN_SHIFT * _between((-1, 1), (count, 3), generator)
    vectors = torch.from_numpy(HED).float()
    matrix = torch.linalg.inv(vectors) @ (scale[:, :, None] * vectors)  # density to density
    density = torch.log((pixels + 1) / 256).neg_()
    changed = _mix(density, matrix.transpose(1, 2), shift @ vectors)
    return changed.neg_().exp_().mul_(256).sub_(1).clamp_(0, 255)


def vary_light(
    pixels: Tensor, generator: Generator, *, strength: float = 1.0, grey: float = 0.0
) -> Tensor:
    """Vary brightness and contrast of (B, 3, H, W) tiles; a share `grey` loses its colour."""
    count = len(pixels)
    brightness, contrast = (
        1 + strength * LIGHT * _between((-1, 1), count, generator) for _ in range(2)
    )
    colourless = torch.rand(count, generator=generator) < grey
    luma = torch.tensor(LUMA).expand(3, 3)
    matrix = torch.where(colourless[:, None, None], luma, torch.eye(3))
    middle = (pixels.mean((2, 3)).cpu() * luma[0]).sum(1) * brightness
    shift = (middle * (1 - contrast))[:, None].expand(count, 3)
    return _mix(pixels, matrix * (brightness * contrast)[:, None, None], shift).clamp_(0, 255)


def blur(pixels: Tensor, generator: Generator) -> Tensor:
    """Put a share `BLUR` of (B, 3, H, W) tiles out of focus, by a Gaussian of their own."""
    count, channels = pixels.shape[:2]
    chosen = torch.rand(count, generator=generator) < BLUR
    sigma = _between(BLUR_SIGMA_PX, count, generator)[chosen]
    if not chosen.any():
        return pixels
    reach = math.ceil(2 * BLUR_SIGMA_PX[1])
    offsets = torch.arange(-reach, reach + 1.0)
    kernel = torch.exp(-((offsets / sigma[:, None]) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    kernel = kernel.to(pixels.device)
    chosen = chosen.to(pixels.device)
    # One image whose channels are all those of the chosen tiles, each with its own kernel.
    flat = pixels[chosen].flatten(0, 1)[None]
    length = 2 * reach + 1
    for shape, pad in (
        ((-1, 1, 1, length), (reach, reach, 0, 0)),
        ((-1, 1, length, 1), (0, 0, reach, reach)),
    ):
        padded = functional.pad(flat, pad, mode="reflect")
        flat = functional.conv2d(padded, kernel.view(shape), groups=flat.shape[1])
    pixels = pixels.clone()
    pixels[chosen] = flat.view(-1, channels, *pixels.shape[2:])
    return pixels


def _mix(pixels: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """``matrix @ pixel + shift`` for each pixel of (B, C, H, W), (B, C, C) and (B, C) by tile."""
    matrix, shift = matrix.to(pixels.device), shift.to(pixels.device)
    return torch.baddbmm(shift[:, :, None], matrix, pixels.flatten(2)).view_as(pixels)


def _between(
    limits: tuple[float, float], shape: int | tuple[int, ...], generator: Generator
) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator)
