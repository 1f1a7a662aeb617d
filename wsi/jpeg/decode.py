"""Decoding JPEG tiles with libjpeg-turbo: whole, or smaller by leaving out high frequencies."""

import itertools

import numpy as np
import simplejpeg

from wsi.jpeg.stream import JpegError
from wsi.jpeg.tiles import JpegTiles, TiledLevel
from wsi.slide import Pixels

TRIED = 3  # tiles of a level; one may be damaged


def decode_into(
    out: Pixels, stream: bytes, *, reduction: int = 1, accept_damage: bool = False
) -> None:
    """Decode a stream into `out` (H, W, 3), contiguous, of the stream's size over `reduction`.

    With `reduction` 2, 4 or 8 each 8 × 8 block of coefficients gives 4 × 4, 2 × 2 or 1 pixels
    (libjpeg's scaled inverse DCT). Other threads run meanwhile.

    Raises
    ------
    JpegError
        If the stream does not decode, has another size, or, unless `accept_damage`, the decoder
        noticed damage that it could decode around. Damage that looks like other pixels cannot be
        noticed.
    """
    height, width = out.shape[:2]
    least: dict[str, float] = {}
    try:
        if reduction > 1:
            stored_height, stored_width = simplejpeg.decode_jpeg_header(stream)[:2]
            _expect(stored_width, stored_height, width * reduction, height * reduction)
            # The factor alone does nothing, the size alone would do for streams of other sizes.
            least = {"min_height": height, "min_width": width, "min_factor": reduction}
        pixels = simplejpeg.decode_jpeg(stream, buffer=out, strict=not accept_damage, **least)
    except ValueError as error:
        raise JpegError(str(error)) from error
    _expect(pixels.shape[1], pixels.shape[0], width, height)


def _expect(width: int, height: int, wanted_width: int, wanted_height: int) -> None:
    if (width, height) != (wanted_width, wanted_height):
        raise JpegError(
            f"the stream holds {width} × {height} pixels, not {wanted_width} × {wanted_height}"
        )


def can_decode(tiles: JpegTiles) -> bool:
    """Whether the tiles of every level decode without complaint, judging by the first few.

    A scanner whose tiles all make the decoder complain is better read by a library that does not
    mind than reported as unreadable everywhere.
    """
    return all(_decodes(level) for level in tiles.levels)


def _decodes(level: TiledLevel) -> bool:
    width, height = level.tile
    pixels = np.empty((height, width, 3), np.uint8)
    stored = np.flatnonzero(level.lengths)
    for place in itertools.islice(stored.tolist(), TRIED):
        try:
            with level.files[level.file_of[place]].open("rb") as file:
                stream = level.read_stream(file, place)
            if stream is not None:
                decode_into(pixels, stream)
        except JpegError:
            continue
        return True
    return False
