"""Whether a map points at what the network uses: take pixels away in its order, or give them back.

Deletion and insertion (Petsiuk, Das and Saenko, "RISE", BMVC 2018). Deletion replaces the pixels
with the highest values first: a map that is right makes the score fall at once, so the area under
the curve is small. Insertion starts from the baseline and gives pixels back: the area is large.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.explain.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Scores of one image on the way, (K + 1,) each; both begin at 0 and end at 1 of the pixels.

    `share` is of pixels taken away for `deletion`, given back for `insertion`.
    """

    share: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_area(self) -> float:
        """Area under the deletion curve over shares 0 to 1: a mean score, smaller is better."""
        return float(torch.trapezoid(self.deletion, self.share))

    @property
    def insertion_area(self) -> float:
        """Area under the insertion curve: a mean score, larger is better."""
        return float(torch.trapezoid(self.insertion, self.share))


@torch.no_grad()
def deletion_insertion(
    score: Score,
    image: Tensor,
    baseline: Tensor,
    attribution: Tensor,
    *,
    steps: int = 20,
    batch_size: int = 32,
) -> Curves:
    """Follow the score of one image while pixels leave and return in the order of a map.

    Parameters
    ----------
    image, baseline
        (3, H, W), and what stands in for pixels that are away.
    attribution
        (H, W); pixels of equal value go row by row.
    steps
        Into how many parts of the pixels, K.

    Raises
    ------
    ValueError
        If there is no step.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: at least one is needed")
    order = attribution.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    limits = (share * len(order)).round().to(order)
    first = (rank < limits[:, None]).view(-1, 1, *attribution.shape)  # the highest values

    def follow(inside: Tensor, outside: Tensor) -> Tensor:
        parts = (first[k : k + batch_size] for k in range(0, len(first), batch_size))
        scores = [score(torch.where(part, inside, outside)) for part in parts]
        return torch.cat(scores).double().cpu()

    return Curves(
        share=share,
        deletion=follow(baseline, image),
        insertion=follow(image, baseline),
    )


def random_map(shape: tuple[int, int], *, cell_px: int, seed: int) -> Tensor:
    """A map (H, W) of squares in random order, for curves that know nothing of the image."""
    rows, columns = (-(-length // cell_px) for length in shape)
    cells = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    large = cells.repeat_interleave(cell_px, 0).repeat_interleave(cell_px, 1)
    return large[: shape[0], : shape[1]]
