"""Ways from a slide to a pyramid: copying the file, ours, other projects'."""

import os
import shutil
from functools import partial
from pathlib import Path

from benchmarks.speed import ours
from benchmarks.speed.measure import Contender, Work

COPY, OURS, OURS_DECODED = "cp", "raypath convert", "raypath convert --codec zstd"


def converters(path: Path, *, threads: int, decode: bool, peers: bool) -> list[Contender]:
    """Everything that writes the whole slide; ours with `decode` too, then the `peers`."""
    own = [
        Contender(name=COPY, prepare=partial(_copy, path, False), role="bound"),
        Contender(name="cp, on disk", prepare=partial(_copy, path, True), role="bound"),
        Contender(name=OURS, prepare=partial(ours.convert, path, "auto"), role="ours"),
        Contender(
            name="raypath convert, as a command",
            prepare=partial(ours.convert_by_command, path),
            role="ours",
            note="Python's start too",
        ),
    ]
    if decode:
        prepare = partial(ours.convert, path, "zstd")
        own.append(Contender(name=OURS_DECODED, prepare=prepare, role="ours"))
    others = [
        Contender(
            name="wsidicomizer",
            prepare=partial(_wsidicomizer, path, threads),
            note="keeps tiles, DICOM",
        ),
        Contender(name="vips dzsave", prepare=partial(_vips, path), note="JPEG Q 75"),
        Contender(
            name="dask + tiffslide to zarr",
            prepare=partial(_dask, path, threads),
            note="zstd",
        ),
    ]
    return own + others if peers else own


def _copy(path: Path, on_disk: bool, scratch: Path) -> Work:
    """Copy as `shutil` does, into the page cache; or wait until the disk has it."""

    def work() -> None:
        shutil.copyfile(path, scratch / path.name)
        if on_disk:
            with (scratch / path.name).open("rb") as file:
                os.fsync(file.fileno())

    return work


def _wsidicomizer(path: Path, threads: int, scratch: Path) -> Work:
    from wsidicomizer import WsiDicomizer

    return lambda: WsiDicomizer.convert(path, output_path=scratch / "dicom", workers=threads)


def _vips(path: Path, scratch: Path) -> Work:
    import pyvips

    def work() -> None:
        # libvips as wheels come has no OpenSlide; its own TIFF reader knows tiled JPEG.
        image = pyvips.Image.tiffload(str(path), access="sequential")
        image.dzsave(str(scratch / "slide"), tile_size=256, overlap=0)

    return work


def _dask(path: Path, threads: int, scratch: Path) -> Work:
    import dask.array
    import dask.config
    import tiffslide
    import zarr

    def work() -> None:
        with tiffslide.TiffSlide(path) as slide, dask.config.set(num_workers=threads):
            group = zarr.open_group(scratch / "slide.zarr", mode="w")
            for level in range(slide.level_count):
                pixels = dask.array.from_zarr(slide.zarr_group[str(level)])
                pixels = pixels.rechunk((1024, 1024, 3))
                target = group.create_array(
                    str(level), shape=pixels.shape, chunks=pixels.chunksize, dtype=pixels.dtype
                )
                dask.array.store(pixels, target, lock=False)

    return work
