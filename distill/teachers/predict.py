"""Maps of an image of any size: overlapping windows, of which only the middle is kept."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.augment import flip_horizontal, rotate_quarter
from distill.device import device_of, no_memory_left
from distill.encoders import normalise
from distill.nuclei_net import responses_of
from distill.teachers.network import STRIDE
from distill.turned import average_views
from wsi.slide import Pixels

WINDOW_PX = 512
MARGIN_PX = 64  # context on each side of what is kept


def predict_maps(
    net: nn.Module,
    pixels: Pixels,
    *,
    turns: int = 1,
    window_px: int = WINDOW_PX,
    margin_px: int = MARGIN_PX,
    bfloat16: bool = False,
) -> NDArray[np.float32]:
    """Predict nuclei probability and distances of an (H, W, 3) image: (3, H, W).

    Parameters
    ----------
    net
        A `TeacherNet`; put into evaluation mode. It computes where its weights are.
    turns
        Over how many of the eight turned and mirrored views to average, 1 to 8.
    window_px, margin_px
        Greatest edge of what the network sees at once, a multiple of 32, and how much of it on
        each side serves as context only. Beyond the image's edges the image is mirrored.
    bfloat16
        Compute in bfloat16: twice as fast where the processor has it, exact to about 0.01.

    Raises
    ------
    DeviceMemoryError
        If the device has no memory left for a window.
    """
    if window_px % STRIDE or window_px <= 2 * margin_px:
        raise ValueError(
            f"window_px = {window_px}: a multiple of {STRIDE} above twice the margin "
            f"({margin_px}) is wanted"
        )
    net.eval()
    device = device_of(net)
    height, width = pixels.shape[:2]
    rows, columns = (_window(length, window_px, margin_px) for length in (height, width))
    kept = (rows - 2 * margin_px, columns - 2 * margin_px)
    after = (margin_px + -height % kept[0], margin_px + -width % kept[1])
    padded = np.pad(
        pixels, [(margin_px, after[0]), (margin_px, after[1]), (0, 0)], mode="symmetric"
    )
    maps = np.empty((3, height, width), np.float32)
    for top, left in itertools.product(range(0, height, kept[0]), range(0, width, kept[1])):
        window = torch.from_numpy(padded[top : top + rows, left : left + columns]).to(device)
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                answer = _average(net, normalise(window[None]), turns)[0].cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise no_memory_left(device, f"a window of {rows} x {columns} px", error) from error
        part = maps[:, top : top + kept[0], left : left + kept[1]]
        end = (margin_px + part.shape[1], margin_px + part.shape[2])
        part[:] = answer[:, margin_px : end[0], margin_px : end[1]]
    return maps


def _window(length: int, window_px: int, margin_px: int) -> int:
    """Edge of the window along an axis: no more than a short image with its margins needs."""
    return min(window_px, -(-(length + 2 * margin_px) // STRIDE) * STRIDE)


@torch.inference_mode()
def _average(net: nn.Module, x: Tensor, turns: int) -> Tensor:
    """Mean over views of probability and distances, each brought back as it was."""

    def answer(view: Tensor) -> Tensor:
        return responses_of(net(view.contiguous(memory_format=torch.channels_last)).float())

    return average_views(answer, x, turns, mirror_back=flip_horizontal, turn_back=rotate_quarter)
