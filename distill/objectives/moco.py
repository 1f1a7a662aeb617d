"""Momentum contrast: a view finds its other view among many tiles, whose keys wait in a queue.

MoCo v2: He et al., CVPR 2020, and Chen, Fan, Girshick and He, 2020 (projector, stronger views);
both views are queries in turn, as in MoCo v3 (Chen, Xie and He, ICCV 2021). Batch statistics
would give away which key belongs to a query. Instead of shuffling batches between devices, keys
are normalised by a moving average of the query encoder's statistics (Cai et al., Exponential
Moving Average Normalization, CVPR 2021), which one device can do.
"""

from copy import deepcopy
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill import group
from distill.objectives.projector import projector

WIDTH = 128  # of queries and keys
TEMPERATURE = 0.2  # MoCo v2's
QUEUE = 4096
# While a key waits in the queue the follower moves on by `1 - MOMENTUM ** (QUEUE / keys a step)`:
# 0.23 with MoCo v2's 0.999 and 65,536 keys at 256 a step, and 0.23 here at batches of 32, which
# give 64. MoCo v3's schedules of 100 and 300 epochs use 0.99 and 0.996 as well.
MOMENTUM = 0.996


class MomentumContrast(nn.Module):
    """An encoder with MoCo's projector, its slowly following copy, and the queue of keys.

    The copy and the queue move on at each forward pass in training mode.

    Parameters
    ----------
    encoder
        Maps (B, 3, S, S) to embeddings (B, `dim`).
    queue
        Keys that are kept. With fewer than there are tiles, a tile does not meet itself.
    """

    queue: Tensor

    def __init__(
        self, encoder: nn.Module, *, dim: int, queue: int = QUEUE, momentum: float = MOMENTUM
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.encoder = encoder
        self.projector = projector(dim, hidden=dim, out=WIDTH, layers=2)
        self.follower = nn.Sequential(deepcopy(self.encoder), deepcopy(self.projector))
        self.follower.requires_grad_(False).eval()
        self.register_buffer("queue", functional.normalize(torch.randn(queue, WIDTH)))

    def train(self, mode: bool = True) -> Self:
        """As any module; the follower stays in evaluation mode."""
        super().train(mode)
        self.follower.eval()
        return self

    def forward(self, views: Tensor) -> Tensor:
        """Both views of B tiles, one after the other, to similarities (2B, 1 + K) in −1 to 1.

        The first column is each query's similarity to the key of the tile's other view, the
        others to the K keys in the queue.
        """
        queries = functional.normalize(self.projector(self.encoder(views)).float())
        if self.training:
            self._follow()
        with torch.no_grad():
            keys = functional.normalize(self.follower(views).float())
        partners = keys.roll(len(keys) // 2, 0)
        matching = (queries * partners).sum(1, keepdim=True)
        # A copy: the queue moves on before the gradient is taken.
        similarity = torch.cat([matching, queries @ self.queue.clone().T], dim=1)
        if self.training:
            # In place, so that processes which train together can keep it the same.
            self.queue.copy_(torch.cat([group.gather(keys), self.queue])[: len(self.queue)])
        return similarity

    @torch.no_grad()
    def _follow(self) -> None:
        leader = nn.Sequential(self.encoder, self.projector)
        followed = self.follower.state_dict()
        for name, value in leader.state_dict().items():
            if value.is_floating_point():
                followed[name].lerp_(value, 1 - self.momentum)
            else:  # counts of batches
                followed[name].copy_(value)


def queue_length(tiles: int) -> int:
    """Keys to keep: `QUEUE`, or half as many as there are tiles.

    So a tile's earlier key is hardly ever held against it.
    """
    return max(1, min(QUEUE, tiles // 2))


def info_nce(similarity: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of finding the first column among all (van den Oord et al., CPC, 2018).

    Parameters
    ----------
    similarity
        (N, 1 + K): to the matching key, then to the others.
    """
    first = torch.zeros(len(similarity), dtype=torch.long, device=similarity.device)
    return functional.cross_entropy(similarity / temperature, first)
