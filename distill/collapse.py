"""Whether embeddings tell tiles apart: self-supervision that goes wrong makes them all alike."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.encoders import normalise
from wsi.slide import Pixels

BATCH = 32


@torch.inference_mode()
def measure_spread(encoder: nn.Module, pixels: Pixels) -> dict[str, float]:
    """The spread of the embeddings of (N, S, S, 3) tiles, as ``spread``; nan for a single one.

    The standard deviation over tiles of embeddings of length 1, averaged over their D numbers,
    times √D: 0 when all are the same, 1 when they point everywhere (Chen and He, Exploring Simple
    Siamese Representation Learning, CVPR 2021, section 4.1).
    """
    device = next(encoder.parameters()).device
    parts = torch.split(torch.from_numpy(np.ascontiguousarray(pixels)), BATCH)
    embeddings = torch.cat([encoder(normalise(part.to(device))).float() for part in parts])
    return {"spread": spread_of(embeddings)}


def spread_of(embeddings: Tensor) -> float:
    """The same, of (N, D) embeddings."""
    if len(embeddings) < 2:
        return math.nan
    directions = functional.normalize(embeddings, dim=1)
    return float(directions.std(0).mean()) * math.sqrt(embeddings.shape[1])
