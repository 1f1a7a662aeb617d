"""The network of teacher and student: an encoder, a light decoder, and nuclei maps at stride 2.

The decoder is kept small (about 0.2 million parameters) so that the encoder has to learn.
Outputs follow HoVer-Net (Graham et al., Medical Image Analysis 58, 2019): a nuclei map and the
horizontal and vertical distances of each nuclear pixel from its nucleus's centre.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.double import double
from distill.errors import ModelError
from distill.pooling import has_stages, stages_of

OUTPUT_STRIDE = 2
DECODER_CHANNELS = 64
OUTPUTS = 3
TOKEN_STRIDES = (4, 8, 16)  # of the pyramid made of a token model's one stride
UNFOLDED_CHANNELS = 16  # of a token's pixels, once it is unfolded to a finer grid


class NucleiNet(nn.Module):
    """Predict nuclei maps from tiles.

    The coarsest features are those an embedding is pooled from (for a token model the embedding
    itself, seen everywhere), so that pretraining reaches every weight of the encoder.

    Parameters
    ----------
    backbone
        A timm network from `create_backbone`. Of a convolutional one the features at strides 4
        to 32 are used; of a token model with one stride, the tokens at thirds of its depth, each
        unfolded or kept to make the strides `TOKEN_STRIDES`.
    outputs
        Maps to predict; other than nuclei maps where the network is trained for something else.

    Raises
    ------
    ModelError
        If the network's strides are others.
    """

    def __init__(
        self, backbone: nn.Module, *, channels: int = DECODER_CHANNELS, outputs: int = OUTPUTS
    ) -> None:
        super().__init__()
        self.backbone = backbone
        info: list[dict[str, int]] = list(backbone.feature_info)  # type: ignore[arg-type]
        embedding = int(backbone.num_features)  # type: ignore[arg-type]
        strides = [f["reduction"] for f in info]
        self.has_tokens = not has_stages(backbone)
        if self.has_tokens:
            if strides[-1] % TOKEN_STRIDES[-1]:
                raise _other_strides(backbone, f"tokens of {strides[-1]} px", "16 or 32 px")
            thirds = len(TOKEN_STRIDES)
            self.indices = [len(info) * (i + 1) // thirds - 1 for i in range(thirds)]
            self.strides = [*TOKEN_STRIDES, 32]
            laterals: list[nn.Module] = [
                _unfold(info[i]["num_chs"], channels, strides[i] // stride)
                for i, stride in zip(self.indices, TOKEN_STRIDES, strict=True)
            ]
            laterals.append(nn.Conv2d(embedding, channels, 1))
        else:
            self.indices = feature_indices(backbone, least_stride=4)
            self.strides = [strides[i] for i in self.indices]
            if self.strides != [4 * 2**i for i in range(len(self.strides))]:
                raise _other_strides(backbone, f"features at strides {self.strides}", "4, 8, 16, …")
            widths = [*(info[i]["num_chs"] for i in self.indices[:-1]), embedding]
            laterals = [nn.Conv2d(width, channels, 1) for width in widths]
        self.lateral = nn.ModuleList(laterals)
        self.smooth = nn.ModuleList(_separable(channels) for _ in laterals)
        self.refine = _separable(channels)
        self.head = nn.Conv2d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, 3, S/2, S/2): nuclei logit, horizontal, vertical.

        S must be a multiple of 32. The distances are in [-1, 1]: −1 at the left or upper end of
        a nucleus, 0 at its centre, 1 at the right or lower end.
        """
        return self.decode(self.features(x), x.shape[2], x.shape[3])

    def decode(self, features: list[Tensor], height: int, width: int) -> Tensor:
        """The maps of pixels of this height and width, from their `features`."""
        laterals = [
            _resize(conv(f), height // stride, width // stride)
            for conv, f, stride in zip(self.lateral, features, self.strides, strict=True)
        ]
        merged = self.smooth[-1](laterals[-1])
        for lateral, smooth in zip(laterals[-2::-1], self.smooth[-2::-1], strict=True):
            merged = smooth(lateral + double(merged))
        maps: Tensor = self.head(self.refine(double(merged)))
        return maps

    def features(self, x: Tensor) -> list[Tensor]:
        """Feature maps from fine to coarse; the last is what an embedding is pooled from."""
        if not self.has_tokens:
            return stages_of(self.backbone, x, self.indices)
        last, features = self.backbone.forward_intermediates(x, indices=self.indices)  # type: ignore[operator]
        embedding: Tensor = self.backbone.forward_head(last, pre_logits=True)  # type: ignore[operator]
        return [*features, embedding[:, :, None, None]]


def feature_indices(backbone: nn.Module, *, least_stride: int) -> list[int]:
    """Which of a timm network's feature maps lie at this stride or a coarser one."""
    info = backbone.feature_info
    return [i for i, f in enumerate(info) if f["reduction"] >= least_stride]  # type: ignore[arg-type]


def _other_strides(backbone: nn.Module, has: str, wanted: str) -> ModelError:
    name = type(backbone).__name__
    return ModelError(f"{name} has {has}: nuclei maps are made of such of {wanted}")


def responses_of(maps: Tensor) -> Tensor:
    """What is made of (B, 3, H, W) maps: nuclei probability, and distances within −1 and 1."""
    return torch.cat([maps[:, :1].sigmoid(), maps[:, 1:].clamp(-1, 1)], dim=1)


def _unfold(width: int, channels: int, factor: int) -> nn.Module:
    """Tokens to a grid `factor` times as fine: what is where inside a token is in its channels."""
    if factor == 1:
        return nn.Conv2d(width, channels, 1)
    return nn.Sequential(
        nn.Conv2d(width, UNFOLDED_CHANNELS * factor**2, 1),
        nn.PixelShuffle(factor),
        nn.Conv2d(UNFOLDED_CHANNELS, channels, 1),
    )


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.SiLU(inplace=True),
    )


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    """Features of networks that do not pad, such as Inception v3, brought to their stride."""
    if x.shape[2:] == (height, width):
        return x
    return functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
