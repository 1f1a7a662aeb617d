"""A slide's verdict follows the card: temperature, operating point, uncertain band."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from distill.card import HeadCard, OperatingPoint
from pipelines.mil.evaluation.operating_point import judge
from pipelines.mil.heads.mean import MeanPooling
from pipelines.steps.predict import score_tiles, verdict_of
from wsi.tilestore import TileTable


@pytest.fixture(scope="module")
def tiles() -> TileTable:
    embeddings = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return TileTable(
        coords=np.arange(12).reshape(6, 2),
        embeddings=embeddings,
        invalid=np.empty((0, 2), np.int64),
        attributes={"level0_mpp": 0.5},
    )


@pytest.fixture(scope="module")
def head() -> MeanPooling:
    torch.manual_seed(0)
    return MeanPooling(4, 2, hidden_dim=8).eval()


def card(**others: object) -> HeadCard:
    values = {"temperature": 1.0, "threshold": 0.5, "uncertain": None} | others
    point = {name: values.pop(name) for name in ("threshold", "uncertain")}
    return HeadCard(
        kind="mean", classes=("normal", "tumour"), positive="tumour", weights="w", sha256="0",
        operating_point=OperatingPoint(criterion="none", chosen_on="nothing", **point), **values,
    )  # fmt: skip


def test_scores_are_the_softmax_of_logits_over_the_temperature(
    tiles: TileTable, head: MeanPooling
) -> None:
    plain, values, _ = score_tiles(tiles, head, card())
    cooled, cooled_values, _ = score_tiles(tiles, head, card(temperature=3.0))
    odds = logit(plain["scores"]["tumour"])
    assert abs(odds) > 0.01
    assert cooled["scores"]["tumour"] == pytest.approx(expit(odds / 3))
    np.testing.assert_allclose(cooled_values[:, 0], values[:, 0] / 3)  # tiles as their slide
    np.testing.assert_array_equal(cooled_values[:, 1:], values[:, 1:])  # attention has none


def test_the_legend_says_whether_tiles_are_calibrated(tiles: TileTable, head: MeanPooling) -> None:
    (raw, *_), (calibrated, *_) = (
        score_tiles(tiles, head, card(temperature=1.75, calibrated=is_calibrated))[2]
        for is_calibrated in (False, True)
    )
    assert "not calibrated, so not a probability" in raw.meaning
    assert "calibrated by the head's temperature, 1.75, which was chosen on" in calibrated.meaning
    assert "not calibrated" not in calibrated.meaning


def test_without_a_positive_class_the_most_probable_is_the_verdict(tiles: TileTable) -> None:
    torch.manual_seed(0)
    grades = HeadCard(kind="mean", classes=("0", "1", "2"), weights="w", sha256="0")
    said, values, channels = score_tiles(tiles, MeanPooling(4, 3, hidden_dim=8).eval(), grades)
    assert said["prediction"] == max(said["scores"], key=said["scores"].__getitem__)
    assert (said["positive"], said["threshold"], said["uncertain"]) == (None, None, False)
    assert [c.name for c in channels[:3]] == ["score:0", "score:1", "score:2"]
    assert values.shape == (6, 5)


def test_a_score_within_the_band_is_uncertain(tiles: TileTable, head: MeanPooling) -> None:
    score = score_tiles(tiles, head, card())[0]["scores"]["tumour"]
    said = {
        (low, high): score_tiles(tiles, head, card(threshold=score, uncertain=(low, high)))[0]
        for low, high in ((score - 0.1, score + 0.1), (score, score + 0.1), (0.0, 1.0))
    }
    assert [answer["uncertain"] for answer in said.values()] == [True, False, True]
    assert {answer["prediction"] for answer in said.values()} == {"tumour"}
    assert not score_tiles(tiles, head, card())[0]["uncertain"]


def test_scores_beyond_the_surest_are_judged_as_the_evaluation_judges_them() -> None:
    logits = np.array([[0.0, -29.0], [0.0, -35.0], [0.0, -50.0]])
    expected = judge(logits, np.array([1, 1, 1]), 1, -30.0).right
    said = [
        verdict_of({"normal": expit(-odds), "tumour": expit(odds)}, card(threshold=expit(-30)))[0]
        for odds in logits[:, 1]
    ]
    assert [verdict == "tumour" for verdict in said] == expected.tolist() == [True] * 3
