"""A random encoder each of whose residual blocks adds something, to compare pretraining with.

    python -m benchmarks.pretraining.random_blocks resnet18 -o ENCODERS/random-live-resnet18

timm lets a block's last normalisation begin with 0 (Goyal et al., "Accurate, Large Minibatch SGD",
2017, section 5.1). That helps training, and before it the network is its shortcuts alone, which is
less than random weights can do.
"""

import argparse
from pathlib import Path
from typing import get_args

from torch import nn

from distill.card import Features, ModelCard, TileCard, TrainingCard
from distill.checkpoint import describe_encoder
from distill.encoders import create_backbone, encoder_of
from distill.errors import ModelError
from distill.seen import SEEN_NAME, Seen, write_seen
from pipelines.model import save_model
from wsi.plan import TileSpec


def main() -> None:
    """Write the model's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", help="a network of timm")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--embed-px", type=int, default=224)
    parser.add_argument("--tile-mpp", type=float, default=0.5)
    parser.add_argument("--features", choices=get_args(Features), help="as of 'raypath pretrain'")
    options = parser.parse_args()
    spec = TileSpec(size_px=options.embed_px, mpp=options.tile_mpp)
    features: Features | None = options.features
    write_random(options.out, options.architecture, spec, seed=options.seed, features=features)


def write_random(
    out: Path,
    architecture: str,
    spec: TileSpec,
    *,
    seed: int = 0,
    features: Features | None = None,
) -> None:
    """Write an encoder of random weights, in which no normalisation begins with 0.

    Raises
    ------
    ModelError
        If in networks of that name none does.
    """
    backbone = create_backbone(architecture, seed=seed)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    silent = [norm for norm in norms if not norm.weight.any()]
    if not silent:
        raise ModelError(
            f"no normalisation of {architecture} begins with 0: "
            "raypath pretrain random writes the same encoder"
        )
    for norm in silent:
        nn.init.ones_(norm.weight)
    encoder = encoder_of(
        backbone,
        identifier=f"{architecture}-random-live",
        spec=spec,
        licence="Apache-2.0",
        features=features,
    )
    card = ModelCard(
        encoder=describe_encoder(encoder, architecture=architecture),
        tile=TileCard(size_px=spec.size_px, mpp=spec.mpp),
        training=TrainingCard(
            data="none",
            data_licence="none",
            method=f"not trained: random weights of seed {seed}, {len(silent)} blocks not zeroed",
        ),
    )
    save_model(out, card, encoder)
    write_seen(out / SEEN_NAME, Seen())


if __name__ == "__main__":
    main()
