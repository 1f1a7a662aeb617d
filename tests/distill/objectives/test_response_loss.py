"""RCKD's options: what each changes of the loss, by numbers."""

import math
from functools import partial

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from distill.errors import ObjectiveError
from distill.losses import instance_loss, nuclei_loss
from distill.objectives.response_loss import ResponseLoss, harden, soft_cross_entropy

of_maps = partial(ResponseLoss, appearance=False)


def response(seed: int = 0) -> Tensor:
    """(2, 3, 6, 6) probability and distances."""
    generator = Generator().manual_seed(seed)
    probability = torch.rand(2, 1, 6, 6, generator=generator)
    return torch.cat([probability, torch.rand(2, 2, 6, 6, generator=generator) * 2 - 1], 1)


def maps(seed: int = 1) -> Tensor:
    return torch.randn(2, 3, 6, 6, generator=Generator().manual_seed(seed))


def test_the_default_is_the_loss_of_soft_maps() -> None:
    assert torch.equal(of_maps()(maps(), response()), nuclei_loss(maps(), response()))


def test_with_gradients_it_is_a_teachers_own_loss() -> None:
    found = of_maps(gradients=True)(maps(), response())
    torch.testing.assert_close(found, instance_loss(maps(), response()))


def test_hard_responses_say_yes_or_no() -> None:
    target = response()
    hard = harden(target)
    assert set(hard[:, 0].unique().tolist()) == {0.0, 1.0}
    yes = target[:, 0] >= 0.5
    assert torch.equal(hard[:, 0] == 1, yes)
    assert torch.equal(hard[:, 1][yes], target[:, 1][yes])
    assert not hard[:, 1:].transpose(0, 1)[:, ~yes].any()
    assert torch.equal(of_maps(hard=True)(maps(), target), nuclei_loss(maps(), hard))
    # How sure the teacher was does not matter then.
    surer = target.clone()
    surer[:, 0] = torch.where(yes, 0.99, 0.01)
    hard_loss, soft_loss = of_maps(hard=True), of_maps()
    assert torch.equal(hard_loss(maps(), surer), hard_loss(maps(), target))
    assert not torch.equal(soft_loss(maps(), surer), soft_loss(maps(), target))


def test_nuclei_alone_take_no_account_of_distances() -> None:
    predicted = maps().requires_grad_()
    of_maps(distances=False)(predicted, response()).backward()
    assert predicted.grad is not None
    assert predicted.grad[:, 0].abs().max() > 0
    assert predicted.grad[:, 1:].abs().max() == 0
    other = response()
    other[:, 1:] = 0
    loss = of_maps(distances=False)
    assert torch.equal(loss(maps(), other), loss(maps(), response()))


def test_cross_entropy_at_a_temperature_by_hand() -> None:
    logit, probability, temperature = 1.2, 0.8, 3.0
    student = 1 / (1 + math.exp(-logit / temperature))
    teacher = 1 / (1 + math.exp(-math.log(0.8 / 0.2) / temperature))
    expected = -9 * (teacher * math.log(student) + (1 - teacher) * math.log(1 - student))
    found = soft_cross_entropy(torch.tensor([logit]), torch.tensor([probability]), temperature)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_at_any_temperature_the_teacher_is_best_repeated_exactly(temperature: float) -> None:
    probability = torch.tensor([0.1, 0.5, 0.9])
    logit = probability.logit().requires_grad_()
    soft_cross_entropy(logit, probability, temperature).backward()
    assert logit.grad is not None
    torch.testing.assert_close(logit.grad, torch.zeros(3), atol=1e-6, rtol=0)


def test_a_high_temperature_compares_logits() -> None:
    """Hinton et al., section 2.1: the gradient tends to a quarter of their difference."""
    target = torch.tensor([0.2, 0.6, 0.97])
    logit = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    soft_cross_entropy(logit, target, 100.0).backward()
    assert logit.grad is not None
    difference = (logit.detach() - target.logit()) / 4 / len(logit)
    torch.testing.assert_close(logit.grad, difference, rtol=1e-3, atol=1e-5)


def test_certain_responses_have_a_finite_loss_at_any_temperature() -> None:
    target = torch.tensor([0.0, 1.0])
    logit = torch.tensor([30.0, -30.0], requires_grad=True)
    loss = soft_cross_entropy(logit, target, 4.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logit.grad).all()  # type: ignore[arg-type]
    usual = soft_cross_entropy(logit, target, 1.0)
    assert torch.equal(usual, functional.binary_cross_entropy_with_logits(logit, target))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": 0.5}, "temperature = 0.5: 1 or more"),
        ({"temperature": 2.0, "hard": True}, "choose one of the two"),
        ({"distances": False, "gradients": True}, "teach these too"),
    ],
)
def test_contradictions_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ObjectiveError, match=says):
        ResponseLoss(**options)  # type: ignore[arg-type]


def test_a_card_can_say_what_was_chosen() -> None:
    assert ResponseLoss().describe() == "soft responses, nuclei and distances, with appearance"
    chosen = of_maps(gradients=True, temperature=2.0)
    assert (
        chosen.describe() == "soft responses, nuclei and distances, with gradients, temperature 2"
    )
    assert of_maps(hard=True, distances=False).describe() == "hard responses, nuclei alone"
