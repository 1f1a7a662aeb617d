"""Streams are completed and labelled, never re-encoded."""

import struct

import imagecodecs
import numpy as np
import pytest

from wsi.jpeg.stream import EOI, SOI, JpegError, complete, read_frame

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def encoded(colour: str = "YCBCR", subsampling: str = "420") -> bytes:
    stream = imagecodecs.jpeg8_encode(
        PIXELS, level=90, colorspace="RGB", outcolorspace=colour, subsampling=subsampling
    )
    return bytes(stream)


@pytest.mark.parametrize(
    ("subsampling", "first"), [("444", (1, 1)), ("422", (2, 1)), ("420", (2, 2))]
)
def test_the_frame_says_size_and_sampling(subsampling: str, first: tuple[int, int]) -> None:
    frame = read_frame(encoded(subsampling=subsampling))
    assert (frame.width, frame.height, frame.is_baseline) == (48, 32, True)
    assert frame.sampling == (first, (1, 1), (1, 1))


@pytest.mark.parametrize("colour", ["ycbcr", "rgb"])
def test_the_colour_space_of_the_tiff_wins_over_the_streams_own_marker(colour: str) -> None:
    stream = encoded(colour.upper(), "444")
    other = "rgb" if colour == "ycbcr" else "ycbcr"
    mislabelled = complete(stream, tables=None, colour=other)  # type: ignore[arg-type]
    restored = complete(mislabelled, tables=None, colour=colour)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        imagecodecs.jpeg8_decode(restored), imagecodecs.jpeg8_decode(stream)
    )
    assert restored.count(b"Adobe") == 1
    assert not np.array_equal(
        imagecodecs.jpeg8_decode(mislabelled), imagecodecs.jpeg8_decode(stream)
    )


def test_an_abbreviated_stream_gets_its_tables() -> None:
    stream = encoded()
    quantisation = stream.index(b"\xff\xdb")
    frame = stream.index(b"\xff\xc0")
    tables = SOI + stream[quantisation:frame] + EOI
    abbreviated = stream[:quantisation] + stream[frame:]
    with pytest.raises(imagecodecs.Jpeg8Error):
        imagecodecs.jpeg8_decode(abbreviated)
    whole = complete(abbreviated, tables=tables, colour="ycbcr")
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(whole), imagecodecs.jpeg8_decode(stream))


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


ADOBE_RGB = segment(0xEE, b"Adobe" + bytes(7))
EXIF, COMMENT = segment(0xE1, b"Exif\0\0DOE"), segment(0xFE, b"DOE^JOHN")


def test_what_the_tables_say_of_colours_or_persons_is_left_out_too() -> None:
    stream = encoded()
    said = ADOBE_RGB + EXIF + COMMENT
    for tables in (SOI + said + EOI, SOI + said + EOI + bytes(2), SOI + said):
        whole = complete(stream, tables=tables, colour="ycbcr")
        assert whole == complete(stream, tables=None, colour="ycbcr")


def test_no_comment_or_application_data_of_a_stream_is_kept() -> None:
    stream = encoded()
    first, frame = 2, stream.index(b"\xff\xc0")
    said = stream[:first] + EXIF + stream[first:frame] + COMMENT + EXIF + stream[frame:]
    whole = complete(said, tables=None, colour="ycbcr")
    assert whole == complete(stream, tables=None, colour="ycbcr")


def test_fill_bytes_before_a_marker_are_no_damage() -> None:
    stream = encoded()
    frame = stream.index(b"\xff\xc0")
    filled = SOI + b"\xff" * 3 + stream[2:frame] + b"\xff" + stream[frame:]
    assert read_frame(filled) == read_frame(stream)
    whole = complete(filled, tables=None, colour="ycbcr")
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(whole), imagecodecs.jpeg8_decode(stream))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x00" * 100,
        encoded()[:-2],
        SOI + EOI,
        b"II*\x00" + encoded(),
        encoded() + b"\x20" * 100,
    ],
    ids=["empty", "zeros", "no end", "no scan", "no start", "much after the end"],
)
def test_what_is_no_stream_is_refused(broken: bytes) -> None:
    with pytest.raises(JpegError):
        complete(broken, tables=None, colour="ycbcr")


@pytest.mark.parametrize("padding", [b"\x00" * 300, b"\xff\xff", b"\x00\x20\x00", b"\x20"])
def test_padding_after_the_end_is_dropped(padding: bytes) -> None:
    stream = encoded()
    assert complete(stream + padding, tables=None, colour="ycbcr") == complete(
        stream, tables=None, colour="ycbcr"
    )
