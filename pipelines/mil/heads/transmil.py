"""TransMIL (Shao et al., NeurIPS 2021): instances that attend to one another.

    X  = [class token; x_1 ... x_N, the first ones again up to a square]
    X <- X + MSA(norm X);   X <- PPEG(X);   X <- X + MSA(norm X);   y = C norm(X)_class

MSA is Nyström self-attention. PPEG lays the instances on a square in the order they come and adds
depthwise convolutions of 7, 5 and 3, so the answer depends on the order of the tiles: keep it
row by row, as tile files have it. The convolution of the values that some Nyström layers add is
left out: the positions come from PPEG.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from distill.errors import ModelError
from pipelines.mil.heads.attention import projection
from pipelines.mil.heads.head import BagOutput, Head
from pipelines.mil.heads.nystrom import NystromAttention

KERNELS = (7, 5, 3)


class TransMil(Head):
    """Transformer head. A tile's neighbours change what it means, so there are no tile logits.

    The attention is that of the class token in the last layer, mean over its heads, without what
    the token gives itself. Nyström's approximation can make weights negative: those count as 0.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    hidden_dim, attention_heads, landmarks
        Length of a token, a multiple of the number of attention heads; landmarks of Nyström's.

    Raises
    ------
    ModelError
        If `attention_heads` does not divide `hidden_dim`.
    """

    learning_rate: ClassVar[float] = 2e-4

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden_dim: int = 512,
        attention_heads: int = 8,
        landmarks: int = 256,
    ) -> None:
        if hidden_dim % attention_heads:
            raise ModelError(
                f"hidden_dim = {hidden_dim} is not a multiple of attention_heads = "
                f"{attention_heads}: change one of them"
            )
        super().__init__(
            hidden_dim=hidden_dim, attention_heads=attention_heads, landmarks=landmarks
        )
        self.project = projection(dim, hidden_dim)
        self.class_token = nn.Parameter(torch.randn(hidden_dim) * 0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(3))
        self.layers = nn.ModuleList(
            NystromAttention(hidden_dim, heads=attention_heads, landmarks=landmarks)
            for _ in range(2)
        )
        self.positions = nn.ModuleList(
            nn.Conv2d(hidden_dim, hidden_dim, size, padding=size // 2, groups=hidden_dim)
            for size in KERNELS
        )
        self.classify = nn.Linear(hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`; one bag after the other, since each has a square of its own."""
        attention = torch.zeros_like(bags[..., 0])
        slides = []
        for number, real in enumerate(bag_mask):
            slide, weights = self._one(self.project(bags[number, real]))
            slides.append(slide)
            attention[number, real] = weights.detach()
        logits = self.classify(torch.stack(slides))
        return BagOutput(logits=logits, attention=attention, tile_logits=None)

    def _one(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The class token at the end, (H,), and its attention to the n instances (n, H)."""
        count, side = len(hidden), math.isqrt(len(hidden) - 1) + 1
        square = torch.arange(side * side, device=hidden.device) % count
        tokens = torch.cat([self.class_token[None], hidden[square]])
        tokens = tokens + self.layers[0](self.norms[0](tokens))[0]
        tokens = torch.cat([tokens[:1], self._placed(tokens[1:], side)])
        mixed, first = self.layers[1](self.norms[1](tokens))
        weights = torch.zeros_like(hidden[:, 0]).index_add(0, square, first[1:].clamp(min=0))
        total = weights.sum()
        weights = weights / total if total > 0 else torch.full_like(weights, 1 / count)
        return self.norms[2](tokens[0] + mixed[0]), weights

    def _placed(self, tokens: Tensor, side: int) -> Tensor:
        """Add what lies around: (side * side, H)."""
        grid = tokens.T.reshape(1, -1, side, side)
        around = torch.stack([position(grid) for position in self.positions]).sum(dim=0)
        return tokens + around[0].flatten(1).T
