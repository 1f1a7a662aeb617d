"""A trained segmenter: its folder, and the classes it sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.card import weights_file, write_toml
from distill.checkpoint import load_weights, save_weights
from distill.device import check_device, device_of, no_memory_left
from distill.encoders import normalise
from distill.resample import at_mpp, resize_labels
from distill.segmentation.card import CARD_NAME, SegmenterCard, read_segmenter_card
from distill.segmentation.network import build_network
from distill.segmentation.windows import Floats, Lattice, blend_rows
from distill.turned import average_views
from wsi.slide import Pixels

WEIGHTS_NAME = "segmenter.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """A network with what is needed to use it rightly."""

    net: nn.Module
    card: SegmenterCard

    def answer(self, window: Pixels, *, turns: int = 1, bfloat16: bool = False) -> Floats:
        """Class probabilities (K, H, W) of one window (H, W, 3), sides multiples of 32.

        Averaged over `turns` of the eight turned and mirrored views.

        Raises
        ------
        DeviceMemoryError
            If the device has no memory left for the window.
        """
        try:
            return answer_window(
                self.net,
                window,
                mean=self.card.mean,
                std=self.card.std,
                turns=turns,
                bfloat16=bfloat16,
            )
        except torch.OutOfMemoryError as error:
            what = f"a window of {window.shape[0]} x {window.shape[1]} px"
            raise no_memory_left(device_of(self.net), what, error) from error

    def probabilities(self, pixels: Pixels, *, turns: int = 1, bfloat16: bool = False) -> Floats:
        """Class probabilities (K, H, W) of an image (H, W, 3) at the segmenter's resolution."""
        return predict_image(
            self.net,
            pixels,
            outputs=len(self.card.classes),
            mean=self.card.mean,
            std=self.card.std,
            turns=turns,
            bfloat16=bfloat16,
        )

    def segment(
        self, pixels: Pixels, *, mpp: float | None = None, turns: int = 1, bfloat16: bool = False
    ) -> NDArray[np.int32]:
        """The class of each pixel of an image (H, W, 3): (H, W).

        Without `mpp` the image is taken to be at the segmenter's.
        """
        seen = at_mpp(pixels, mpp=mpp, wanted=self.card.mpp)
        probs = self.probabilities(seen, turns=turns, bfloat16=bfloat16)
        classes = probs.argmax(0).astype(np.int32)
        return resize_labels(classes, (pixels.shape[0], pixels.shape[1]))


@torch.inference_mode()
def answer_window(
    net: nn.Module,
    window: Pixels,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    turns: int = 1,
    bfloat16: bool = False,
) -> Floats:
    """Class probabilities (K, H, W) of one window (H, W, 3); see `Segmenter.answer`."""
    device = device_of(net)
    seen = torch.from_numpy(np.ascontiguousarray(window))[None].to(device)
    x = normalise(seen, mean=mean, std=std)

    def probabilities(view: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits: Tensor = net(view.contiguous(memory_format=torch.channels_last))
        return logits.float().softmax(1)

    answer: Floats = average_views(probabilities, x, turns)[0].cpu().numpy()
    return answer


def predict_image(
    net: nn.Module,
    pixels: Pixels,
    *,
    outputs: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    turns: int = 1,
    bfloat16: bool = False,
) -> Floats:
    """Class probabilities (K, H, W) of an image of any size; beyond its edges it is mirrored."""
    net.eval()
    height, width = pixels.shape[:2]
    lattice = lattice_for(max(height, width))
    around = [(lattice.before_px, lattice.seen(n) - lattice.before_px - n) for n in (height, width)]
    padded = np.pad(pixels, [*around, (0, 0)], mode="symmetric")

    def answer(window: Pixels) -> Floats:
        return answer_window(net, window, mean=mean, std=std, turns=turns, bfloat16=bfloat16)

    strips = blend_rows(answer, padded, lattice, shape=(height, width), outputs=outputs)
    return np.concatenate([strip for _, strip in strips], axis=1)


def lattice_for(longest_px: int) -> Lattice:
    """Windows for an image: no larger than a small one needs."""
    full = Lattice()
    needed = longest_px + 2 * full.before_px
    return Lattice(window_px=min(full.window_px, max(256, -(-needed // 32) * 32)))


def save_segmenter(net: nn.Module, folder: Path, card: SegmenterCard) -> None:
    """Write weights and card; the card's digest is filled in here."""
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = save_weights(net, folder / WEIGHTS_NAME)
    filled = card.model_copy(update={"weights": WEIGHTS_NAME, "sha256": sha256})
    write_toml(folder / CARD_NAME, filled)


def load_segmenter(path: Path, *, device: str = "cpu") -> Segmenter:
    """Load a segmenter from its folder, or from the weights in it, to compute on `device`.

    Raises
    ------
    ModelError
        If card or weights are missing, the weights are not those of the card, or there is no such
        device here.
    """
    check_device(device)
    card = read_segmenter_card(path)
    net = build_network(card.architecture, card.decoder, outputs=len(card.classes))
    file = weights_file(path, card_name=CARD_NAME, weights=card.weights)
    load_weights(net, file, sha256=card.sha256)
    there = net.eval().to(device).to(memory_format=torch.channels_last)
    return Segmenter(net=there, card=card)
