"""The head that self-supervision trains on an embedding, and that is dropped afterwards."""

from itertools import pairwise

from torch import nn


def projector(dim: int, *, hidden: int, out: int, layers: int) -> nn.Sequential:
    """`layers` linear layers, all but the last with batch normalisation and ReLU.

    Maps embeddings (B, `dim`) to (B, `out`). Why a head helps: Chen et al., SimCLR, ICML 2020.
    """
    widths = [dim] + [hidden] * (layers - 1)
    inner = [
        nn.Sequential(nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(inplace=True))
        for a, b in pairwise(widths)
    ]
    return nn.Sequential(*inner, nn.Linear(widths[-1], out, bias=False))
