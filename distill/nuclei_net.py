"""The network of teacher and student: an encoder, a light decoder, and nuclei maps at stride 2.

The decoder is kept small (about 0.2 million parameters) so that the encoder has to learn.
Outputs follow HoVer-Net (Graham et al., Medical Image Analysis 58, 2019): a nuclei map and the
horizontal and vertical distances of each nuclear pixel from its nucleus's centre.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

OUTPUT_STRIDE = 2
DECODER_CHANNELS = 64


class NucleiNet(nn.Module):
    """Predict nuclei maps from tiles.

    Parameters
    ----------
    backbone
        A timm convolutional network from `create_backbone`; its features at strides 4 to 32
        are used.
    """

    def __init__(self, backbone: nn.Module, *, channels: int = DECODER_CHANNELS) -> None:
        super().__init__()
        self.backbone = backbone
        info = backbone.feature_info
        self.indices = feature_indices(backbone, least_stride=4)
        widths = [info[i]["num_chs"] for i in self.indices]  # type: ignore[index]
        self.lateral = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in widths)  # type: ignore[arg-type]
        self.smooth = nn.ModuleList(_separable(channels) for _ in widths)
        self.refine = _separable(channels)
        self.head = nn.Conv2d(channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels to (B, 3, S/2, S/2): nuclei logit, horizontal, vertical.

        S must be a multiple of 32. The distances are in [-1, 1]: −1 at the left or upper end of
        a nucleus, 0 at its centre, 1 at the right or lower end.
        """
        features = self.backbone.forward_intermediates(  # type: ignore[operator]
            x, indices=self.indices, intermediates_only=True
        )
        laterals = [conv(f) for conv, f in zip(self.lateral, features, strict=True)]
        merged = self.smooth[-1](laterals[-1])
        for lateral, smooth in zip(laterals[-2::-1], self.smooth[-2::-1], strict=True):
            merged = smooth(lateral + double(merged))
        maps: Tensor = self.head(self.refine(double(merged)))
        return maps

    @torch.inference_mode()
    def respond(self, x: Tensor) -> Tensor:
        """What a student is taught: (B, 3, S/2, S/2) nuclei probability and distances."""
        return responses_of(self(x))


def feature_indices(backbone: nn.Module, *, least_stride: int) -> list[int]:
    """Which of a timm network's feature maps lie at this stride or a coarser one."""
    info = backbone.feature_info
    return [i for i, f in enumerate(info) if f["reduction"] >= least_stride]  # type: ignore[arg-type]


def responses_of(maps: Tensor) -> Tensor:
    """What is made of (B, 3, H, W) maps: nuclei probability, and distances within −1 and 1."""
    return torch.cat([maps[:, :1].sigmoid(), maps[:, 1:].clamp(-1, 1)], dim=1)


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.SiLU(inplace=True),
    )


def double(x: Tensor) -> Tensor:
    """Twice the height and width, bilinearly."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
