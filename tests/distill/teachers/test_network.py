"""The teacher's network, over several backbones."""

import pytest
import torch
from torch import Generator

from distill.encoders import create_backbone
from distill.teachers.network import TeacherNet

BACKBONES = ("resnet10t", "regnetx_002", "mobilenetv3_small_050", "convnext_atto")


@pytest.mark.parametrize("architecture", BACKBONES)
def test_maps_come_at_full_resolution(architecture: str) -> None:
    net = TeacherNet(create_backbone(architecture), widths=(16, 16, 8, 8)).eval()
    with torch.inference_mode():
        assert net(torch.zeros(2, 3, 96, 64)).shape == (2, 3, 96, 64)


def test_every_part_learns() -> None:
    net = TeacherNet(create_backbone("resnet10t"), widths=(16, 16, 8, 8)).train()
    net(torch.rand(2, 3, 64, 64, generator=Generator().manual_seed(0))).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_maps_lie_on_the_pixels_they_are_of() -> None:
    torch.manual_seed(0)
    net = TeacherNet(create_backbone("resnet10t"), widths=(16, 16, 8, 8)).eval()
    x = torch.zeros(1, 3, 128, 128)
    moved = x.clone()
    moved[..., 40:44, 88:92] = 4
    with torch.inference_mode():
        difference = (net(moved) - net(x)).abs().sum(1)[0]
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    peak = difference > difference.quantile(0.995)
    assert abs(float(rows[peak].mean()) - 41.5) < 5
    assert abs(float(columns[peak].mean()) - 89.5) < 5
