"""Training the head: it learns what is planted, and the test slides are out of its sight."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipelines.errors import SplitError, TrainingError
from pipelines.mil.bags import Bag, bag_logits, check_split, score_bag
from pipelines.mil.heads.head import Head
from pipelines.mil.training import HeadSettings, TrainedHead, train_head

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
        read=partial(np.asarray, embeddings.astype(np.float32)),
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
    scores = [score_bag(trained.head, bag.read())[positive] for bag in test]
    return float(roc_auc_score([bag.target == trained.positive for bag in test], scores))


@pytest.fixture(scope="module")
def trained() -> TrainedHead:
    return train_head(cohort(), positive="tumour", settings=HeadSettings(epochs=15))


def test_a_planted_signal_is_learned(trained: TrainedHead) -> None:
    bags = cohort()
    assert held_out_auroc(trained, bags) > 0.95
    test = [bag for bag in bags if bag.split == "test"]
    called = [score_bag(trained.head, bag.read())[1] >= trained.threshold for bag in test]
    assert (
        np.mean([c == (bag.target == "tumour") for c, bag in zip(called, test, strict=True)]) > 0.8
    )


def test_attention_goes_to_the_planted_instances(trained: TrainedHead) -> None:
    for bag in (b for b in cohort() if b.split == "test" and b.target == "tumour"):
        embeddings = torch.from_numpy(bag.read())[None]
        with torch.inference_mode():
            output = trained.head(embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool))
        planted = len(bag.read()) // 10
        assert output.tile_logits is not None
        odds = output.tile_logits[0, :, 1] - output.tile_logits[0, :, 0]
        assert odds[:planted].mean() > odds[planted:].mean() + 1
        assert output.attention[0, :planted].mean() > output.attention[0, planted:].mean()


def test_without_a_signal_nothing_is_learned() -> None:
    bags = [replace(bag, target=("tumour", "normal")[n // 2 % 2]) for n, bag in enumerate(cohort())]
    assert (
        0.2
        < held_out_auroc(train_head(bags, positive="tumour", settings=HeadSettings(epochs=5)), bags)
        < 0.8
    )


def test_the_head_says_how_it_came_about(trained: TrainedHead) -> None:
    assert trained.classes == ("normal", "tumour")
    assert trained.n_tune == 12
    assert len(trained.tune_loss) == 15
    assert min(trained.tune_loss) < trained.tune_loss[0]
    assert 0 < trained.threshold < 1
    assert not trained.head.training


def test_the_epoch_with_the_least_tuning_loss_is_kept() -> None:
    bags = cohort(train=8, tune=8, test=0)
    trained = train_head(
        bags, positive="tumour", settings=HeadSettings(epochs=12, learning_rate=1e-2)
    )
    losses = [
        -np.log(score_bag(trained.head, bag.read())[trained.classes.index(bag.target)])
        for bag in bags
        if bag.split == "tune"
    ]
    assert trained.tune_loss[-1] > 1.2 * min(trained.tune_loss)  # it went on, and for the worse
    assert np.mean(losses) == pytest.approx(min(trained.tune_loss), rel=1e-4)


def test_the_seed_decides() -> None:
    bags = cohort(train=6, tune=4, test=0)
    one, same, other = (
        train_head(bags, positive="tumour", settings=HeadSettings(epochs=2), seed=s)
        for s in (3, 3, 4)
    )
    assert weights_of(one) == weights_of(same)
    assert (one.threshold, one.tune_loss) == (same.threshold, same.tune_loss)
    assert weights_of(one) != weights_of(other)


def test_the_test_slides_change_nothing() -> None:
    bags = cohort(train=6, tune=4, test=6)
    expected = train_head(bags, positive="tumour", settings=HeadSettings(epochs=2))
    seen = [bag for bag in bags if bag.split != "test"]
    other_targets = [
        replace(bag, target="unheard of") if bag.split == "test" else bag for bag in bags
    ]
    broken: NDArray[np.float32] = np.full((3, 2), np.nan, np.float32)
    other_embeddings = [
        replace(bag, read=partial(np.asarray, broken)) if bag.split == "test" else bag
        for bag in bags
    ][::-1]
    other_embeddings.sort(key=lambda bag: bag.split != "test")  # the broken ones come first
    in_order = [b for b in other_embeddings if b.split == "test"] + seen
    for changed in (seen, other_targets, in_order):
        found = train_head(changed, positive="tumour", settings=HeadSettings(epochs=2))
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
    trained = train_head(bags, positive=positive, settings=HeadSettings(epochs=1))
    assert trained.classes[-1] == positive
    assert sorted(trained.classes) == ["a", "b", "c"]
    scores = score_bag(trained.head, bags[0].read())
    assert scores.shape == (3,)
    assert scores.sum() == pytest.approx(1)


def test_a_rare_class_is_not_drowned() -> None:
    """Classes that cannot be told apart score evenly, however many slides each has."""
    bags = [
        replace(make_bag(n, split=split), target="tumour" if n % 10 == 0 else "normal")
        for split, numbers in (("train", range(20)), ("tune", range(20, 40)))
        for n in numbers
    ]
    head = train_head(bags, positive="tumour", settings=HeadSettings(epochs=3)).head
    scores = [score_bag(head, make_bag(n, split="test").read())[1] for n in range(100, 120)]
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
        assert "patient 'p1' is in test, train" in str(caught.value)
        assert "patient 'p0' is in train, tune" in str(caught.value)
        assert "p2" not in str(caught.value)


def test_a_patient_on_both_sides_is_refused_however_written() -> None:
    bags = [*cohort(train=6, tune=4), make_bag(90, split="tune", patient="P0")]
    with pytest.raises(SplitError, match="patient 'p0' \\(also written 'P0'\\) is in train, tune"):
        check_split(bags)


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


@pytest.mark.parametrize("kind", ["mean", "clam-sb", "dtfd", "acmil"])
def test_any_head_is_trained_and_the_seed_decides_what_it_draws(kind: str) -> None:
    bags = cohort(train=8, tune=4, test=0)
    settings = HeadSettings(kind=kind, sizes={"hidden_dim": 24}, epochs=2)
    one, same = (train_head(bags, positive="tumour", settings=settings, seed=3) for _ in "ab")
    assert (one.kind, one.head.sizes["hidden_dim"]) == (kind, 24)
    assert weights_of(one) == weights_of(same)
    logits = bag_logits(one.head, bags[0].read())
    assert score_bag(one.head, bags[0].read()) == pytest.approx(
        np.exp(logits) / np.exp(logits).sum()
    )


def test_training_stops_when_it_no_longer_helps() -> None:
    bags = cohort(train=8, tune=8, test=0)
    settings = HeadSettings(epochs=60, patience=3, learning_rate=1e-2)
    trained = train_head(bags, positive="tumour", settings=settings)
    best = int(np.argmin(trained.tune_loss))
    assert len(trained.tune_loss) == len(trained.train_loss) == best + 1 + 3 < 60


def test_a_step_sees_some_tiles_of_a_large_bag_and_tuning_all() -> None:
    lengths: list[int] = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        if module.training and isinstance(module, Head):
            lengths.append(inputs[0].shape[1])

    bags = cohort(train=4, tune=4, test=0)
    handle = torch.nn.modules.module.register_module_forward_hook(watch)  # type: ignore[arg-type]
    try:
        train_head(bags, positive="tumour", settings=HeadSettings(epochs=2, most_tiles=7))
    finally:
        handle.remove()
    assert lengths == [7] * 8


def test_half_precision_is_read_as_it_is_stored() -> None:
    bags = cohort(train=6, tune=4, test=0)
    half = [replace(b, read=partial(np.asarray, b.read().astype(np.float16))) for b in bags]
    single = [replace(b, read=partial(np.asarray, b.read().astype(np.float32))) for b in half]
    settings = HeadSettings(epochs=2)
    one, other = (train_head(b, positive="tumour", settings=settings) for b in (half, single))
    assert weights_of(one) == weights_of(other)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    bags = cohort(train=6, tune=4, test=0)
    bags[7] = replace(bags[7], read=partial(np.full, (5, DIM), np.float32(np.nan)))
    with pytest.raises(TrainingError, match=r"loss is nan after epoch 1: .* learning rate, 0\.001"):
        train_head(bags, positive="tumour")
