"""Fine-tuning learns a task, leaves the encoder it was given alone, and repeats itself."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from distill.downstream.dataset import Images, LabelledImages
from distill.downstream.embedding import encoder_digest, view_of
from distill.downstream.finetune import FineTuning, Shown, fine_tune
from distill.downstream.splits import TUNED_PATIENTS, folds
from distill.encoders import Encoder, create_encoder
from distill.errors import ModelError
from wsi.plan import TileSpec
from wsi.slide import Pixels

Make = Callable[..., LabelledImages]
QUICK = FineTuning(steps=12, batch_size=8, learning_rates=(1e-5, 2e-3))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return create_encoder("resnet10t", spec=TileSpec(size_px=64, mpp=0.5))


def test_it_learns_and_prefers_the_rate_that_does(coloured: Make, encoder: Encoder) -> None:
    dataset = coloured(count=60)
    fold = folds(dataset, seed=0)[0]
    before = encoder_digest(encoder)
    shown = Shown(dataset, view_of(encoder))
    answer = fine_tune(encoder, shown, fold.train, fold.test, QUICK, seed=1)
    assert answer.probs.shape == (len(fold.test), 3)
    np.testing.assert_allclose(answer.probs.sum(1), 1, atol=1e-5)
    assert (answer.probs.argmax(1) == dataset.targets[fold.test]).mean() > 0.8
    assert answer.setting == "lr=0.002"
    assert encoder_digest(encoder) == before
    again = fine_tune(encoder, shown, fold.train, fold.test, QUICK, seed=1)
    np.testing.assert_allclose(again.probs, answer.probs, atol=1e-5)
    other = fine_tune(encoder, shown, fold.train, fold.test, QUICK, seed=2)
    assert np.abs(other.probs - answer.probs).max() > 1e-3


class Recording(Shown):
    """Notes what is asked for."""

    def __init__(self, dataset: LabelledImages, encoder: Encoder) -> None:
        super().__init__(dataset, view_of(encoder))
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> Pixels:
        self.asked.append(index)
        return super().__getitem__(index)


def test_who_answers_has_learned_from_all_labels(coloured: Make, encoder: Encoder) -> None:
    dataset = coloured(count=60)
    fold = folds(dataset, seed=0)[0]
    shown = Recording(dataset, encoder)
    fine_tune(encoder, shown, fold.train, fold.test, QUICK, seed=1)
    before_answer = shown.asked[: -len(fold.test)]
    last = before_answer[-QUICK.steps * QUICK.batch_size :]
    first = before_answer[: QUICK.steps * QUICK.batch_size]
    assert set(last) == set(fold.train.tolist())
    assert set(first) < set(fold.train.tolist())  # some were set aside to choose the rate


def test_it_learns_in_half_precision(coloured: Make, encoder: Encoder) -> None:
    dataset = coloured(count=60)
    fold = folds(dataset, seed=0)[0]
    shown = Shown(dataset, view_of(encoder))
    half = replace(QUICK, bfloat16=True)
    answer = fine_tune(encoder, shown, fold.train, fold.test, half, seed=1)
    exact = fine_tune(encoder, shown, fold.train, fold.test, QUICK, seed=1)
    assert answer.probs.dtype == np.float32
    assert (answer.probs.argmax(1) == dataset.targets[fold.test]).mean() > 0.8
    assert np.abs(answer.probs - exact.probs).max() > 1e-4


def test_an_image_of_several_tiles_gets_their_mean(coloured: Make, encoder: Encoder) -> None:
    dataset = coloured(count=24, edge=100)
    fold = folds(dataset, seed=0)[0]
    shown = Shown(dataset, view_of(encoder))
    assert shown[0].shape == (4, 64, 64, 3)
    one_step = FineTuning(steps=1, batch_size=4, learning_rates=(1e-3,))
    answer = fine_tune(encoder, shown, fold.train, fold.test, one_step)
    assert answer.probs.shape == (len(fold.test), 3)


class OfTwoSizes:
    """The images of a set, every other one of them cut down."""

    def __init__(self, images: Images, edge: int) -> None:
        self.images, self.edge = images, edge

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        return f"{self.images.digest()} {self.edge}"

    def read(self, index: int) -> Pixels:
        pixels = self.images.read(index)
        return pixels[: self.edge, : self.edge] if index % 2 else pixels


def test_images_of_several_sizes_are_learnt_from_and_answered(coloured: Make) -> None:
    dataset = coloured(count=48, edge=120)
    dataset = replace(dataset, images=OfTwoSizes(dataset.images, edge=60))
    encoder = create_encoder("resnet10t", spec=TileSpec(size_px=224, mpp=0.5))
    shown = Shown(dataset, view_of(encoder))
    assert [shown[n].shape[1] for n in range(3)] == [128, 64, 128]
    settings = FineTuning(steps=1, batch_size=8, learning_rates=(1e-3,), crop_px=96)
    learn, asked = np.arange(24), np.arange(24, 48)
    answer = fine_tune(encoder, shown, learn, asked, settings)
    # Of images of one size, the same: answers are in order and do not depend on their batch.
    for size in (asked[::2], asked[1::2]):
        alone = fine_tune(encoder, shown, learn, size, settings)
        np.testing.assert_allclose(answer.probs[size - 24], alone.probs, atol=1e-5)


@pytest.mark.parametrize("patients", [1, TUNED_PATIENTS - 1])
def test_of_few_patients_none_is_validated_on(
    coloured: Make, encoder: Encoder, patients: int
) -> None:
    dataset = coloured(count=48)
    one_step = FineTuning(steps=1, batch_size=4)
    shown = Shown(dataset, view_of(encoder))
    train, asked = np.arange(4 * patients), np.arange(44, 48)
    answer = fine_tune(encoder, shown, train, asked, one_step)
    assert answer.setting == "lr=0.0003, not validated"
    more = fine_tune(encoder, shown, np.arange(4 * TUNED_PATIENTS), asked, one_step)
    assert "not validated" not in more.setting


def test_without_weights_there_is_nothing_to_tune(coloured: Make) -> None:
    encoder = create_encoder("mean-colour", spec=TileSpec(size_px=64, mpp=0.5))
    shown = Shown(coloured(), view_of(encoder))
    with pytest.raises(ModelError, match="mean-colour has no weights to fine-tune"):
        fine_tune(encoder, shown, np.arange(24), np.arange(24, 48), QUICK)


def test_tiles_are_remembered_while_there_is_room(
    coloured: Make, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.downstream.finetune.REMEMBERED", 3 * 64 * 64 * 3)
    shown = Shown(coloured(), view_of(encoder))
    first = [shown[n] for n in range(5)]
    same = [shown[n] is first[n] for n in range(5)]
    assert same == [True, True, True, False, False]
    np.testing.assert_array_equal(shown[4], first[4])
