"""What a teacher's responses depend on, and by what a tile's response is known."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import ResponseError
from distill.nuclei_net import OUTPUT_STRIDE
from wsi.slide import Pixels

PREPROCESSING = 3  # raise when what happens between pixels and stored maps changes
KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What responses are the responses of.

    Attributes
    ----------
    teacher_sha256
        Digest of the teacher's weights.
    tile_px, mpp
        Edge of a tile, and its µm per pixel.
    context_px
        Margin on each side that the teacher sees around a tile.
    scale
        How much tiles are enlarged for a teacher of finer resolution.
    """

    teacher_sha256: str
    tile_px: int
    mpp: float
    context_px: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.tile_px % OUTPUT_STRIDE or self.context_px % OUTPUT_STRIDE:
            raise ResponseError(
                f"tile_px = {self.tile_px}, context_px = {self.context_px}: "
                f"multiples of {OUTPUT_STRIDE} are wanted"
            )

    @property
    def seen_px(self) -> int:
        """Edge of what the teacher sees."""
        return self.tile_px + 2 * self.context_px

    def key(self, pixels: Pixels) -> bytes:
        """The key of one tile, given with its context."""
        digest = hashlib.sha256(json.dumps(self.as_attributes(), sort_keys=True).encode())
        digest.update(np.ascontiguousarray(pixels).data)
        return digest.digest()

    def keys(self, pixels: Pixels) -> NDArray[np.uint8]:
        """(N, 32) keys of (N, S, S, 3) tiles."""
        joined = b"".join(self.key(tile) for tile in pixels)
        return np.frombuffer(joined, np.uint8).reshape(len(pixels), KEY_BYTES)

    def as_attributes(self) -> dict[str, Any]:
        """As it is stored with the maps."""
        return {
            "teacher_sha256": self.teacher_sha256,
            "tile_px": self.tile_px,
            "mpp": self.mpp,
            "context_px": self.context_px,
            "scale": self.scale,
            "stride": OUTPUT_STRIDE,
            "preprocessing": PREPROCESSING,
        }
