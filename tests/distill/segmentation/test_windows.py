"""Windows blend into what one look at the whole gives, wherever the area begins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distill.card import TrainingCard
from distill.errors import DeviceMemoryError
from distill.segmentation.card import SegmenterCard
from distill.segmentation.segmenter import Segmenter, answer_window, predict_image
from distill.segmentation.windows import Floats, Lattice, blend_rows
from wsi.slide import Pixels

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


class Near(nn.Module):
    """Two classes by the mean colour of 9 x 9 pixels: it sees no further than 4."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(30.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = x.mean(1, keepdim=True)
        near = nn.functional.avg_pool2d(grey, 9, 1, 4, count_include_pad=False)
        return torch.cat([self.gain * (near - 0.5), -self.gain * (near - 0.5)], 1)


class Full(Near):
    """The same on a device without memory, as PyTorch says it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")


def test_a_window_that_does_not_fit_is_said() -> None:
    card = SegmenterCard(
        architecture="none",
        decoder="unet",
        classes=("background", "gland"),
        name="glands",
        mpp=1.0,
        weights="none",
        sha256="none",
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
        **PLAIN,
    )
    with pytest.raises(DeviceMemoryError, match=r"window of 64 x 96 px.*20\.00 MiB.*gpus"):
        Segmenter(net=Full(), card=card).answer(np.zeros((64, 96, 3), np.uint8))


@given(st.integers(1, 1000), st.sampled_from([Lattice(), Lattice(window_px=128, ramp_px=32)]))
def test_the_weights_of_a_pixel_sum_to_one(length: int, lattice: Lattice) -> None:
    weights = lattice.weights()
    total = np.zeros(lattice.windows(length) * lattice.stride_px + lattice.ramp_px)
    for window in range(lattice.windows(length)):
        begin = window * lattice.stride_px
        total[begin : begin + len(weights)] += weights
    inside = total[lattice.ramp_px : lattice.ramp_px + length]
    assert len(inside) == length
    np.testing.assert_allclose(inside, 1, atol=1e-6)
    end = lattice.seen(length) - lattice.before_px
    assert end >= length + lattice.margin_px


@pytest.mark.parametrize("shape", [(40, 50), (300, 700), (513, 256)])
def test_windows_are_as_one_look_at_the_whole(shape: tuple[int, int]) -> None:
    """Of a network that sees no further than the margin."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    probs = predict_image(Near(), pixels, outputs=2, **PLAIN)
    assert probs.shape == (2, *shape)
    padded = np.pad(pixels, [(4, 4), (4, 4), (0, 0)], mode="symmetric")
    whole = answer_window(Near(), padded, **PLAIN)[:, 4:-4, 4:-4]
    np.testing.assert_allclose(probs, whole, atol=1e-5)
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)


def test_where_windows_disagree_one_fades_into_the_next() -> None:
    lattice = Lattice(window_px=64, margin_px=8, ramp_px=16)
    number = iter(range(100))

    def answer(window: Pixels) -> Floats:
        return np.full((1, 64, 64), next(number), np.float32)

    pixels = np.zeros((lattice.seen(32), lattice.seen(96), 3), np.uint8)
    (first, strip), *rest = blend_rows(answer, pixels, lattice, shape=(16, 96), outputs=1)
    assert (first, rest) == (0, [])
    row = strip[0, 0]
    assert row[:16].tolist() == [0] * 16
    steps = np.diff(row[15:33])
    assert (steps >= 0).all()
    assert steps.max() < 0.11  # of 1, over 16 pixels
    assert row[32:48].tolist() == [1] * 16


def test_windows_nobody_looks_at_give_less_than_one() -> None:
    lattice = Lattice(window_px=64, margin_px=8, ramp_px=16)
    looked = np.ones((lattice.windows(64), lattice.windows(64)), bool)
    looked[:, 1] = False
    pixels = np.zeros((lattice.seen(64), lattice.seen(64), 3), np.uint8)
    strips = blend_rows(
        lambda window: np.ones((1, 64, 64), np.float32),
        pixels,
        lattice,
        shape=(64, 64),
        outputs=1,
        looked=looked,
    )
    total = np.concatenate([strip[0] for _, strip in strips])
    np.testing.assert_allclose(total[:, :16], 1)
    assert not total[:, 32:48].any()
    assert (total[:, 17:31] < 1).all()


def test_turned_views_are_turned_back() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8)
    once = answer_window(Near(), pixels, **PLAIN)
    np.testing.assert_allclose(answer_window(Near(), pixels, turns=8, **PLAIN), once, atol=1e-5)
    with pytest.raises(ValueError, match="there are 8 ways"):
        answer_window(Near(), pixels, turns=9, **PLAIN)
