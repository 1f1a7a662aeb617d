"""A model whose reasons are known: it scores the darkness of what it sees."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from distill.encoders import Encoder, MeanColour, create_encoder
from distill.errors import ModelError
from distill.teachers.teacher import Teacher
from pipelines.errors import UsageError
from pipelines.explain.explanation import explain_pixels
from pipelines.explain.methods import METHODS
from pipelines.explain.score import TileScore, head_and_class, log_odds, tile_score
from pipelines.explain.tile import check_place, nuclei_at, read_at
from pipelines.mil.heads.registry import HEADS, create_head
from pipelines.mil.training import TrainedHead
from pipelines.model import Model, load_model, save_untrained
from wsi.plan import ReadPlan, TileSpec
from wsi.tissue import Tissue

SIZE = 64
SPOT = (slice(8, 24), slice(40, 56))  # rows, columns


class DarkHead(nn.Module):
    """Class 1 has a logit that grows with the darkness of the mean colour; class 0 has none."""

    def forward(self, bags: torch.Tensor, bag_mask: torch.Tensor) -> Any:
        dark = 40 * (1 - bags[..., :3].mean(-1).mean(1)) - 1
        logits = torch.stack([0 * dark, dark], 1)
        return SimpleNamespace(logits=logits)


def mean_colour_encoder() -> Encoder:
    return create_encoder("mean-colour", spec=TileSpec(size_px=SIZE, mpp=0.5))


@pytest.fixture
def spotted() -> np.ndarray:
    """A dark spot on a bright tile: it alone makes the score."""
    pixels = np.full((SIZE, SIZE, 3), 255, np.uint8)
    pixels[SPOT] = 60
    return pixels


def test_every_map_points_at_the_spot_that_makes_the_score(spotted: np.ndarray) -> None:
    score = TileScore(MeanColour(), DarkHead(), index=1)
    nuclei = np.zeros((SIZE, SIZE), np.int32)
    nuclei[SPOT] = 7
    seen: list[str] = []
    explained = explain_pixels(
        score, mean_colour_encoder(), spotted, nuclei=nuclei, say=seen.append
    )
    assert explained.left_out == ("grad_cam",)  # a mean colour has no feature maps
    names = [each.method.name for each in explained.by]
    assert names == [m.name for m in METHODS if m.name != "grad_cam"]
    assert len(seen) == len(names)
    dark = 40 * (195 / 255) * (16 * 16) / SIZE**2 - 1
    assert explained.log_odds == pytest.approx(dark, rel=1e-4)
    assert explained.score == pytest.approx(1 / (1 + math.exp(-dark)), rel=1e-4)
    assert explained.baseline_log_odds == pytest.approx(-1, abs=1e-4)
    assert abs(explained.completeness_gap) < 1e-3
    by = {each.method.name: each for each in explained.by}
    assert by["integrated_gradients"].nuclei.attribution == pytest.approx(1)
    assert by["occlusion_white"].nuclei.ratio > 8
    for name in ("occlusion_white", "occlusion_mean", "integrated_gradients"):
        row, column = np.unravel_index(by[name].values.argmax(), (SIZE, SIZE))
        assert nuclei[row, column], name
    chance = np.mean([curves.deletion_area for curves in explained.chance])
    for name in ("occlusion_white", "integrated_gradients"):
        assert by[name].curves.deletion_area < 0.6 * chance
    assert replace(explained, log_odds=-800.0).score == 0
    numbers = explained.as_dict()
    assert numbers["n_nuclei"] == 1
    assert numbers["methods"]["saliency"]["nuclei"]["area_share"] == pytest.approx(1 / 16)
    # Saliency of a linear score is the same everywhere: no correlation can be told.
    assert numbers["methods"]["saliency"]["rank_correlation_with_shuffled_weights"] is None


def test_log_odds_are_those_of_the_softmax() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0], [5.0, 5.0, 5.0]])
    for index in range(3):
        expected = logits.softmax(1)[:, index].logit()
        torch.testing.assert_close(log_odds(logits, index), expected)


def test_feature_maps_are_found_where_there_are_some() -> None:
    spec = TileSpec(size_px=64, mpp=0.5)
    for name, has in (("csat", True), ("vit_tiny_patch16_224", False), ("mean-colour", False)):
        score = TileScore(create_encoder(name, spec=spec).module, DarkHead(), index=1)
        assert score.has_feature_maps(torch.zeros(1, 3, 64, 64)) == has
    with pytest.raises(TypeError, match="MeanColour"):
        score.features(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (1000, 0), (0, 800), (99999, -5)])
def test_a_tile_outside_the_slide_is_refused_with_the_limits(x: int, y: int) -> None:
    tissue = Tissue(mask=np.ones((50, 63), bool), downsample=16.0)
    plan = ReadPlan(level=0, level_px=128, level0_px=128)
    with pytest.raises(UsageError, match=r"x is 0-999 and y is 0-799"):
        check_place((1000, 800), plan, tissue, x=x, y=y)


def test_a_tile_without_tissue_is_refused_with_where_there_is_some() -> None:
    mask = np.zeros((50, 63), bool)
    mask[10:20, 30:40] = True  # y 160-320, x 480-640
    plan = ReadPlan(level=0, level_px=128, level0_px=128)
    for x, y in [(353, 33), (639, 319), (400, 100)]:
        check_place((1000, 800), plan, Tissue(mask=mask, downsample=16.0), x=x, y=y)
    for x, y in [(350, 160), (640, 160), (480, 30), (480, 320)]:
        with pytest.raises(UsageError, match=r"x 480-640 and y 160-320"):
            check_place((1000, 800), plan, Tissue(mask=mask, downsample=16.0), x=x, y=y)


def test_nuclei_lie_where_the_tile_has_them(array_slide, blob_teacher: Teacher) -> None:
    """Found at 0.25 µm and brought to a tile of 0.5 µm: within a pixel of where they are."""
    pixels = np.full((600, 700, 3), (230, 180, 210), np.uint8)
    y, x = np.mgrid[0:600, 0:700]
    pixels[np.hypot(y - 300, x - 340) < 14] = (60, 30, 110)
    slide, spec = array_slide(pixels), TileSpec(size_px=128, mpp=0.5)
    tile = read_at(slide, spec, level0_mpp=0.25, x=260, y=200)
    nuclei = nuclei_at(slide, blob_teacher, spec, level0_mpp=0.25, x=260, y=200)
    assert tile.shape == (128, 128, 3)
    assert nuclei.shape == (128, 128)
    rows, columns = np.nonzero(nuclei)
    assert rows.mean() == pytest.approx((300 - 200) / 2, abs=1)
    assert columns.mean() == pytest.approx((340 - 260) / 2, abs=1)
    assert (tile[nuclei > 0].mean(1) < 140).mean() > 0.9


def untrained(folder: Path, kind: str, *, positive: str | None) -> Model:
    """A model with a head of random weights on mean colours."""
    trained = TrainedHead(
        kind=kind,
        head=create_head(kind, 3, 2, {}),
        classes=("normal", "tumour"),
        positive=positive,
        threshold=None if positive is None else 0.5,
        n_tune=0,
        tune_loss=[],
        train_loss=[],
    )
    save_untrained(folder, "mean-colour", TileSpec(size_px=SIZE, mpp=0.5), trained)
    return load_model(folder)


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_a_head_without_tile_scores_explains_no_tile(tmp_path: Path, kind: str) -> None:
    model = untrained(tmp_path, kind, positive="tumour")
    assert head_and_class(model) == (model.head, "tumour")
    if kind != "transmil":
        assert tile_score(model)[1] == "tumour"
        return
    with pytest.raises(UsageError, match=r"TransMil judges tiles by their neighbours.* --regions"):
        tile_score(model)


def test_without_a_positive_class_one_has_to_be_named(tmp_path: Path) -> None:
    model = untrained(tmp_path, "mean", positive=None)
    assert tile_score(model, "normal")[1] == "normal"
    with pytest.raises(UsageError, match=r"--class is needed.* classes are normal, tumour"):
        tile_score(model)


def test_models_and_classes_of_no_use_are_refused(demo) -> None:
    model = load_model(demo.model)
    score, target = tile_score(model)
    assert target == "tumour"
    assert score.index == model.head_card.classes.index("tumour")
    assert tile_score(model, "normal")[1] == "normal"
    with pytest.raises(UsageError, match="--class lung: the model's classes are normal, tumour"):
        tile_score(model, "lung")
    with pytest.raises(ModelError, match=r"no head.*demo/model"):
        tile_score(replace(model, head=None))
