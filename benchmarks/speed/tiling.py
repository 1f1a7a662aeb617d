"""From a slide to a pyramid and to tiles, beside copying, decoding and other projects."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.speed import converting, ours, reading
from benchmarks.speed.decoding import decoders
from benchmarks.speed.measure import Result, measure_in_turns
from benchmarks.speed.report import Report, Table, Verdict
from wsi.grid import TileGrid
from wsi.open import open_slide
from wsi.testing import Specimen, write_slide


@dataclass(frozen=True, slots=True, kw_only=True)
class TilingSettings:
    """What is measured.

    Attributes
    ----------
    runs
        Of every contender.
    peers, decode
        Whether other projects take part; whether the slide is also converted by decoding it,
        which takes the longest of all on a large slide.
    threads
        Of the decoder and of peers that take a number.
    tiles, tile_px
        How many tiles are read at most, and their size in pixels.
    patience_s
        Peers that took longer than this in all are not run again.
    folder
        Where outputs go for a while: as large as a decoded slide. None: the temporary folder.
    """

    runs: int = 5
    peers: bool = True
    decode: bool = True
    threads: int
    tiles: int = 4000
    tile_px: int = 224
    patience_s: float = 120.0
    folder: Path | None = None


def measure_tiling(path: Path, settings: TilingSettings, say: Callable[[str], None]) -> Report:
    """Measure converting a slide, and reading its tiles at its own mpp and at twice that.

    Raises
    ------
    BenchmarkError
        If the slide has no tissue, or something of ours fails.
    SlideError
        If the slide cannot be opened, or its resolution is unknown.
    """
    with open_slide(path) as slide:
        width, height = slide.dimensions
    megapixels = width * height / 1e6
    grids = [
        ours.lay_grid(path, size_px=settings.tile_px, mpp_factor=factor, most=settings.tiles)
        for factor in (1, 2)
    ]
    with tempfile.TemporaryDirectory(dir=settings.folder, prefix="raypath-") as folder:
        ours.convert(path, "auto", Path(folder))()
        (pyramid,) = Path(folder).iterdir()
        convert = _measure_converting(path, megapixels, settings, say)
        native = _measure_reading(path, grids[0], settings, say, pyramid=pyramid)
        coarser = _measure_reading(path, grids[1], settings, say)
    return Report(
        subject=f"{path.name}: {width} x {height} px, {path.stat().st_size / 1e6:.1f} MB",
        tables=[convert, native, coarser],
        verdicts=[
            *_judge_converting(convert, settings),
            *_judge_reading(native),
            *_judge_reading(coarser),
        ],
    )


def write_made_up_slide(path: Path, *, gigapixels: float) -> Path:
    """Write a made-up square slide to measure where there is no other."""
    edge = round((gigapixels * 1e9) ** 0.5)
    return write_slide(path, Specimen(seed=1, width=edge, height=edge))


def _measure_converting(
    path: Path, megapixels: float, settings: TilingSettings, say: Callable[[str], None]
) -> Table:
    contenders = [
        *converting.converters(
            path, threads=settings.threads, decode=settings.decode, peers=settings.peers
        ),
        *decoders(path, None, threads=settings.threads),
    ]
    return Table(
        title="Convert",
        megapixels=megapixels,
        baseline=converting.COPY,
        baseline_label="cp",
        source_bytes=path.stat().st_size,
        results=measure_in_turns(
            contenders,
            runs=settings.runs,
            folder=settings.folder,
            patience_s=settings.patience_s,
            say=say,
        ),
    )


def _measure_reading(
    path: Path,
    grid: TileGrid,
    settings: TilingSettings,
    say: Callable[[str], None],
    *,
    pyramid: Path | None = None,
) -> Table:
    contenders = reading.readers(
        path, grid, threads=settings.threads, peers=settings.peers, pyramid=pyramid
    )
    results = measure_in_turns(
        contenders,
        runs=settings.runs,
        folder=settings.folder,
        patience_s=settings.patience_s,
        say=say,
    )
    count, spec = len(grid.coords), grid.spec
    table = Table(
        title=f"Tiles at {spec.mpp:.3g} µm/px: {count} of {spec.size_px} px",
        megapixels=count * grid.plan.level0_px**2 / 1e6,
        baseline=reading.OURS,
        baseline_label="raypath",
        source_bytes=path.stat().st_size,
        results=results,
    )
    decoder = table.fastest(role="bound", threads=ours.READ_THREADS)
    if decoder is None:
        return table
    return replace(table, baseline=decoder.name, baseline_label="decoder")


def _judge_converting(table: Table, settings: TilingSettings) -> list[Verdict]:
    copied, kept = table.find(converting.COPY), table.find(converting.OURS)
    decoded = table.find(converting.OURS_DECODED)
    peer = table.fastest(role="peer")
    decoder = table.fastest(role="bound", threads=settings.threads)
    return [
        Verdict(
            claim="raypath convert's time over cp's",
            bound="at most",
            wanted=3,
            measured=_ratio(kept, copied),
        ),
        Verdict(
            claim=f"{_name(peer, 'fastest peer')}'s time over raypath convert's",
            bound="at least",
            wanted=5,
            measured=_ratio(peer, kept),
        ),
        Verdict(
            claim=f"rate of raypath convert --codec zstd over {_name(decoder, 'the decoder')}'s",
            bound="at least",
            wanted=0.8,
            measured=_ratio(decoder, decoded),
        ),
    ]


def _judge_reading(table: Table) -> list[Verdict]:
    read, loop = table.find(reading.OURS), table.find(reading.OPENSLIDE)
    decoder = table.fastest(role="bound", threads=ours.READ_THREADS)
    where = table.title.partition(":")[0]
    return [
        Verdict(
            claim=f"{where}: raypath's rate over {_name(decoder, 'the decoder')}'s",
            bound="at least",
            wanted=0.85,
            measured=_ratio(decoder, read),
        ),
        Verdict(
            claim=f"{where}: openslide's time over raypath's",
            bound="at least",
            wanted=2.5,
            measured=_ratio(loop, read),
        ),
    ]


def _ratio(above: Result | None, below: Result | None) -> float | None:
    return above.median / below.median if above and below else None


def _name(result: Result | None, otherwise: str) -> str:
    return result.name if result else otherwise
