"""The bound of everything that reads JPEG tiles: libjpeg-turbo on the same bytes, nothing else."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.speed.measure import Contender, Work
from benchmarks.speed.ours import jpeg_streams
from wsi.grid import TileGrid

Decode = Callable[[bytes], object]


def _simplejpeg() -> Decode:
    import simplejpeg

    return partial(simplejpeg.decode_jpeg, colorspace="RGB")


def _imagecodecs() -> Decode:
    import imagecodecs

    decode: Decode = imagecodecs.jpeg8_decode
    return decode


BINDINGS = {"simplejpeg": _simplejpeg, "imagecodecs": _imagecodecs}


def decoders(path: Path, grid: TileGrid | None, *, threads: int) -> list[Contender]:
    """One contender a binding; the tiles' bytes are in memory before the clock starts."""
    return [
        Contender(
            name=f"libjpeg-turbo ({binding}), {threads} thread{'s' * (threads > 1)}",
            prepare=partial(_decode, path, grid, binding, threads),
            role="bound",
            threads=threads,
        )
        for binding in BINDINGS
    ]


def _decode(path: Path, grid: TileGrid | None, binding: str, threads: int, scratch: Path) -> Work:
    decode = BINDINGS[binding]()
    streams = jpeg_streams(path, grid)

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            shares = [streams[start::threads] for start in range(threads)]
            for done in [pool.submit(_each, decode, share) for share in shares]:
                done.result()

    return work


def _each(decode: Decode, streams: Sequence[bytes]) -> None:
    for stream in streams:
        decode(stream)
