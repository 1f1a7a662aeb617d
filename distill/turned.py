"""An image asked eight ways: turned and mirrored, and the answers turned back and averaged."""

from collections.abc import Callable

import torch
from torch import Tensor

VIEWS = 8  # ways to turn and mirror an image

Change = Callable[[Tensor], Tensor]


def mirror(maps: Tensor) -> Tensor:
    """Mirror (B, C, H, W) maps without a direction left to right."""
    return maps.flip(3)


def turn(maps: Tensor) -> Tensor:
    """Turn (B, C, H, W) maps without a direction by 90° counter-clockwise."""
    return torch.rot90(maps, 1, (2, 3))


def average_views(
    answer: Change, x: Tensor, turns: int, *, mirror_back: Change = mirror, turn_back: Change = turn
) -> Tensor:
    """Mean over the first `turns` views of what `answer` says of (B, 3, H, W) images.

    Parameters
    ----------
    mirror_back, turn_back
        How maps are mirrored left to right, and turned by 90° counter-clockwise.

    Raises
    ------
    ValueError
        If there are not so many views.
    """
    if not 1 <= turns <= VIEWS:
        raise ValueError(f"turns = {turns}: there are {VIEWS} ways to turn and mirror an image")
    total = torch.zeros((), device=x.device)
    for view in range(turns):
        quarters, mirrored = divmod(view, 2)
        seen = torch.rot90(x, quarters, (2, 3))
        maps = answer(mirror(seen) if mirrored else seen)
        maps = mirror_back(maps) if mirrored else maps
        for _ in range(-quarters % 4):
            maps = turn_back(maps)
        total = total + maps
    return total / turns
