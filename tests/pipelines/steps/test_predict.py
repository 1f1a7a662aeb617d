"""What a head says of tiles becomes channels; a head that says nothing of them leaves attention."""

import numpy as np
import pytest
import torch

from distill.card import HeadCard, OperatingPoint
from pipelines.mil.heads.registry import HEADS, create_head
from pipelines.steps.predict import score_tiles
from wsi.tilestore import TileTable

DIM = 6


def card_of(kind: str) -> HeadCard:
    return HeadCard(
        kind=kind,  # type: ignore[arg-type]
        classes=("normal", "grade 1", "grade 2"),
        positive="grade 2",
        weights="head.safetensors",
        sha256="ab" * 32,
        operating_point=OperatingPoint(threshold=0.5, criterion="Youden", chosen_on="6 slides"),
    )


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_every_head_makes_a_heatmap(kind: str) -> None:
    torch.manual_seed(0)
    head = create_head(kind, DIM, 3, {}).eval()
    embeddings = np.random.default_rng(0).standard_normal((9, DIM)).astype(np.float32)
    tiles = TileTable(
        coords=np.zeros((9, 2), np.int64),
        embeddings=embeddings,
        invalid=np.zeros((0, 2), np.int64),
        attributes={"level0_mpp": 0.25},
    )
    prediction, values, channels = score_tiles(tiles, head, card_of(kind))
    names = [channel.name for channel in channels]
    scores = [] if kind == "transmil" else ["score:grade 2", "score:grade 1"]
    assert names == [*scores, "attention", "attention_percentile"]
    assert values.shape == (9, len(names))
    assert np.isfinite(values).all()
    assert values[:, names.index("attention")].mean() == pytest.approx(1)
    assert sum(prediction["scores"].values()) == pytest.approx(1)
    for tile in range(9) if scores else ():  # a channel is the score of the tile as a slide
        alone = torch.from_numpy(embeddings[None, [tile]])
        logits = head(alone, torch.ones(1, 1, dtype=torch.bool)).logits[0]
        chance = logits.softmax(0)[2].item()
        assert 1 / (1 + np.exp(-values[tile, 0])) == pytest.approx(chance, rel=1e-4)
