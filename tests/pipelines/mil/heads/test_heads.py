"""The contract of every head: what its answer may depend on, what it gives, and that it learns.

TransMIL places the tiles on a grid in the order they come, so for it the order may matter; all
the rest holds for it too.
"""

from typing import get_args

import pytest
import torch
from torch import Generator, Tensor, nn

from distill.card import HeadKind
from distill.errors import ModelError
from pipelines.mil.heads.head import Head, weighted_cross_entropy
from pipelines.mil.heads.registry import HEADS, create_head, size_names

DIM = 12
SMALL = {"hidden_dim": 16, "attention_dim": 8, "query_dim": 8, "attention_heads": 2, "landmarks": 4}
ORDERED = ("transmil",)  # heads that look at the order of the tiles
KINDS = sorted(HEADS)


def make(kind: str, classes: int = 3, *, seed: int = 0) -> Head:
    """A small head whose answers differ a lot between instances, so that errors show."""
    torch.manual_seed(seed)
    head = create_head(kind, DIM, classes, {n: SMALL[n] for n in size_names(kind) if n in SMALL})
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.endswith(("score.weight", "query.weight")):
                parameter *= 10
    return head.eval()


def bags(count: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(count, length, DIM, generator=Generator().manual_seed(seed))


def everything(batch: Tensor) -> Tensor:
    return torch.ones(batch.shape[:2], dtype=torch.bool)


def padded(alone: list[Tensor], length: int, filler: float) -> tuple[Tensor, Tensor]:
    batch = torch.full((len(alone), length, DIM), filler)
    bag_mask = torch.zeros(len(alone), length, dtype=torch.bool)
    for row, bag in enumerate(alone):
        batch[row, : bag.shape[1]] = bag
        bag_mask[row, : bag.shape[1]] = True
    return batch, bag_mask


def test_the_card_knows_every_head() -> None:
    assert set(HEADS) == set(get_args(HeadKind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_shapes_and_types(kind: str, classes: int) -> None:
    batch = bags(2, 5)
    output = make(kind, classes)(batch, everything(batch))
    assert output.logits.shape == (2, classes)
    assert output.attention.shape == (2, 5)
    assert output.logits.dtype == output.attention.dtype == torch.float32
    assert (output.tile_logits is None) == (kind in ORDERED)
    if output.tile_logits is not None:
        assert output.tile_logits.shape == (2, 5, classes)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ORDERED])
@pytest.mark.parametrize("length", [1, 3, 9, 40])
def test_the_order_of_tiles_does_not_matter(kind: str, length: int) -> None:
    head, batch = make(kind), bags(2, length)
    order = torch.randperm(length, generator=Generator().manual_seed(1))
    straight = head(batch, everything(batch))
    turned = head(batch[:, order], everything(batch))
    torch.testing.assert_close(turned.logits, straight.logits)
    torch.testing.assert_close(turned.attention, straight.attention[:, order])
    assert straight.tile_logits is not None
    torch.testing.assert_close(turned.tile_logits, straight.tile_logits[:, order])


@pytest.mark.parametrize("kind", ORDERED)
def test_where_the_order_may_matter_it_does(kind: str) -> None:
    head, batch = make(kind), bags(1, 9)
    order = torch.randperm(9, generator=Generator().manual_seed(1))
    straight, turned = (head(b, everything(b)).logits for b in (batch, batch[:, order]))
    assert (straight - turned).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filler", [0.0, 1e6, -3.0])
def test_padding_changes_nothing(kind: str, filler: float) -> None:
    head = make(kind)
    alone = [bags(1, 4, seed=1), bags(1, 9, seed=2), bags(1, 1, seed=3), bags(1, 2, seed=4)]
    batch, bag_mask = padded(alone, 11, filler)
    together = head(batch, bag_mask)
    assert (together.attention[~bag_mask] == 0).all()
    for row, bag in enumerate(alone):
        one = head(bag, everything(bag))
        real = bag_mask[row]
        torch.testing.assert_close(together.logits[row], one.logits[0])
        torch.testing.assert_close(together.attention[row, real], one.attention[0])
        if together.tile_logits is not None and one.tile_logits is not None:
            torch.testing.assert_close(together.tile_logits[row, real], one.tile_logits[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("dtfd", "acmil")])
def test_padding_changes_no_loss(kind: str) -> None:
    """DTFD and ACMIL draw at random while they learn; their parts are tested in their own files."""
    head = make(kind).eval()
    alone = [bags(1, 7, seed=1), bags(1, 12, seed=2), bags(1, 1, seed=3)]
    target, weight = torch.tensor([0, 2, 1]), torch.tensor([0.5, 1.0, 2.0])
    together = head.loss(*padded(alone, 15, 7.0), target, weight)
    losses = [
        head.loss(bag, everything(bag), target[[row]], weight) for row, bag in enumerate(alone)
    ]
    torch.testing.assert_close(together, torch.stack(losses).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_shared_out(kind: str) -> None:
    batch = bags(3, 8)
    bag_mask = torch.rand(3, 8, generator=Generator().manual_seed(4)) < 0.5
    bag_mask[:, 2] = True
    attention = make(kind)(batch, bag_mask).attention
    assert (attention >= 0).all()
    assert (attention[~bag_mask] == 0).all()
    torch.testing.assert_close(attention.sum(1), torch.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_scores_as_a_slide_made_of_it_alone(kind: str) -> None:
    head, batch = make(kind), bags(1, 6)
    output = head(batch, everything(batch))
    if output.tile_logits is None:
        assert kind in ORDERED
        return
    singles = batch[0][:, None]
    torch.testing.assert_close(output.tile_logits[0], head(singles, everything(singles)).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bag_has_the_same_answer_twice(kind: str) -> None:
    head, batch = make(kind), bags(2, 30)
    first, second = (head(batch, everything(batch)).logits for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_parameter_learns(kind: str, classes: int) -> None:
    head = make(kind, classes).train()
    batch = bags(6, 30)
    bag_mask = everything(batch)
    bag_mask[:, 26:] = False
    target = torch.arange(6) % classes
    head.loss(batch, bag_mask, target, torch.ones(classes)).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_separable_problem_is_learnt(kind: str) -> None:
    """A bag's class is the direction in which a few of its instances are moved."""
    batch, target = bags(12, 10), torch.arange(12) % 3
    for bag, of_bag in zip(batch, target.tolist(), strict=True):
        bag[:3, of_bag] += 6
    torch.manual_seed(0)
    sizes = {"hidden_dim": 32} | ({"attention_heads": 2, "landmarks": 4} if kind in ORDERED else {})
    head = create_head(kind, DIM, 3, sizes).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        head.loss(batch, everything(batch), target, torch.ones(3)).backward()
        optimiser.step()
    logits = head.eval()(batch, everything(batch)).logits
    assert (logits.argmax(1) == target).all()
    assert nn.functional.cross_entropy(logits, target) < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_rare_class_weighs_more(kind: str) -> None:
    head, batch = make(kind), bags(1, 20)
    losses = []
    for weight in (1.0, 3.0):
        torch.manual_seed(0)
        weights = torch.tensor([9.0, weight, 9.0])
        losses.append(head.loss(batch, everything(batch), torch.tensor([1]), weights).item())
    assert losses[1] > 1.5 * losses[0]


def test_the_weighted_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    target, weight = torch.tensor([1, 0]), torch.tensor([0.5, 3.0])
    by_hand = (3 * torch.tensor(2.0).log() + 0.5 * (1 + torch.tensor(-2.0).exp()).log()) / 2
    torch.testing.assert_close(weighted_cross_entropy(logits, target, weight), by_hand)


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_is_built_again_from_its_sizes(kind: str) -> None:
    head = make(kind)
    again = create_head(kind, DIM, 3, head.sizes)
    again.load_state_dict(head.state_dict())
    batch = bags(1, 5)
    assert torch.equal(
        again.eval()(batch, everything(batch)).logits, head(batch, everything(batch)).logits
    )


@pytest.mark.parametrize(
    ("kind", "sizes", "complaint"),
    [
        ("abmil2", {}, r"no head is called 'abmil2': known are mean, max, gated-abmil"),
        ("mean", {"attention_dim": 4}, r"mean has no size 'attention_dim': it has hidden_dim"),
        ("dtfd", {"groups": 0}, r"dtfd: groups = 0, wanted 1 or more"),
        ("transmil", {"hidden_dim": 10}, r"hidden_dim = 10 is not a multiple of .* 8"),
        ("clam-sb", {"multiple": 1}, r"clam-sb has no size 'multiple'"),
    ],
)
def test_what_cannot_be_built_is_said(kind: str, sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        create_head(kind, DIM, 2, sizes)
