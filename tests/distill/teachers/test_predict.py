"""Maps of whole images: windows leave no trace, and turned views are turned back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distill.encoders import create_backbone
from distill.errors import DeviceMemoryError
from distill.teachers.network import TeacherNet
from distill.teachers.postprocess import Thresholds, separate
from distill.teachers.predict import predict_maps
from wsi.testing import nuclei_crops


class Slopes(nn.Module):
    """A net of a small field of view whose answer is known: darkness, and its slopes."""

    def forward(self, x: Tensor) -> Tensor:
        dark = -x.mean(1, keepdim=True)
        kernel = torch.tensor([[-0.5, 0.0, 0.5]])
        padded = nn.functional.pad(dark, (1, 1, 1, 1), mode="replicate")
        across = nn.functional.conv2d(padded, kernel[None, None])[:, :, 1:-1]
        down = nn.functional.conv2d(padded, kernel.mT[None, None])[..., 1:-1]
        return torch.cat([dark, across, down], dim=1)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=30)
@given(
    height=st.integers(3, 150),
    width=st.integers(3, 150),
    window_px=st.sampled_from([64, 96, 128]),
    margin_px=st.sampled_from([2, 16, 31]),
)
def test_windows_give_what_one_look_at_all_gives(
    height: int, width: int, window_px: int, margin_px: int
) -> None:
    pixels = image(height, width)
    whole = predict_maps(Slopes(), pixels, window_px=512, margin_px=32)
    in_windows = predict_maps(Slopes(), pixels, window_px=window_px, margin_px=margin_px)
    assert whole.shape == (3, height, width)
    np.testing.assert_allclose(in_windows, whole, atol=1e-5)


@pytest.mark.parametrize("turns", range(2, 9))
def test_turned_views_are_turned_back(turns: int) -> None:
    """The slopes of a turned image are the turned slopes, so every average is the same."""
    pixels = image(70, 50)
    once = predict_maps(Slopes(), pixels)
    np.testing.assert_allclose(predict_maps(Slopes(), pixels, turns=turns), once, atol=1e-5)


def test_a_real_network_sees_a_mosaic_in_windows_as_at_once() -> None:
    """Nuclei across the borders of windows come out once, as without windows."""
    torch.manual_seed(0)
    net = TeacherNet(create_backbone("resnet10t"), widths=(16, 16, 8, 8)).eval()
    crops, _ = nuclei_crops(count=6, size_px=128, seed=1)
    mosaic = np.concatenate([np.concatenate(list(row), axis=1) for row in (crops[:3], crops[3:])])
    # The image's size and position in its window are multiples of 32, as the network counts.
    whole = predict_maps(net, mosaic, window_px=640, margin_px=128)
    in_windows = predict_maps(net, mosaic, window_px=416, margin_px=128)
    assert in_windows.shape == (3, 256, 384)
    np.testing.assert_allclose(in_windows, whole, atol=5e-3)
    centred = whole.copy(), in_windows.copy()
    for maps in centred:
        maps[0] = maps[0] > np.median(whole[0])  # an untrained net has no threshold of its own
    found = [separate(maps, Thresholds(depth=0.3)) for maps in centred]
    differing = (found[0] > 0) != (found[1] > 0)
    assert differing.mean() < 0.01


class Placed(Slopes):
    """Notes where it is and where what it sees is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: set[str] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add(f"{x.device.type} autocast {torch.is_autocast_enabled(x.device.type)}")
        return super().forward(x)


def test_a_network_sees_its_windows_where_it_is() -> None:
    net = Placed()
    predict_maps(net, image(40, 40), turns=2, bfloat16=True)
    assert net.seen == {"cpu autocast True"}


class Full(nn.Module):
    """A network on a device without memory, as PyTorch says it."""

    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")


def test_a_window_that_does_not_fit_is_said() -> None:
    with pytest.raises(DeviceMemoryError, match=r"window of 192 x 224 px.*20\.00 MiB.*gpus"):
        predict_maps(Full(), image(40, 70))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("turns", [1, 8])
def test_a_gpu_gives_nearly_the_same_maps(turns: int) -> None:
    net = TeacherNet(create_backbone("resnet10t"), widths=(16, 16, 8, 8)).eval()
    pixels = image(150, 200)
    here = predict_maps(net, pixels, turns=turns)
    there = predict_maps(net.to("cuda"), pixels, turns=turns)
    np.testing.assert_allclose(there, here, rtol=1e-2, atol=1e-2)


def test_what_windows_must_be() -> None:
    with pytest.raises(ValueError, match="window_px = 100: a multiple of 32"):
        predict_maps(Slopes(), image(8, 8), window_px=100)
    with pytest.raises(ValueError, match=r"above twice the margin \(64\)"):
        predict_maps(Slopes(), image(8, 8), window_px=128, margin_px=64)
    with pytest.raises(ValueError, match="turns = 9"):
        predict_maps(Slopes(), image(8, 8), turns=9)
