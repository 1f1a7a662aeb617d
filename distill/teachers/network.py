"""The teacher's network: a U-Net on any timm encoder, with nuclei maps at full resolution.

Ronneberger et al., U-Net, MICCAI 2015, with the outputs of HoVer-Net (Graham et al., Medical
Image Analysis 58:101563, 2019). Unlike the student's `NucleiNet`, whose decoder is kept small so
that its encoder has to learn, the decoder here is as good as it can be.
"""

from typing import Any

import torch
from torch import Tensor, nn

from distill.double import double
from distill.nuclei_net import OUTPUTS, feature_indices
from distill.teachers.card import WIDTHS

STRIDE = 32  # of the deepest features; image sides are multiples of it


class TeacherNet(nn.Module):
    """Predict nuclei maps at the resolution of the image.

    The last step, from stride 2 to 1, is a sub-pixel convolution (Shi et al., CVPR 2016): each
    position of the decoder holds the answers for its four pixels. Convolutions at full
    resolution would take 40 % of the time of a training step.

    Parameters
    ----------
    backbone
        A timm convolutional network from `create_backbone` with features down to stride 32.
    widths
        Channels of the decoder at strides 16, 8, 4 and 2.
    outputs
        Maps to predict; other than nuclei maps where the network is trained for something else.
    """

    def __init__(
        self, backbone: nn.Module, *, widths: tuple[int, ...] = WIDTHS, outputs: int = OUTPUTS
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.widths = widths
        self.indices = feature_indices(backbone, least_stride=2)
        info: Any = backbone.feature_info
        of_stride: dict[int, int] = {info[i]["reduction"]: info[i]["num_chs"] for i in self.indices}
        self.strides = tuple(of_stride)
        below = of_stride[STRIDE]
        self.blocks = nn.ModuleDict()
        for stride, width in zip((16, 8, 4, 2), widths, strict=True):
            joined = below + of_stride.get(stride, 0)
            self.blocks[str(stride)] = nn.Sequential(
                _convolution(joined, width), _convolution(width, width)
            )
            below = width
        self.head = nn.Sequential(nn.Conv2d(below, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels to (B, 3, H, W): nuclei logit, horizontal, vertical.

        H and W must be multiples of 32. The distances are those of `distill.targets`.
        """
        features = self.backbone.forward_intermediates(  # type: ignore[operator]
            x, indices=self.indices, intermediates_only=True
        )
        skips = dict(zip(self.strides, features, strict=True))
        merged = skips.pop(STRIDE)
        for stride, block in self.blocks.items():
            larger = double(merged)
            skip = skips.get(int(stride))
            merged = block(larger if skip is None else torch.cat([larger, skip], dim=1))
        maps: Tensor = self.head(merged)
        return maps


def _convolution(of: int, to: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(of, to, 3, padding=1, bias=False), nn.BatchNorm2d(to), nn.ReLU(inplace=True)
    )
