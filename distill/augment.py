"""Augmentation of geometry, on image and maps alike; `distill.views` varies the colour."""

import torch
from torch import Generator, Tensor


def flip_horizontal(maps: Tensor) -> Tensor:
    """Mirror (B, C, H, W) maps left to right; the horizontal distance changes its sign.

    The first three maps are nuclei, horizontal and vertical distance; others have no direction.
    """
    nuclei, horizontal, vertical, *others = maps.flip(3).unbind(1)
    return torch.stack([nuclei, -horizontal, vertical, *others], dim=1)


def rotate_quarter(maps: Tensor) -> Tensor:
    """Turn (B, C, H, W) maps by 90° counter-clockwise, as `torch.rot90` does with images.

    What pointed right points up, so the vertical distance becomes minus the horizontal one;
    what pointed down points right.
    """
    nuclei, horizontal, vertical, *others = torch.rot90(maps, 1, (2, 3)).unbind(1)
    return torch.stack([nuclei, vertical, -horizontal, *others], dim=1)


def random_geometry(pixels: Tensor, maps: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """One random turn and flip for a whole batch of (B, H, W, 3) pixels and their maps."""
    for _ in range(_draw(4, generator)):
        pixels, maps = torch.rot90(pixels, 1, (1, 2)), rotate_quarter(maps)
    if _draw(2, generator):
        pixels, maps = pixels.flip(2), flip_horizontal(maps)
    return pixels, maps


def random_crop(
    pixels: Tensor, maps: Tensor, size_px: int, stride: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Cut the same square from (B, H, W, 3) pixels and from (B, C, H/stride, W/stride) maps."""
    top, left = (_draw((n - size_px) // stride + 1, generator) for n in pixels.shape[1:3])
    edge = size_px // stride
    crop = maps[:, :, top : top + edge, left : left + edge]
    top, left = top * stride, left * stride
    return pixels[:, top : top + size_px, left : left + size_px], crop


def _draw(below: int, generator: Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
