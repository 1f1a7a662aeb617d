"""The blocks of CSAT: inverted residuals, and spatial attention by a transformer on few tokens."""

from timm.layers.conv_bn_act import ConvNormAct
from timm.layers.squeeze_excite import SqueezeExcite
from torch import Tensor, nn
from torch.nn import functional

TOKEN_GRID = 14  # most tokens along a side of the pooled grid
GATES = 8  # attention maps a stage; each gates as many of its channels as the others
HEADS = 4


class InvertedResidual(nn.Module):
    """Expand by 1×1, convolve each channel by 3×3, weigh channels, and project by 1×1."""

    def __init__(self, channels_in: int, channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = ConvNormAct(channels_in, wide, 1, act_layer=nn.SiLU)
        self.convolve = ConvNormAct(wide, wide, 3, stride=stride, groups=wide, act_layer=nn.SiLU)
        self.weigh = SqueezeExcite(
            wide, rd_channels=max(8, channels_in // 4), act_layer=nn.SiLU, gate_layer="sigmoid"
        )
        self.project = ConvNormAct(wide, channels, 1, apply_act=False)
        self.has_shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C, H/stride, W/stride)."""
        y: Tensor = self.project(self.weigh(self.convolve(self.expand(x))))
        return x + y if self.has_shortcut else y


class SpatialAttention(nn.Module):
    """Gate (B, C, H, W) features by `GATES` maps that a transformer on pooled tokens draws.

    The position of a token is known to it through a depthwise 3×3 convolution (Chu et al.,
    Conditional Positional Encodings, 2021), which fits any size of grid. The features are added
    to their gated selves, so that attention can highlight and never hide.
    """

    def __init__(self, channels: int, *, token_dim: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, token_dim, 1)
        self.position = nn.Conv2d(token_dim, token_dim, 3, padding=1, groups=token_dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                token_dim,
                HEADS,
                dim_feedforward=2 * token_dim,
                dropout=0.0,
                activation=functional.gelu,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.gate = nn.Conv2d(token_dim, GATES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        maps = functional.interpolate(
            self.attention(x), size=x.shape[2:], mode="bilinear", align_corners=False
        )
        return x + x * maps.repeat_interleave(x.shape[1] // GATES, dim=1)

    def attention(self, x: Tensor) -> Tensor:
        """The gates, (B, `GATES`, h, w) in 0-1 on the token grid: where each map looks."""
        height, width = (min(TOKEN_GRID, n) for n in x.shape[2:])
        grid = self.embed(functional.adaptive_avg_pool2d(x, (height, width)))
        grid = grid + self.position(grid)
        tokens = grid.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        drawn = tokens.transpose(1, 2).unflatten(2, (height, width))
        gates: Tensor = self.gate(drawn).sigmoid()
        return gates
