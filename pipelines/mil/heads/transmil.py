"""TransMIL (Shao et al., NeurIPS 2021): instances that attend to one another.

    X  = [class token; x_1 ... x_N, the first ones again up to a square]
    X <- X + MSA(norm X);   X <- PPEG(X);   X <- X + MSA(norm X);   y = C norm(X)_class

MSA is Nyström self-attention. PPEG lays the instances on a square in the order they come and adds
depthwise convolutions of 7, 5 and 3, so the answer depends on the order of the tiles: keep it
row by row, as tile files have it. The convolution of the values that some Nyström layers add is
left out: the positions come from PPEG.
"""

import math
from collections.abc import Callable
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.errors import ModelError
from pipelines.mil.heads.attention import projection
from pipelines.mil.heads.head import BagOutput, Head, weighted_cross_entropy
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
            square, tokens = self._mixed(bags[number, real])
            slide, shares = self._read(tokens)
            slides.append(slide)
            attention[number, real] = _of_instances(shares(), square, int(real.sum()))
        return BagOutput(
            logits=self.classify(torch.stack(slides)), attention=attention, tile_logits=None
        )

    def loss(self, bags: Tensor, bag_mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """As `Head.loss`, without the attention, which it does not need."""
        slides = [
            self._read(self._mixed(bags[number, real])[1])[0]
            for number, real in enumerate(bag_mask)
        ]
        return weighted_cross_entropy(self.classify(torch.stack(slides)), target, weight)

    def _mixed(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of a bag (n, D) before the last layer, (1 + S, H).

        Also which instance each place of the square holds, (S,).
        """
        side = math.isqrt(len(bag) - 1) + 1
        square = torch.arange(side * side, device=bag.device) % len(bag)
        tokens = torch.cat([self.class_token[None], self.project(bag)[square]])
        tokens = tokens + self.layers[0](self.norms[0](tokens))
        return square, torch.cat([tokens[:1], self._placed(tokens[1:], side)])

    def _read(self, tokens: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """The class token after the last layer, (H,), and what tells how it attends, (1 + S,)."""
        last = cast("NystromAttention", self.layers[1])
        mixed, shares = last.first(self.norms[1](tokens))
        return self.norms[2](tokens[0] + mixed), shares

    def _placed(self, tokens: Tensor, side: int) -> Tensor:
        """Add what lies around, (S, H): three convolutions are one with the kernels' sum."""
        largest = max(KERNELS)
        convolutions = [cast("nn.Conv2d", position) for position in self.positions]
        kernels = [
            functional.pad(of.weight, [(largest - of.kernel_size[0]) // 2] * 4)
            for of in convolutions
        ]
        kernel = torch.stack(kernels).sum(dim=0)
        bias = torch.stack([torch.as_tensor(of.bias) for of in convolutions]).sum(dim=0)
        grid = tokens.view(1, side, side, -1).permute(0, 3, 1, 2)
        around = functional.conv2d(grid, kernel, bias, padding=largest // 2, groups=grid.shape[1])
        return torch.add(tokens, around.permute(0, 2, 3, 1).reshape(tokens.shape))


def _of_instances(shares: Tensor, square: Tensor, count: int) -> Tensor:
    """Attention of `count` instances from that of class token and places: not negative, sums to 1.

    An instance that stands in several places has what all of them get.
    """
    weights = shares.new_zeros(count).index_add(0, square, shares[1:].clamp(min=0))
    total = weights.sum()
    return weights / total if total > 0 else torch.full_like(weights, 1 / count)
