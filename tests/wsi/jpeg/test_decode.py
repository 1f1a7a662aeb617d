"""The decoder gives libjpeg-turbo's pixels, smaller ones where asked, and notices damage."""

import imagecodecs
import numpy as np
import pytest

from wsi.jpeg.decode import decode_into
from wsi.jpeg.stream import JpegError
from wsi.testing import Specimen, render

PIXELS = render(
    Specimen(seed=2, width=4000, height=4000), x=1800, y=1800, width=240, height=160
).rgb


def encoded(subsampling: str = "420") -> bytes:
    return bytes(imagecodecs.jpeg8_encode(PIXELS, level=85, subsampling=subsampling))


@pytest.mark.parametrize("subsampling", ["420", "422", "440", "444"])
def test_the_pixels_are_the_reference_decoders(subsampling: str) -> None:
    out = np.empty_like(PIXELS)
    decode_into(out, encoded(subsampling))
    np.testing.assert_array_equal(out, imagecodecs.jpeg8_decode(encoded(subsampling)))


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_smaller_pixels_are_near_the_mean(reduction: int) -> None:
    out = np.empty((160 // reduction, 240 // reduction, 3), np.uint8)
    decode_into(out, encoded(), reduction=reduction)
    whole = imagecodecs.jpeg8_decode(encoded()).astype(float)
    means = whole.reshape(out.shape[0], reduction, out.shape[1], reduction, 3).mean((1, 3))
    assert np.abs(out - means).mean() < 2
    assert np.abs(out - np.roll(means, 1, axis=1)).mean() > 2 * np.abs(out - means).mean()


@pytest.mark.parametrize("shape", [(160, 160, 3), (240, 160, 3), (168, 240, 3), (80, 120, 3)])
def test_another_size_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(JpegError):
        decode_into(np.empty(shape, np.uint8), encoded())
    with pytest.raises(JpegError, match="not"):
        decode_into(np.empty(shape, np.uint8), encoded(), reduction=4)


@pytest.mark.parametrize("stream", [b"", bytes(100), encoded()[:200], b"\xff\xd8\xff\xd9"])
def test_what_is_no_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(JpegError):
        decode_into(np.empty_like(PIXELS), stream)


def test_noticed_damage_is_refused_unless_accepted() -> None:
    stream = bytearray(encoded())
    stream[-3000:-2500] = bytes(500)
    out = np.zeros_like(PIXELS)
    with pytest.raises(JpegError, match="Corrupt JPEG data"):
        decode_into(out, bytes(stream))
    decode_into(out, bytes(stream), accept_damage=True)
    np.testing.assert_array_equal(out, imagecodecs.jpeg8_decode(bytes(stream)))
