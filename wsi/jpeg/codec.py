"""The Zarr v3 codec ``jpeg``: chunks (height, width, 3) uint8 as JPEG streams.

Source: zarr-extensions, `codecs/jpeg`. Registered through the entry point ``zarr.codecs``, so
`zarr.open` reads such arrays wherever this package is installed.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import imagecodecs
import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON, parse_named_configuration

from wsi.jpeg.decode import decode_into
from wsi.jpeg.stream import Colour
from wsi.slide import Pixels

Sampling = tuple[tuple[int, int], ...]
SUBSAMPLING: dict[Sampling, str] = {
    ((1, 1), (1, 1), (1, 1)): "444",
    ((2, 1), (1, 1), (1, 1)): "422",
    ((1, 2), (1, 1), (1, 1)): "440",
    ((2, 2), (1, 1), (1, 1)): "420",
}


def can_express(sampling: Sampling, colour: Colour) -> bool:
    """Whether the codec's configuration has words for how a stream's colours are coded."""
    known = SUBSAMPLING.get(sampling)
    return known == "444" if colour == "rgb" else known is not None


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """A codec between uint8 chunks of three channels and JPEG.

    Parameters
    ----------
    quality
        0-100, of what is encoded here; for copied tiles it says nothing.
    encoded_color_space
        Of the streams; decoding goes by the streams themselves.
    subsampling
        (horizontal, vertical) factor of each component.

    Raises
    ------
    ValueError
        If the values contradict each other or the specification.
    """

    is_fixed_size = False

    quality: int
    encoded_color_space: Colour = "ycbcr"
    subsampling: Sampling = ((2, 2), (1, 1), (1, 1))

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise ValueError(f"jpeg: quality must be in 0-100, got {self.quality}")
        if self.encoded_color_space not in ("ycbcr", "rgb"):
            raise ValueError(f"jpeg: unknown color space {self.encoded_color_space!r}")
        if not can_express(self.subsampling, self.encoded_color_space):
            raise ValueError(
                f"jpeg: subsampling {self.subsampling} is not known for {self.encoded_color_space}"
            )

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Read the codec's entry in an array's metadata."""
        _, found = parse_named_configuration(data, "jpeg")
        configuration: dict[str, Any] = dict(found)
        if "encoded_color_space" not in configuration:
            raise ValueError("jpeg: encoded_color_space is required for three channels")
        if "subsampling" in configuration:
            factors = configuration["subsampling"]
            configuration["subsampling"] = tuple(tuple(factor) for factor in factors)
        elif configuration["encoded_color_space"] == "rgb":
            configuration["subsampling"] = ((1, 1), (1, 1), (1, 1))
        return cls(**configuration)

    def to_dict(self) -> dict[str, JSON]:
        """The codec's entry in an array's metadata."""
        return {
            "name": "jpeg",
            "configuration": {
                "quality": self.quality,
                "encoded_color_space": self.encoded_color_space,
                "subsampling": [list(factor) for factor in self.subsampling],
            },
        }

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are not uint8 with three channels last."""
        if len(shape) != 3 or shape[2] != 3 or dtype.to_native_dtype() != np.uint8:
            raise ValueError(f"jpeg: chunks must be (height, width, 3) uint8, got {shape} {dtype}")

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known beforehand."""
        raise NotImplementedError

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        height, width, channels = chunk_spec.shape
        pixels: Any = np.empty((height, width, channels), np.uint8)
        stream = chunk_bytes.to_bytes()
        await asyncio.to_thread(decode_into, pixels, stream, accept_damage=True)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(pixels)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        stream = await asyncio.to_thread(self.encode_pixels, chunk_array.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(stream)

    def encode_pixels(self, pixels: Pixels) -> bytes:
        """Encode (H, W, 3) pixels as one stream."""
        stream = imagecodecs.jpeg8_encode(
            np.ascontiguousarray(pixels),
            level=self.quality,
            colorspace="RGB",
            outcolorspace="RGB" if self.encoded_color_space == "rgb" else "YCBCR",
            subsampling=SUBSAMPLING[self.subsampling],
        )
        return bytes(stream)
