"""CSAT: a convolutional network whose features are gated by spatial attention from transformers.

The name and the budget (3 M parameters, 1.08 GMAC) are those of Kim, Kwak, Chang, Kim and Kim,
Bioengineering 10(11):1279, 2023; the blocks are a reconstruction from them, since the paper's
table is not reproduced here. A convolutional trunk of inverted residual blocks (Sandler et al.,
MobileNetV2, CVPR 2018) with squeeze-and-excitation (Hu et al., CVPR 2018) does the work. After
each stage a small transformer on a pooled grid of tokens says where to look. The grid is at most
14 × 14 whatever the input, so time and memory grow only with the number of pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers.conv_bn_act import ConvNormAct
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional

from distill.students.csat_blocks import InvertedResidual, SpatialAttention

STEM_CHANNELS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One resolution of the trunk: `blocks` of `channels`, then attention of `depth` layers."""

    blocks: int
    channels: int
    expansion: int
    token_dim: int
    depth: int


STAGES = (
    Stage(blocks=3, channels=64, expansion=3, token_dim=48, depth=1),
    Stage(blocks=4, channels=128, expansion=4, token_dim=64, depth=1),
    Stage(blocks=7, channels=168, expansion=3, token_dim=96, depth=2),
    Stage(blocks=2, channels=192, expansion=2, token_dim=96, depth=1),
)


class Csat(nn.Module):
    """The network, with timm's interface.

    Parameters
    ----------
    num_classes
        Width of the classifier; 0 for none.
    global_pool
        ``"avg"``, or ``""`` to leave the last feature map as it is.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: Literal["avg", ""] = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.stem = nn.Sequential(
            ConvNormAct(in_chans, STEM_CHANNELS, 3, stride=2, act_layer=nn.SiLU),
            ConvNormAct(STEM_CHANNELS, STEM_CHANNELS, 3, groups=STEM_CHANNELS, act_layer=nn.SiLU),
            ConvNormAct(STEM_CHANNELS, STEM_CHANNELS, 1, act_layer=nn.SiLU),
        )
        self.feature_info = [{"num_chs": STEM_CHANNELS, "reduction": 2, "module": "stem"}]
        self.stages = nn.ModuleList()
        width = STEM_CHANNELS
        for number, stage in enumerate(STAGES):
            self.stages.append(_build_stage(width, stage))
            width = stage.channels
            self.feature_info.append(
                {"num_chs": width, "reduction": 4 << number, "module": f"stages.{number}"}
            )
        self.num_features = self.head_hidden_size = width
        self.reset_classifier(num_classes, global_pool)
        self.apply(_initialise)

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.head

    def reset_classifier(
        self, num_classes: int, global_pool: Literal["avg", ""] | None = None
    ) -> None:
        """Replace the last layer, and where given the pooling before it."""
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = global_pool
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of a stage again on the way back instead of keeping them."""
        self.grad_checkpointing = enable

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Features by their place in `feature_info`, as timm's networks give them.

        Parameters
        ----------
        indices
            Which features; an int for that many of the last; None for all. They come in the
            network's order.
        norm, stop_early, output_fmt
            timm's; there is no norm after the trunk, and the format is NCHW.

        Returns
        -------
        A list of (B, C, H, W); without `intermediates_only` the last feature map and that list.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt = {output_fmt!r}: csat gives 'NCHW' only")
        count = len(self.feature_info)
        if indices is None:
            indices = range(count)
        elif isinstance(indices, int):
            indices = range(count - indices, count)
        wanted = [index % count for index in indices]
        features: list[Tensor] = []
        for number, module in enumerate((self.stem, *self.stages)):
            if stop_early and intermediates_only and number > max(wanted):
                break
            x = self._run(module, x)
            if number in wanted:
                features.append(x)
        return features if intermediates_only else (x, features)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 192, S/32, S/32)."""
        for module in (self.stem, *self.stages):
            x = self._run(module, x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last feature map to (B, `num_classes`), or with `pre_logits` to (B, 192)."""
        if self.global_pool:
            x = x.mean((2, 3))
        x = functional.dropout(x, self.drop_rate, self.training)
        scores: Tensor = x if pre_logits else self.head(x)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels, S a multiple of 32, to (B, `num_classes`)."""
        return self.forward_head(self.forward_features(x))

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        if self.grad_checkpointing and self.training:
            return torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False)  # type: ignore[no-any-return]
        return module(x)  # type: ignore[no-any-return]


def _build_stage(channels_in: int, stage: Stage) -> nn.Sequential:
    blocks = [
        InvertedResidual(
            stage.channels if number else channels_in,
            stage.channels,
            expansion=stage.expansion,
            stride=1 if number else 2,
        )
        for number in range(stage.blocks)
    ]
    attend = SpatialAttention(stage.channels, token_dim=stage.token_dim, depth=stage.depth)
    return nn.Sequential(*blocks, attend)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=(2 * module.groups / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


default_cfgs = generate_default_cfgs(
    {
        "csat.untrained": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "interpolation": "bicubic",
            "first_conv": "stem.0.conv",
            "classifier": "head",
            "paper_name": "RCKD: Response-Based Cross-Task Knowledge Distillation",
            "license": "apache-2.0",
        }
    }
)


@register_model
def csat(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CSAT: 2.8 M parameters without its classifier, 1.09 GMAC at 224 pixels."""
    model: nn.Module = build_model_with_cfg(
        Csat, "csat", pretrained, feature_cfg={"feature_cls": "getter"}, **kwargs
    )
    return model
