"""HoVer-Net with the weights its authors and TIAToolbox publish, in the "fast" variant.

Graham et al., HoVer-Net: simultaneous segmentation and classification of nuclei in multi-tissue
histology images, Medical Image Analysis 58:101563, 2019. The network here is written from the
paper; modules have the names that the published checkpoints use, "/" included, so that these load
without translation. Trained at 0.25 µm/px on tiles of 256 pixels, of which it answers the middle
164: 46 on each side are context.
"""

import pickle
from io import BytesIO

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.encoders import IMAGENET_MEAN, IMAGENET_STD
from distill.errors import ModelError

LOST_PX = 46  # on each side of the input, by convolutions that do not pad
PAD_PX = 48  # what is added on each side; its input has sides of multiples of 8, which stay so
UNPOOLING = "upsample2x.unpool_mat"  # a constant that checkpoints hold and this network does not


class HoverNet(nn.Module):
    """The network: an encoder with three decoders, for nuclei, distances and types.

    Parameters
    ----------
    types
        Classes of nuclei with background as the first; without, there is no decoder for them.
    """

    def __init__(self, *, types: int | None = None) -> None:
        super().__init__()
        self.conv0 = nn.Sequential()
        self.conv0.add_module("/", nn.Conv2d(3, 64, 7, padding=3, bias=False))
        _add_norm(self.conv0, 64)
        self.d0 = _ResidualStage(64, width=64, units=3, stride=1)
        self.d1 = _ResidualStage(256, width=128, units=4, stride=2)
        self.d2 = _ResidualStage(512, width=256, units=6, stride=2)
        self.d3 = _ResidualStage(1024, width=512, units=3, stride=2)
        self.conv_bot = nn.Conv2d(2048, 1024, 1, bias=False)
        outputs = {"np": 2, "hv": 2} | ({"tp": types} if types else {})
        self.decoder = nn.ModuleDict({name: _decoder(count) for name, count in outputs.items()})

    def forward(
        self, x: Tensor, branches: tuple[str, ...] = ("np", "hv", "tp")
    ) -> dict[str, Tensor]:
        """(B, 3, H, W) pixels in 0-1 to (B, C, H − 92, W − 92) logits, or distances, by branch.

        H and W are multiples of 8. Of ``np`` the second channel is nuclei; ``hv`` is horizontal
        and vertical distance.
        """
        features = [self.d0(self.conv0(x))]
        for stage in (self.d1, self.d2, self.d3):
            features.append(stage(features[-1]))
        features[-1] = self.conv_bot(features[-1])
        return {name: self._decode(name, features) for name in branches if name in self.decoder}

    def _decode(self, name: str, features: list[Tensor]) -> Tensor:
        """From the deepest features up: double, add those of the encoder, convolve."""
        *above, merged = features
        decoder = self.decoder[name]
        for block in ("u3", "u2", "u1"):
            larger = functional.interpolate(merged, scale_factor=2, mode="nearest")
            merged = decoder.get_submodule(block)(larger + _middle(above.pop(), larger))
        answer: Tensor = decoder.get_submodule("u0")(merged)
        return answer


class HoverNetTeacher(nn.Module):
    """A `HoverNet` as a teacher's network: takes what ours take, and answers every pixel."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: HoverNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels to (B, 3, H, W): nuclei logit, horizontal, vertical.

        H and W are multiples of 8 and above 48; beyond the borders the image is mirrored.
        """
        seen = functional.pad(x * self.std + self.mean, [PAD_PX] * 4, mode="reflect")
        answer = self.net(seen, branches=("np", "hv"))
        nuclei = answer["np"][:, 1:] - answer["np"][:, :1]  # the sigmoid is the softmax's share
        return _middle(torch.cat([nuclei, answer["hv"]], dim=1), x)


def load_hovernet(stored: BytesIO) -> HoverNetTeacher:
    """Load a checkpoint: the bare weights, or as the authors' training script stores them.

    Only tensors are read from it; nothing in it is executed.

    Raises
    ------
    ModelError
        If it is no checkpoint, or of another network.
    """
    try:
        checkpoint = torch.load(stored, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
        raise ModelError(f"not a checkpoint of tensors alone: {error}") from error
    weights = checkpoint.get("desc", checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(weights, dict):
        raise ModelError(f"a checkpoint of HoVer-Net is a dictionary, this is {type(weights)}")
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    weights.pop(UNPOOLING, None)
    types = weights.get("decoder.tp.u0.conv.bias")
    net = HoverNet(types=None if types is None else len(types))
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"the checkpoint is not of HoVer-Net's fast variant: {error}") from error
    return HoverNetTeacher(net).eval()


class _ResidualStage(nn.Module):
    """Bottleneck units of He et al., Identity mappings in deep residual networks, ECCV 2016.

    A stage ends with normalisation, so that the next one's first unit begins without.
    """

    def __init__(self, channels: int, *, width: int, units: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.shortcut = nn.Conv2d(channels, out, 1, stride=stride, bias=False)
        first = _bottleneck(nn.Sequential(), channels, width, stride=stride)
        others = []
        for _ in range(units - 1):
            begun = nn.Sequential()
            _add_norm(begun, out, prefix="preact/")
            others.append(_bottleneck(begun, out, width, stride=1))
        self.units = nn.ModuleList([first, *others])
        self.blk_bna = nn.Sequential()
        _add_norm(self.blk_bna, out)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.units
        total = first(x) + self.shortcut(x)
        for unit in others:
            total = unit(total) + total
        ended: Tensor = self.blk_bna(total)
        return ended


class _DenseStage(nn.Module):
    """Densely connected units (Huang et al., CVPR 2017) that do not pad: each loses 2 pixels."""

    def __init__(self, channels: int, *, units: int) -> None:
        super().__init__()
        self.units = nn.ModuleList()
        for _ in range(units):
            unit = nn.Sequential()
            _add_norm(unit, channels, prefix="preact_bna/")
            unit.add_module("conv1", nn.Conv2d(channels, 128, 1, bias=False))
            _add_norm(unit, 128, prefix="conv1/")
            unit.add_module("conv2", nn.Conv2d(128, 32, 3, groups=4, bias=False))
            self.units.append(unit)
            channels += 32
        self.blk_bna = nn.Sequential()
        _add_norm(self.blk_bna, channels)

    def forward(self, x: Tensor) -> Tensor:
        for unit in self.units:
            new = unit(x)
            x = torch.cat([_middle(x, new), new], dim=1)
        ended: Tensor = self.blk_bna(x)
        return ended


def _bottleneck(unit: nn.Sequential, channels: int, width: int, *, stride: int) -> nn.Sequential:
    unit.add_module("conv1", nn.Conv2d(channels, width, 1, bias=False))
    _add_norm(unit, width, prefix="conv1/")
    if stride == 2:
        # The first weights were TensorFlow's, which pads an even side at its end only.
        unit.add_module("conv2/pad", nn.ZeroPad2d((0, 1, 0, 1)))
    padding = 0 if stride == 2 else 1
    unit.add_module("conv2", nn.Conv2d(width, width, 3, stride, padding, bias=False))
    _add_norm(unit, width, prefix="conv2/")
    unit.add_module("conv3", nn.Conv2d(width, 4 * width, 1, bias=False))
    return unit


def _decoder(outputs: int) -> nn.Module:
    decoder = nn.Module()
    for name, channels, width, units in (("u3", 1024, 256, 8), ("u2", 512, 128, 4)):
        block = nn.Sequential()
        block.add_module("conva", nn.Conv2d(channels, width, 3, bias=False))
        block.add_module("dense", _DenseStage(width, units=units))
        block.add_module("convf", nn.Conv2d(channels // 2, channels // 2, 1, bias=False))
        decoder.add_module(name, block)
    last = nn.Sequential()
    last.add_module("conva", nn.Conv2d(256, 64, 3, padding=1, bias=False))
    decoder.add_module("u1", last)
    head = nn.Sequential()
    _add_norm(head, 64)
    head.add_module("conv", nn.Conv2d(64, outputs, 1))
    decoder.add_module("u0", head)
    return decoder


def _add_norm(to: nn.Sequential, channels: int, *, prefix: str = "") -> None:
    to.add_module(f"{prefix}bn", nn.BatchNorm2d(channels))
    to.add_module(f"{prefix}relu", nn.ReLU(inplace=True))


def _middle(x: Tensor, like: Tensor) -> Tensor:
    """As much of the middle of `x` as `like` is high and wide."""
    height, width = like.shape[2:]
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]
