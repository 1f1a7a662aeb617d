"""The evaluation as a whole: what it counts, what it writes, and what it refuses."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.special import softmax
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from distill.card import (
    EncoderCard,
    HeadCard,
    ModelCard,
    OperatingPoint,
    TileCard,
    TrainingCard,
    read_card,
    read_toml,
    write_card,
    write_toml,
)
from distill.errors import ModelError
from pipelines.errors import PredictionsError, UsageError
from pipelines.mil.evaluation.cards import FrozenCard, frozen_card, frozen_cards
from pipelines.mil.evaluation.criterion import Criterion
from pipelines.mil.evaluation.evaluate import Evaluation, Settings, evaluate
from pipelines.mil.evaluation.output import check_out, write_evaluation
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.steps.predict import verdict_of

Rows = list[dict[str, Any]]
YOUDEN = Criterion(kind="youden")
THREE = ("benign", "in situ", "invasive")


def settings(**others: Any) -> Settings:
    return Settings(criterion=YOUDEN, resamples=100, **others)


@pytest.fixture(scope="module")
def binary(simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]) -> Evaluation:
    rows = simulated(patients=240, seeds=2, signal=1.5)
    asked = settings(prevalence=0.05, certain_error=0.1, by=("site", "scanner"))
    return evaluate(read_rows(rows), asked)


@pytest.fixture(scope="module")
def three(simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]) -> Evaluation:
    rows = simulated(patients=120, classes=THREE, signal=1.5)
    return evaluate(read_rows(rows), settings(by=("scanner",), ordered=THREE))


def values(estimates: list[Any]) -> dict[str, float]:
    return {estimate.name: estimate.interval.value for estimate in estimates}


def test_each_slide_is_tested_once_a_seed(binary: Evaluation) -> None:
    for part in binary.scored.seeds():
        assert sorted(part.test.slide_ids) == sorted(set(part.test.slide_ids))
        assert len(part.test.slide_ids) == 240
    each = [confusion_matrix(part.truth, part.called) for part in binary.scored.seeds()]
    assert np.array_equal(binary.confusion, np.mean(each, axis=0))


def test_grades_are_in_the_order_that_was_given(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> None:
    """Classes of a training are in the order of the alphabet, which grades are not."""
    names = ("high", "low", "medium")
    predictions = read_rows(simulated(patients=120, classes=names, signal=1.0))
    order = ("low", "medium", "high")
    found = evaluate(predictions, settings(ordered=order))
    rank = np.array([order.index(name) for name in predictions.classes])
    part = next(iter(found.scored.seeds()))
    expected = cohen_kappa_score(
        rank[part.test.targets], rank[part.logits.argmax(1)], weights="quadratic"
    )
    assert values(found.class_measures)["quadratic_kappa"] == pytest.approx(expected)
    for wrong in (("low", "high"), ("low", "medium", "medium")):
        with pytest.raises(UsageError, match="classes are high, low, medium"):
            evaluate(predictions, settings(ordered=wrong))


def test_two_classes_are_no_grades(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> None:
    with pytest.raises(UsageError, match="three or more classes"):
        evaluate(read_rows(simulated(patients=40)), settings(ordered=("normal", "tumour")))


def test_three_classes_have_no_positive_one_unless_asked(
    three: Evaluation, simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> None:
    assert (three.measures, three.positive, three.net_benefit) == ([], None, None)
    assert set(three.roc) == set(THREE)
    assert "quadratic_kappa" in values(three.class_measures)
    predicted = three.scored.probs.argmax(1)
    assert np.array_equal(three.confusion, confusion_matrix(three.scored.test.targets, predicted))
    predictions = read_rows(simulated(patients=120, classes=THREE, signal=1.5))
    asked = evaluate(predictions, settings(positive="in situ"))
    assert set(asked.roc) == {"in situ"}
    assert values(asked.class_measures)["macro_auroc"] == pytest.approx(
        values(three.class_measures)["macro_auroc"]
    )
    truth = asked.scored.test.targets == 1
    assert (
        values(asked.measures)["sensitivity"] == (asked.scored.called & truth).sum() / truth.sum()
    )


def test_a_class_without_a_test_slide_is_named(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions], tmp_path: Path
) -> None:
    everything = simulated(patients=120, classes=THREE, signal=1.5)
    rows = [row for row in everything if row["split"] == "tune" or row["target"] != "in situ"]
    found = evaluate(read_rows(rows), settings())
    numbers = write_evaluation(tmp_path / "out", found)
    assert np.isnan(found.roc["in situ"].y).all()
    assert numbers["test"]["by_class"]["in situ"] == 0
    assert 0.5 < values(found.class_measures)["macro_auroc"] < 1
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "No test slide is of in situ" in page


def test_the_temperature_mends_what_was_too_sharp(binary: Evaluation, three: Evaluation) -> None:
    for found in (binary, three):
        before, after = values(found.calibration.before), values(found.calibration.after)
        assert after["brier"] < before["brier"]
        assert after["ece"] < before["ece"]
        assert before["ece"] > 1.5 * found.calibration.by_chance
        assert np.mean([m.temperature.value for m in found.frozen]) == pytest.approx(3, rel=0.25)


def test_the_certain_are_more_often_right(binary: Evaluation) -> None:
    certain = values(binary.certain)
    scored = binary.scored
    assert 0.3 < certain["coverage"] < 0.95
    assert certain["coverage"] == scored.is_certain.mean()
    errors = [(~part.right[part.is_certain]).mean() for part in scored.seeds()]
    assert certain["error"] == pytest.approx(np.mean(errors))
    assert certain["error"] < 0.7 * (~scored.right).mean()
    assert binary.coverage.y[-1] == pytest.approx((~scored.right).mean())


def test_small_groups_get_a_reason_instead_of_a_number(binary: Evaluation) -> None:
    groups = {(group.column, group.value): group for group in binary.subgroups}
    assert set(groups) == {
        ("site", "Leeds"), ("site", "Oslo"), ("site", "Utrecht"),
        ("scanner", "GT450"), ("scanner", "not told"),
    }  # fmt: skip
    assert sum(g.n_slides for g in binary.subgroups if g.column == "site") == 240
    few = groups["scanner", "not told"]
    assert (few.n_slides, few.n_patients, few.events) == (9, 9, 4)
    assert few.measures["sensitivity"] == "too few: 4 patients of a class"
    assert few.measures["auroc"] == "too few: 4 patients of a class"
    assert not isinstance(few.measures["specificity"], str)  # five are enough
    oslo = groups["site", "Oslo"]
    at = binary.scored.test.carried["site"] == "Oslo"
    hits = binary.scored.called[at & binary.scored.truth]
    assert oslo.events == 40
    found = oslo.measures["sensitivity"]
    assert not isinstance(found, str)
    assert found.interval.value == pytest.approx(hits.mean())


def test_what_cannot_be_evaluated_is_refused(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> None:
    predictions = read_rows(simulated(patients=24))
    with pytest.raises(UsageError, match="--positive cyst: the classes are normal, tumour"):
        evaluate(predictions, settings(positive="cyst"))
    with pytest.raises(UsageError, match=r"--by stain: no such column; .* site, scanner"):
        evaluate(predictions, settings(by=("stain",)))
    with pytest.raises(UsageError, match="--prevalence 5"):
        settings(prevalence=5)
    with pytest.raises(UsageError, match=r"--certain-error -0\.1"):
        settings(certain_error=-0.1)
    rows = [r for r in simulated(patients=24) if r["split"] == "tune" or r["target"] == "normal"]
    with pytest.raises(
        PredictionsError, match="test of seed 0 holds only normal; tumour and others"
    ):
        evaluate(read_rows(rows), settings())


@pytest.mark.parametrize("kind", ["binary", "three"])
def test_everything_is_written(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    found: Evaluation = request.getfixturevalue(kind)
    out = tmp_path / "out"
    numbers = write_evaluation(out, found)
    pictures = {"roc", "reliability", "coverage", "confusion", "subgroups"}
    if kind == "binary":
        pictures |= {"precision_recall", "decision"}
    assert {path.stem for path in out.glob("*.png")} == pictures
    for path in out.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.std() > 10, f"{path.name} is blank"
    text = (out / "evaluation.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == numbers
    page = (out / "evaluation.html").read_text()
    assert page.count("data:image/png;base64,") == len(pictures)
    assert "No test slide is of" not in page
    assert 'src="http' not in page
    assert "too few" in page
    points = [
        read_toml(
            out / "operating_points" / f"fold-{m.fold}-seed-{m.seed}.toml", FrozenCard, made_by=""
        )
        for m in found.frozen
        if found.positive
    ]
    assert [p.operating_point.threshold for p in points] == [
        m.threshold_prob for m in found.frozen if found.positive
    ]
    measures = numbers["measures"] or numbers["class_measures"]
    for measure in measures.values():
        assert f"{measure['value']:.3f}" in page
    verdicts = parquet.read_table(out / "verdicts.parquet").to_pylist()
    assert len(verdicts) == len(found.scored.right)
    assert [v["is_right"] for v in verdicts] == found.scored.right.tolist()
    assert {v["verdict"] for v in verdicts} <= set(found.scored.test.classes)
    check_out(out)  # it may be written again


def test_slides_of_unknown_patients_are_not_called_patients(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions], tmp_path: Path
) -> None:
    rows = [row | {"patient_id": row["slide_id"]} for row in simulated(patients=60)]
    numbers = write_evaluation(tmp_path / "out", evaluate(read_rows(rows), settings()))
    assert numbers["test"]["patients"] is None
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "60 slides, patients unknown: each slide counts as one" in page
    assert "60 patients" not in page
    assert "at an error of 5 %: that takes at least 45 patients for each model" in page


def test_names_are_no_formulas(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions], tmp_path: Path
) -> None:
    rows = simulated(patients=60, classes=("cost $5", r"$\frac{a$_^"))
    rows = [row | {"site": f"${row['site']}^$"} for row in rows]
    write_evaluation(tmp_path / "out", evaluate(read_rows(rows), settings(by=("site",))))
    assert (tmp_path / "out" / "subgroups.png").is_file()


def test_a_folder_with_other_things_is_left_alone(binary: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{}")
    (tmp_path / "predictions.parquet").write_text("precious")
    with pytest.raises(UsageError, match=r"holds predictions.parquet; name a new folder"):
        write_evaluation(tmp_path, binary)
    assert (tmp_path / "predictions.parquet").read_text() == "precious"


def card(positive: str = "tumour") -> ModelCard:
    return ModelCard(
        encoder=EncoderCard(
            architecture="resnet18", identifier="made", dim=8, licence="none",
            mean=(0, 0, 0), std=(1, 1, 1),
        ),
        tile=TileCard(size_px=64, mpp=0.5),
        head=HeadCard(
            kind="gated-abmil", classes=("normal", "tumour"), positive=positive,
            weights="head.safetensors", sha256="0",
            operating_point=OperatingPoint(threshold=0.5, criterion="none", chosen_on="nothing"),
        ),
        training=TrainingCard(data="made", data_licence="none", method="none"),
    )  # fmt: skip


def test_operating_points_go_into_model_cards(binary: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model at"):
        frozen_cards(binary, tmp_path)
    for model in binary.frozen:
        folder = tmp_path / f"fold-{model.fold}-seed-{model.seed}"
        folder.mkdir()
        write_card(folder, card())
    assert len(frozen_cards(binary, tmp_path)) == len(binary.frozen) == 6
    for path, frozen in frozen_cards(binary, tmp_path).items():
        write_toml(path, frozen)
    for model in binary.frozen:
        name = f"fold-{model.fold}-seed-{model.seed}"
        head = read_card(tmp_path / name).head
        assert head is not None
        point = head.operating_point
        assert point.threshold == pytest.approx(1 / (1 + math.exp(-model.threshold)))
        assert head.temperature == model.temperature.value
        assert head.calibrated
        assert point.uncertain == pytest.approx(model.band)
        assert point.chosen_on == f"{model.n_tune} tuning slides"


def test_cards_of_another_class_are_left_alone(binary: Evaluation, tmp_path: Path) -> None:
    for model in binary.frozen:
        folder = tmp_path / f"fold-{model.fold}-seed-{model.seed}"
        folder.mkdir()
        write_card(folder, card(positive="normal"))
    with pytest.raises(UsageError, match="positive 'normal'; the evaluation is of"):
        frozen_cards(binary, tmp_path)


@pytest.mark.parametrize(
    ("signal", "moved", "error"),
    [
        (1.5, 0.0, 0.2),
        (9.0, 0.0, 0.0),  # log-odds in the hundreds, and no verdict is certain
        (1.5, 80.0, 0.3),  # every score is rounded to 1, and so would be the threshold
    ],
)
def test_a_card_that_was_frozen_judges_as_the_evaluation_did(
    simulated: Callable[..., Rows],
    read_rows: Callable[[Rows], Predictions],
    signal: float,
    moved: float,
    error: float,
) -> None:
    rows = simulated(patients=120, signal=signal)
    moved_rows = [row | {"logits": [row["logits"][0], row["logits"][1] + moved]} for row in rows]
    found = evaluate(read_rows(moved_rows), settings(certain_error=error))
    test = found.scored.test
    for model in found.frozen:
        at = (test.folds == model.fold) & (test.seeds == model.seed)
        frozen, head = frozen_card(found, model), card().head
        assert head is not None
        head = head.model_copy(update={"operating_point": frozen.operating_point})
        probs = softmax(test.logits[at] / frozen.temperature, axis=1)
        said = [verdict_of(dict(zip(test.classes, p, strict=True)), head) for p in probs]
        assert [v == "tumour" for v, _ in said] == found.scored.called[at].tolist()
        assert [not uncertain for _, uncertain in said] == found.scored.is_certain[at].tolist()
