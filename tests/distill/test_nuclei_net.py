"""The network of teacher and student, over several backbones."""

import pytest
import torch
from torch import Generator, nn

from distill.encoders import create_backbone
from distill.errors import ModelError
from distill.nuclei_net import OUTPUT_STRIDE, NucleiNet, responses_of
from distill.pooling import PooledFeatures

BACKBONES = (
    "regnetx_002",
    "resnet10t",
    "mobilenetv3_small_050",
    "resnet18",
    "csat",
    "efficientnet_b0",
    "convnextv2_atto",
    "densenet121",
    "inception_v3",
    "vit_small_patch16_224",
)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def learning(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("architecture", BACKBONES)
def test_maps_come_at_stride_two_from_a_small_decoder(architecture: str) -> None:
    backbone = create_backbone(architecture)
    of_backbone = count(backbone)
    net = NucleiNet(backbone)
    with torch.no_grad():
        maps = net.eval()(torch.zeros(2, 3, 128, 96))
    assert maps.shape == (2, 3, 128 // OUTPUT_STRIDE, 96 // OUTPUT_STRIDE)
    assert maps.dtype == torch.float32
    assert count(net) - of_backbone < 350_000


@pytest.mark.parametrize("architecture", BACKBONES)
def test_every_weight_an_embedding_is_made_with_learns(architecture: str) -> None:
    net = NucleiNet(create_backbone(architecture)).train()
    x = torch.rand(2, 3, 96, 96, generator=Generator().manual_seed(0))
    PooledFeatures(net.backbone)(x).square().sum().backward()
    of_embedding = learning(net.backbone)
    net.zero_grad()
    net(x).square().sum().backward()
    assert of_embedding <= learning(net.backbone)
    decoder = {name for name, _ in net.named_parameters() if not name.startswith("backbone.")}
    assert decoder <= learning(net)


def test_stages_that_end_in_tokens_are_maps_all_the_same() -> None:
    net = NucleiNet(create_backbone("efficientformer_l1")).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 224, 224)).shape == (1, 3, 112, 112)


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("eva02_tiny_patch14_224", "Eva has tokens of 14 px: .* of 16 or 32 px"),
        ("levit_128s", r"LevitDistilled has features at strides \[16, 32, 64\]: .* of 4, 8, 16"),
    ],
)
def test_strides_that_a_decoder_does_not_reach_are_refused(architecture: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        NucleiNet(create_backbone(architecture))


def test_responses_are_probabilities_and_distances() -> None:
    torch.manual_seed(0)
    net = NucleiNet(create_backbone("resnet10t")).eval()
    x = 5 * torch.randn(1, 3, 64, 64, generator=Generator().manual_seed(0))
    with torch.no_grad():
        net.head.weight *= 100
        maps = net(x)
    responses = responses_of(maps)
    torch.testing.assert_close(responses[:, 0], maps[:, 0].sigmoid())
    torch.testing.assert_close(responses[:, 1:], maps[:, 1:].clip(-1, 1))
    assert responses[:, 1:].abs().max() == 1


def test_maps_lie_on_the_pixels_they_are_of() -> None:
    """What changes in the image changes the maps at the same place, at half the coordinates."""
    torch.manual_seed(0)
    net = NucleiNet(create_backbone("resnet10t")).eval()
    x = torch.zeros(1, 3, 128, 128)
    moved = x.clone()
    moved[..., 40:44, 88:92] = 4
    with torch.no_grad():
        difference = (net(moved) - net(x)).abs().sum(1)[0]
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    peak = difference > difference.quantile(0.99)
    assert abs(float(rows[peak].mean()) - 42 / 2) < 4
    assert abs(float(columns[peak].mean()) - 90 / 2) < 4
