"""CSAT: its budget, timm's interface, and that its attention does what it says."""

import pytest
import timm
import torch
from torch import Generator, Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import distill.students  # noqa: F401  # registers it
from distill.students.csat import Csat
from distill.students.csat_blocks import GATES, SpatialAttention


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def gmac(size_px: int) -> float:
    """Of one forward pass in training mode, where no fused kernel hides operations."""
    net = timm.create_model("csat").train()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(2, 3, size_px, size_px))
    return counter.get_total_flops() / 2 / 2 / 1e9


def test_it_has_the_size_and_the_cost_of_the_reconstruction() -> None:
    assert count(timm.create_model("csat", num_classes=0)) == pytest.approx(2.800e6, rel=1e-3)
    assert count(timm.create_model("csat")) == pytest.approx(2.993e6, rel=1e-3)
    assert gmac(224) == pytest.approx(1.09, abs=0.006)


def test_cost_grows_with_the_pixels_and_no_faster() -> None:
    assert gmac(512) / gmac(256) < 4


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (224, 224)])
def test_any_multiple_of_32_is_a_size(size: tuple[int, int]) -> None:
    net = timm.create_model("csat", num_classes=5).eval()
    with torch.no_grad():
        assert net(random(2, 3, *size)).shape == (2, 5)
        features = net.forward_features(random(2, 3, *size))
    assert features.shape == (2, 192, size[0] // 32, size[1] // 32)


def test_it_speaks_timm() -> None:
    net = timm.create_model("csat", num_classes=7).eval()
    x = random(1, 3, 64, 96)
    with torch.no_grad():
        last, every = net.forward_intermediates(x)
        torch.testing.assert_close(last, net.forward_features(x))
        for info, feature in zip(net.feature_info, every, strict=True):
            stride = info["reduction"]
            assert feature.shape == (1, info["num_chs"], 64 // stride, 96 // stride)
        two = net.forward_intermediates(x, indices=[1, -1], intermediates_only=True)
        torch.testing.assert_close(two, [every[1], every[4]])
        torch.testing.assert_close(
            net.forward_intermediates(x, indices=2, stop_early=True, intermediates_only=True),
            every[3:],
        )
        embedding = net.forward_head(last, pre_logits=True)
        torch.testing.assert_close(embedding, last.mean((2, 3)))
        torch.testing.assert_close(net(x), net.get_classifier()(embedding))
        pyramid = timm.create_model("csat", features_only=True, out_indices=(1, 4)).eval()
        assert [tuple(f.shape) for f in pyramid(x)] == [(1, 64, 16, 24), (1, 192, 2, 3)]
    net.reset_classifier(0)
    assert net(x).shape == (1, 192)
    with pytest.raises(ValueError, match="gives 'NCHW' only"):
        net.forward_intermediates(x, output_fmt="NHWC")


def test_checkpointing_changes_memory_and_not_gradients() -> None:
    gradients = []
    for enable in (False, True):
        torch.manual_seed(0)
        net = Csat(num_classes=2).train()
        net.set_grad_checkpointing(enable)
        net(random(2, 3, 64, 64)).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_attention_gates_channels_in_groups_and_never_hides() -> None:
    torch.manual_seed(0)
    attend = SpatialAttention(16, token_dim=8, depth=1).eval()
    x = random(2, 16, 28, 28).abs()
    with torch.no_grad():
        gates = attend.attention(x)
        ratio = attend(x) / x
    assert gates.shape == (2, GATES, 14, 14)
    assert 0 < gates.min() < gates.max() < 1
    assert 1 < ratio.min() < ratio.max() < 2
    pairs = ratio.unflatten(1, (GATES, 2))
    torch.testing.assert_close(pairs[:, :, 0], pairs[:, :, 1], atol=1e-4, rtol=0)
    assert (pairs[:, 0] - pairs[:, 1]).abs().max() > 1e-3


def test_what_is_in_one_corner_is_seen_in_the_other() -> None:
    """The transformer's reach is the whole grid, unlike a convolution's."""
    torch.manual_seed(0)
    attend = SpatialAttention(16, token_dim=8, depth=1).eval()
    x = random(1, 16, 28, 28)
    moved = x.clone()
    moved[..., :4, :4] += 5
    with torch.no_grad():
        far = (attend.attention(moved) - attend.attention(x))[..., -1, -1]
    assert far.abs().max() > 1e-5


def test_it_learns_eight_pictures_by_heart() -> None:
    torch.manual_seed(0)
    net = Csat(num_classes=8).train()
    x, target = random(8, 3, 64, 64), torch.arange(8)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(net(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 1.5 < losses[0]
