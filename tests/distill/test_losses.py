"""The loss of teacher and student, and the measures of a student's fidelity."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distill.losses import dice_loss, fidelity, gradient_loss, instance_loss, nuclei_loss


def target_of(nuclei: list[list[float]], distance: float = 0.5) -> Tensor:
    """(1, 3, H, W) with both distances the same inside the nuclei."""
    inside = torch.tensor(nuclei)
    return torch.stack([inside, distance * inside, distance * inside])[None]


def perfect(target: Tensor) -> Tensor:
    """The maps that say with certainty what the target says."""
    maps = target.clone()
    maps[:, 0] = (target[:, 0] - 0.5) * 200
    return maps


def test_nothing_is_lost_by_the_perfect_prediction() -> None:
    target = target_of([[0, 1, 1], [0, 0, 1]])
    assert nuclei_loss(perfect(target), target) < 1e-6


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_an_error_in_any_map_costs(plane: int) -> None:
    target = target_of([[0, 1, 1], [0, 0, 1]])
    maps = perfect(target)
    maps[:, plane] = -maps[:, plane]
    assert nuclei_loss(maps, target) > 0.5


def test_distances_outside_nuclei_cost_nothing() -> None:
    target = target_of([[0, 1, 1], [0, 0, 1]])
    maps = perfect(target)
    maps[:, 1:, 0, 0] = 50
    assert nuclei_loss(maps, target) < 1e-6


def test_a_tile_without_nuclei_has_a_finite_loss_and_gradient() -> None:
    maps = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = nuclei_loss(maps, torch.zeros(1, 3, 4, 4))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_the_loss_by_hand() -> None:
    maps = torch.tensor([[[[0.0, 0.0]], [[0.5, 7.0]], [[0.0, 7.0]]]])  # logits 0: probability ½
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]]]])
    cross_entropy = math.log(2)
    dice = 1 - (2 * 0.5 + 1) / (0.25 + 0.25 + 1 + 1)
    distance = 0.5**2 + 1.0**2
    assert float(nuclei_loss(maps, target)) == pytest.approx(cross_entropy + dice + distance)


def test_a_soft_target_is_best_met_exactly() -> None:
    """The gradient of cross-entropy vanishes at the teacher's own probability."""
    probability = torch.tensor([0.1, 0.5, 0.8])
    target = torch.zeros(1, 3, 1, 3)
    target[0, 0, 0] = probability
    maps = torch.zeros(1, 3, 1, 3)
    maps[0, 0, 0] = probability.logit()
    best = nuclei_loss(maps, target)
    for step in (-0.5, 0.5):
        assert nuclei_loss(maps + step, target) > best


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 0.0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 1 - 1 / 5),
        ([1, 1, 1, 0], [1, 0, 0, 0], 1 - 3 / 5),
        ([0.5, 0, 0, 0], [1, 0, 0, 0], 1 - 2 / 2.25),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),
    ],
)
def test_dice_by_hand(predicted: list[float], target: list[float], expected: float) -> None:
    loss = dice_loss(torch.tensor(predicted).float(), torch.tensor(target).float())
    assert float(loss) == pytest.approx(expected)


def test_fidelity_by_hand() -> None:
    target = target_of([[1, 1, 0, 0]], distance=0.5)
    maps = torch.zeros(1, 3, 1, 4)
    maps[0, 0, 0] = torch.tensor([2.0, -2.0, 2.0, -2.0])  # one right, one missed, one too many
    maps[0, 1, 0] = torch.tensor([0.5, 0.1, 9.0, 9.0])
    measures = fidelity(maps, target)
    assert measures["dice"] == pytest.approx(2 * 1 / (2 + 2))
    # horizontal is off by 0 and 0.4, vertical by 0.5 and 0.5; what lies outside does not count
    assert measures["distance_error"] == pytest.approx((0.25 + 0.45) / 2)


def test_fidelity_at_its_ends() -> None:
    target = target_of([[1, 1, 0, 0]])
    assert fidelity(perfect(target), target) == {"dice": 1.0, "distance_error": 0.0}
    opposite = fidelity(perfect(target_of([[0, 0, 1, 1]])), target)
    assert opposite == {"dice": 0.0, "distance_error": 0.5}


def test_agreeing_that_there_is_no_nucleus_is_full_fidelity() -> None:
    target = target_of([[0, 0, 0]])
    assert fidelity(perfect(target), target) == {"dice": 1.0, "distance_error": 0.0}


def known_target(nuclei: list[list[float]], known: list[list[float]]) -> Tensor:
    return torch.cat([target_of(nuclei), torch.tensor(known)[None, None]], dim=1)


def test_distances_that_are_not_known_cost_nothing() -> None:
    target = known_target([[1, 1, 1, 0, 0, 0, 1, 1]], [[1, 1, 1, 0, 0, 0, 0, 0]])
    maps = perfect(target[:, :3])
    maps[:, 1:, 0, 6:] = 50
    assert instance_loss(maps, target) < 1e-6
    maps[:, 1, 0, 0] = -1
    assert instance_loss(maps, target) > 0.1


def test_the_nuclei_map_counts_where_distances_are_not_known() -> None:
    target = known_target([[1, 1, 0, 0]], [[0, 0, 0, 0]])
    maps = perfect(target[:, :3])
    maps[:, 0] = -maps[:, 0]
    assert instance_loss(maps, target) > 1


def test_without_the_fourth_plane_distances_are_known_in_nuclei() -> None:
    nuclei = [[1.0, 1.0, 0.0, 0.0]]
    maps = torch.randn(1, 3, 1, 4, generator=torch.Generator().manual_seed(0))
    without, within = target_of(nuclei), known_target(nuclei, nuclei)
    assert instance_loss(maps, without) == instance_loss(maps, within)


@pytest.mark.parametrize("plane", [1, 2])
def test_what_matters_is_the_jump_between_touching_nuclei(plane: int) -> None:
    """Two touching nuclei taken for one cost more than an offset of the same squared error."""
    target = torch.zeros(1, 3, 20, 20)
    target[:, 0] = 1
    two, one = torch.linspace(-1, 1, 10).repeat(2), torch.linspace(-1, 1, 20)
    target[0, plane] = two if plane == 1 else two[:, None]
    merged, offset = perfect(target), perfect(target)
    merged[0, plane] = one if plane == 1 else one[:, None]
    offset[0, plane] += (merged - target)[0, plane].square().mean().sqrt()
    assert float(nuclei_loss(merged, target)) == pytest.approx(float(nuclei_loss(offset, target)))
    inside = (slice(None), slice(None), slice(3, -3), slice(3, -3))  # away from the image's edge
    assert gradient_loss(offset[inside], target[inside]) < gradient_loss(merged, target)


def test_the_gradient_loss_of_a_jump_by_hand() -> None:
    """The kernel's columns beside the middle sum to 2.4, those at its ends to 1.8."""
    maps, target = torch.zeros(1, 3, 25, 12), torch.ones(1, 4, 25, 12)
    target[:, 1:3] = 0
    maps[:, 1, 10:15, 4:8] = 1  # a block, five rows high
    weights = torch.tensor([[0.25, 0.2], [0.4, 0.5], [0.5, 1.0], [0.4, 0.5], [0.25, 0.2]]) / 4.2
    of_rows = functional.conv1d(  # how much of each kernel column meets the block, row by row
        torch.ones(1, 1, 5).expand(2, 1, 5), weights.T[:, None], padding=4
    )[0]
    outer, inner = of_rows[0], of_rows[1]
    both = outer + inner
    # Along x: two columns before and after each of the two edges.
    expected = 2 * float((outer**2 + both**2 + both**2 + outer**2).sum())
    assert float(gradient_loss(maps, target)) * 25 * 12 == pytest.approx(expected)
    turned = torch.zeros(1, 3, 12, 25)
    turned[:, 2] = maps[:, 1].mT
    assert float(gradient_loss(turned, target.mT)) * 25 * 12 == pytest.approx(expected)
