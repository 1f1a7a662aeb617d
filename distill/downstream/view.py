"""How an image of any size and resolution is shown to an encoder."""

from dataclasses import dataclass

import numpy as np
from torch import Generator, Tensor

from distill.encoders import Encoder, normalise
from distill.resample import resample
from distill.views import vary_stain
from wsi.plan import TileSpec
from wsi.slide import Pixels

STRIDE_PX = 32  # the coarsest stride of the networks we use; their input is a multiple of it
SMALLEST_PX = 64  # two cells of the coarsest feature map a side


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Images at the encoder's resolution, cut into squares.

    The image is resampled so that nuclei have the size the encoder was pretrained on. One larger
    than a tile is covered by evenly spaced tiles that overlap as little as they can; one smaller
    is mirrored at its borders up to the next multiple of 32 pixels, at least 64: repeated tissue
    adds nothing to the average over space, which enlarging or a blank frame would change.

    A CRCHistoPhenotypes patch, 27 pixels at 0.55 µm, becomes 59 pixels in a square of 64 for an
    encoder at 0.25 µm, and 30 in a square of 64 for one at 0.5 µm.

    Attributes
    ----------
    spec
        The tiles the encoder wants.
    any_size
        Whether it takes squares smaller than its tiles whose edges are multiples of 32 pixels, as
        convolutional networks do.
    magnify
        Nuclei are shown this many times larger than at the encoder's resolution.
    """

    spec: TileSpec
    any_size: bool = True
    magnify: float = 1.0

    def show(self, pixels: Pixels, mpp: float) -> Pixels:
        """Turn an image (H, W, 3) at `mpp` into tiles (T, S, S, 3)."""
        pixels = resample(pixels, mpp / self.spec.mpp * self.magnify)
        edge = self._edge(max(pixels.shape[:2]))
        pixels = _mirror(pixels, edge)
        tops, lefts = (_starts(length, edge) for length in pixels.shape[:2])
        return np.stack([pixels[y : y + edge, x : x + edge] for y in tops for x in lefts])

    def _edge(self, longest: int) -> int:
        if not self.any_size:
            return self.spec.size_px
        wanted = max(SMALLEST_PX, -(-longest // STRIDE_PX) * STRIDE_PX)
        return min(wanted, self.spec.size_px)


def _mirror(pixels: Pixels, edge: int) -> Pixels:
    """Mirror the borders of an image until both sides are at least `edge`."""
    missing = [max(0, edge - length) for length in pixels.shape[:2]]
    if not any(missing):
        return pixels
    around = [(m // 2, m - m // 2) for m in missing]
    return np.pad(pixels, (*around, (0, 0)), mode="symmetric")


def _starts(length: int, edge: int) -> list[int]:
    """Where tiles begin that cover `length`, the first at 0 and the last at the end."""
    count = -(-length // edge)
    return [round(start) for start in np.linspace(0, length - edge, count)]


def stained(crops: Tensor, encoder: Encoder, generator: Generator) -> Tensor:
    """Crops (B, H, W, 3) of 0-255 with varied stain, as the encoder takes them: (B, 3, H, W)."""
    varied = vary_stain(crops.permute(0, 3, 1, 2).float(), generator)
    return normalise(varied.permute(0, 2, 3, 1), mean=encoder.mean, std=encoder.std)
