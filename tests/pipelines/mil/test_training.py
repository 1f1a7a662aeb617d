"""Training the head: it learns what is planted, and the test slides are out of its sight."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pipelines.errors import SplitError
from pipelines.mil.training import Bag, TrainedHead, check_split, score_bag, train_head

DIM = 16


def make_bag(
    number: int, *, split: str, target: str = "normal", patient: str | None = None, dim: int = DIM
) -> Bag:
    """Noise, and in the bags of tumours a tenth of the instances moved along one direction."""
    generator = np.random.default_rng(number)
    embeddings = generator.standard_normal((int(generator.integers(20, 40)), dim))
    if target == "tumour":
        embeddings[: len(embeddings) // 10, :4] += 4
    return Bag(
        slide_id=f"s{number}",
        patient_id=patient or f"p{number}",
        target=target,
        split=split,
        embeddings=embeddings.astype(np.float32),
    )


def cohort(train: int = 24, tune: int = 12, test: int = 24) -> list[Bag]:
    splits = ["train"] * train + ["tune"] * tune + ["test"] * test
    return [
        make_bag(n, split=split, target="tumour" if n % 2 else "normal")
        for n, split in enumerate(splits)
    ]


def weights_of(trained: TrainedHead) -> bytes:
    return b"".join(v.numpy().tobytes() for v in trained.head.state_dict().values())


def held_out_auroc(trained: TrainedHead, bags: Sequence[Bag]) -> float:
    test = [bag for bag in bags if bag.split == "test"]
    positive = trained.classes.index(trained.positive)
    scores = [score_bag(trained.head, bag.embeddings)[positive] for bag in test]
    return float(roc_auc_score([bag.target == trained.positive for bag in test], scores))


@pytest.fixture(scope="module")
def trained() -> TrainedHead:
    return train_head(cohort(), positive="tumour", epochs=15)


def test_a_planted_signal_is_learned(trained: TrainedHead) -> None:
    bags = cohort()
    assert held_out_auroc(trained, bags) > 0.95
    test = [bag for bag in bags if bag.split == "test"]
    called = [score_bag(trained.head, bag.embeddings)[1] >= trained.threshold for bag in test]
    assert (
        np.mean([c == (bag.target == "tumour") for c, bag in zip(called, test, strict=True)]) > 0.8
    )


def test_attention_goes_to_the_planted_instances(trained: TrainedHead) -> None:
    for bag in (b for b in cohort() if b.split == "test" and b.target == "tumour"):
        embeddings = torch.from_numpy(bag.embeddings)[None]
        with torch.inference_mode():
            output = trained.head(embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool))
        planted = len(bag.embeddings) // 10
        odds = output.tile_logits[0, :, 1] - output.tile_logits[0, :, 0]
        assert odds[:planted].mean() > odds[planted:].mean() + 1
        assert output.attention[0, :planted].mean() > output.attention[0, planted:].mean()


def test_without_a_signal_nothing_is_learned() -> None:
    bags = [replace(bag, target=("tumour", "normal")[n // 2 % 2]) for n, bag in enumerate(cohort())]
    assert 0.2 < held_out_auroc(train_head(bags, positive="tumour", epochs=5), bags) < 0.8


def test_the_head_says_how_it_came_about(trained: TrainedHead) -> None:
    assert trained.classes == ("normal", "tumour")
    assert trained.n_tune == 12
    assert len(trained.tune_loss) == 15
    assert min(trained.tune_loss) < trained.tune_loss[0]
    assert 0 < trained.threshold < 1
    assert not trained.head.training


def test_the_epoch_with_the_least_tuning_loss_is_kept() -> None:
    bags = cohort(train=8, tune=8, test=0)
    trained = train_head(bags, positive="tumour", epochs=12, learning_rate=1e-2)
    losses = [
        -np.log(score_bag(trained.head, bag.embeddings)[trained.classes.index(bag.target)])
        for bag in bags
        if bag.split == "tune"
    ]
    assert trained.tune_loss[-1] > 1.2 * min(trained.tune_loss)  # it went on, and for the worse
    assert np.mean(losses) == pytest.approx(min(trained.tune_loss), rel=1e-4)


def test_the_seed_decides() -> None:
    bags = cohort(train=6, tune=4, test=0)
    one, same, other = (train_head(bags, positive="tumour", epochs=2, seed=s) for s in (3, 3, 4))
    assert weights_of(one) == weights_of(same)
    assert (one.threshold, one.tune_loss) == (same.threshold, same.tune_loss)
    assert weights_of(one) != weights_of(other)


def test_the_test_slides_change_nothing() -> None:
    bags = cohort(train=6, tune=4, test=6)
    expected = train_head(bags, positive="tumour", epochs=2)
    seen = [bag for bag in bags if bag.split != "test"]
    other_targets = [
        replace(bag, target="unheard of") if bag.split == "test" else bag for bag in bags
    ]
    broken = np.full((3, 2), np.nan, np.float32)
    other_embeddings = [
        replace(bag, embeddings=broken) if bag.split == "test" else bag for bag in bags
    ][::-1]
    other_embeddings.sort(key=lambda bag: bag.split != "test")  # the broken ones come first
    in_order = [b for b in other_embeddings if b.split == "test"] + seen
    for changed in (seen, other_targets, in_order):
        found = train_head(changed, positive="tumour", epochs=2)
        assert weights_of(found) == weights_of(expected)
        assert (found.threshold, found.classes) == (expected.threshold, expected.classes)


@pytest.mark.parametrize("positive", ["a", "b", "c"])
def test_the_positive_class_comes_last_of_many(positive: str) -> None:
    bags = [
        make_bag(n, split=split, target=target)
        for n, (split, target) in enumerate(
            (split, target) for split in ("train", "tune") for target in "abcabc"
        )
    ]
    trained = train_head(bags, positive=positive, epochs=1)
    assert trained.classes[-1] == positive
    assert sorted(trained.classes) == ["a", "b", "c"]
    scores = score_bag(trained.head, bags[0].embeddings)
    assert scores.shape == (3,)
    assert scores.sum() == pytest.approx(1)


def test_a_rare_class_is_not_drowned() -> None:
    """Classes that cannot be told apart score evenly, however many slides each has."""
    bags = [
        replace(make_bag(n, split=split), target="tumour" if n % 10 == 0 else "normal")
        for split, numbers in (("train", range(20)), ("tune", range(20, 40)))
        for n in numbers
    ]
    head = train_head(bags, positive="tumour", epochs=3).head
    scores = [score_bag(head, make_bag(n, split="test").embeddings)[1] for n in range(100, 120)]
    assert 0.35 < np.mean(scores) < 0.65


def test_patients_on_both_sides_are_refused_by_name() -> None:
    bags = cohort(train=6, tune=4, test=4)
    bags += [
        make_bag(90, split="test", target="tumour", patient="p1"),
        make_bag(91, split="tune", patient="p0"),
    ]
    for refuse in (check_split, lambda b: train_head(b, positive="tumour")):
        with pytest.raises(SplitError) as caught:
            refuse(bags)
        assert "p1 in test, train" in str(caught.value)
        assert "p0 in train, tune" in str(caught.value)
        assert "p2" not in str(caught.value)


def test_two_slides_of_a_patient_on_one_side_are_fine() -> None:
    check_split([*cohort(), make_bag(90, split="train", patient="p0")])


@pytest.mark.parametrize("split", ["train", "tune"])
@pytest.mark.parametrize("left", ["nothing", "one class"])
def test_a_split_without_two_classes_is_refused(split: str, left: str) -> None:
    bags = [
        bag
        for bag in cohort()
        if bag.split != split or (left == "one class" and bag.target == "normal")
    ]
    with pytest.raises(SplitError, match=f"split '{split}' needs slides of at least two classes"):
        train_head(bags, positive="tumour")


def test_no_slides_at_all_are_refused() -> None:
    with pytest.raises(SplitError):
        train_head([], positive="tumour")


def test_a_class_that_only_tuning_has_is_refused() -> None:
    bags = [*cohort(), make_bag(90, split="tune", target="odd")]
    with pytest.raises(SplitError, match="split 'train' has no slide of class odd"):
        train_head(bags, positive="tumour")


def test_a_positive_class_that_nobody_has_is_refused() -> None:
    with pytest.raises(SplitError, match="split 'train' has no slide of class tumor"):
        train_head(cohort(), positive="tumor")


def test_a_threshold_needs_positives_to_tune_on() -> None:
    bags = [*cohort(), *(make_bag(n, split="train", target="odd") for n in (90, 91))]
    with pytest.raises(SplitError, match="split 'tune' has no slide of class odd"):
        train_head(bags, positive="odd")
