"""Embedding a slide's tiles beside the bare network, and a whole run beside LazySlide."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.speed.embedders import (
    Prepare,
    Share,
    prepare_bare,
    prepare_embedding,
    prepare_workers,
)
from benchmarks.speed.measure import Contender, Work, measure_in_turns
from benchmarks.speed.ours import lay_grid
from benchmarks.speed.report import Report, Table, Verdict
from benchmarks.speed.runs import prepare_run, write_model
from cluster.resources import available_cpus
from distill.precision import has_fast_bfloat16
from wsi.grid import TileGrid
from wsi.open import open_slide
from wsi.plan import TileSpec
from wsi.resolution import resolve_mpp

BARE, EMBEDDED = "bare network", "raypath, tiles read and embedded"
RUN, LAZY = "raypath run", "LazySlide: tissue, tiles, features"
HALF = ", bfloat16"
OF_BARE, OF_LAZY = 0.9, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSettings:
    """What is measured; `tile_px` at `mpp` is what the network, of timm, sees.

    The batches are raypath's and the bare network's, which both keep the memory they freed;
    LazySlide has its own default.
    """

    runs: int = 5
    architecture: str = "resnet18"
    tile_px: int = 256
    mpp: float = 0.5
    batch_size: int = 8
    peers: bool = True
    patience_s: float = 600.0
    folder: Path | None = None


def measure_embedding(
    slide: Path, settings: EmbeddingSettings, *, say: Callable[[str], None] = lambda line: None
) -> Report:
    """Embed a slide's tiles, and run a slide up to its heatmaps.

    Both also in bfloat16, where the processor has it: emulated, it would only be slow.

    Raises
    ------
    BenchmarkError
        If the slide does not get through.
    """
    spec = TileSpec(size_px=settings.tile_px, mpp=settings.mpp)
    precisions = (HALF, "") if has_fast_bfloat16() else ("",)
    left_out = "" if HALF in precisions else "; no bfloat16: this processor has none"
    measure = partial(
        measure_in_turns,
        runs=settings.runs,
        folder=settings.folder,
        patience_s=settings.patience_s,
        say=say,
    )
    with TemporaryDirectory(dir=settings.folder, prefix="raypath-") as made:
        model = write_model(Path(made) / "model", settings.architecture, spec, head="gated-abmil")
        tiles = Table(
            title=f"Embeddings by {settings.architecture}: a worker a CPU, one thread each",
            baseline=BARE + precisions[0],
            baseline_label="bare",
            results=measure(_embedders(slide, model, settings, precisions)),
        )
        run = Table(
            title=f"A slide to embeddings ({settings.architecture}) and heatmaps",
            baseline=RUN + precisions[0],
            baseline_label="raypath",
            source_bytes=slide.stat().st_size,
            results=measure(_runners(slide, model, settings, precisions)),
        )
    return Report(
        subject=f"{slide.name}, tiles of {spec.size_px} px at {spec.mpp} µm{left_out}",
        tables=[tiles, run],
        verdicts=[
            *(_compare(tiles, EMBEDDED + half, BARE + half, OF_BARE) for half in (HALF, "")),
            _compare(run, RUN + HALF, LAZY, OF_LAZY),
            *(_compare(run, RUN + half, LAZY + half, OF_LAZY) for half in (HALF, "")),
        ],
    )


def _embedders(
    slide: Path, model: Path, settings: EmbeddingSettings, precisions: Sequence[str]
) -> list[Contender]:
    kinds: tuple[tuple[str, Prepare], ...] = ((BARE, prepare_bare), (EMBEDDED, prepare_embedding))
    grid = _grid(slide, settings)
    return [
        Contender(
            name=name + half,
            prepare=partial(
                prepare_workers,
                prepare,
                Share(
                    slide=slide,
                    grid=grid,
                    model=model,
                    batch_size=settings.batch_size,
                    bfloat16=bool(half),
                ),
            ),
            role="bound" if name == BARE else "ours",
        )
        for half in precisions
        for name, prepare in kinds
    ]


def _runners(
    slide: Path, model: Path, settings: EmbeddingSettings, precisions: Sequence[str]
) -> list[Contender]:
    ours = [
        Contender(
            name=RUN + half,
            prepare=partial(
                prepare_run,
                slide,
                model,
                available_cpus(),
                {"bfloat16": bool(half), "batch_size": settings.batch_size},
            ),
            role="ours",
        )
        for half in precisions
    ]
    peers = [
        Contender(
            name=LAZY + half, prepare=partial(_prepare_lazyslide, slide, settings, bool(half))
        )
        for half in precisions
    ]
    return ours + peers if settings.peers else ours


def _prepare_lazyslide(
    slide: Path, settings: EmbeddingSettings, bfloat16: bool, scratch: Path
) -> Work:
    """LazySlide as its tutorial has it: contours of the tissue, tiles in them, features."""
    import lazyslide
    import timm
    import torch
    from torchvision.transforms import v2
    from wsidata import open_wsi

    network: Any = timm.create_model(settings.architecture, pretrained=False, num_classes=0).eval()
    mean, std = network.default_cfg["mean"], network.default_cfg["std"]
    as_floats = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]

    def work() -> int:
        wsi = open_wsi(str(slide))
        lazyslide.pp.find_tissues(wsi)
        lazyslide.pp.tile_tissues(wsi, settings.tile_px, mpp=settings.mpp)
        lazyslide.tl.feature_extraction(
            wsi,
            model=network,
            model_name="network",
            transform=v2.Compose(as_floats),
            amp=bfloat16,
            autocast_dtype=torch.bfloat16,
            pbar=False,
        )
        return len(wsi.shapes["tiles"])

    return work


def _grid(slide: Path, settings: EmbeddingSettings) -> TileGrid:
    with open_slide(slide) as opened:
        level0_mpp = resolve_mpp(opened.properties).mpp
    factor = settings.mpp / level0_mpp
    return lay_grid(slide, size_px=settings.tile_px, mpp_factor=factor, most=sys.maxsize)


def _compare(table: Table, ours: str, other: str, wanted: float) -> Verdict:
    """Tiles a second of one over those of another: each found its own number of tiles."""
    rates = [r.items / r.median if (r := table.find(name)) else None for name in (ours, other)]
    mine, theirs = rates
    return Verdict(
        claim=f"tiles a second, {ours} over {other}",
        bound="at least",
        wanted=wanted,
        measured=mine / theirs if mine and theirs else None,
    )
