"""`raypath benchmark`: how fast this machine does it, beside other projects."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Bfloat16

benchmark = typer.Typer(no_args_is_help=True)


@benchmark.callback()
def _benchmark() -> None:
    """Measure raypath beside other projects, in one run on this machine."""


@benchmark.command()
def tiling(
    slide: Annotated[
        Path | None, typer.Argument(help="A slide; without one, a made-up slide is written.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Of every contender, in turns.")] = 5,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Measure other projects too.")
    ] = True,
    decode: Annotated[
        bool,
        typer.Option("--decode/--no-decode", help="Convert with --codec zstd too: slow if large."),
    ] = True,
    gigapixels: Annotated[float, typer.Option(help="Size of the made-up slide.")] = 0.02,
    tiles: Annotated[int, typer.Option(min=1, help="Most tiles to read.")] = 4000,
    tile_px: Annotated[int, typer.Option(min=1, help="Size of these tiles.")] = 224,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Of the decoder and the peers; default: all CPUs."),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds in all after which a peer is not run again.")
    ] = 120.0,
    folder: Annotated[
        Path | None, typer.Option(help="For what is written meanwhile; default: temporary.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure converting a slide and reading its tiles, beside cp, the decoder and peers."""
    import json
    import tempfile

    from benchmarks.speed.tiling import TilingSettings, measure_tiling, write_made_up_slide
    from cluster.resources import available_cpus

    settings = TilingSettings(
        runs=runs,
        peers=peers,
        decode=decode,
        threads=threads or available_cpus(),
        tiles=tiles,
        tile_px=tile_px,
        patience_s=patience,
        folder=folder,
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix="raypath-") as made:
        path = slide or write_made_up_slide(Path(made) / "made-up.svs", gigapixels=gigapixels)
        report = measure_tiling(path, settings, say=lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
    elif markdown:
        typer.echo(report.as_markdown())
    else:
        report.print()


@benchmark.command()
def cluster(
    slide: Annotated[
        Path | None, typer.Argument(help="A slide; without one, a made-up slide is written.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Of every contender, in turns.")] = 5,
    slides: Annotated[
        int,
        typer.Option(min=1, help="Of a run with a network; 8 times so many without."),
    ] = 2,
    gigapixels: Annotated[float, typer.Option(help="Size of the made-up slide.")] = 0.1,
    tile_px: Annotated[int, typer.Option(min=1, help="Edge of a tile at 0.5 µm per pixel.")] = 224,
    folder: Annotated[
        Path | None, typer.Option(help="For what is written meanwhile; default: temporary.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in markdown.")] = False,
) -> None:
    """Measure a run by one of Ray's workers on one CPU and by two on two."""
    import tempfile

    from benchmarks.speed.cluster import ClusterSettings, measure_cluster
    from benchmarks.speed.tiling import write_made_up_slide

    settings = ClusterSettings(runs=runs, slides=slides, tile_px=tile_px, folder=folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="raypath-") as made:
        path = slide or write_made_up_slide(Path(made) / "made-up.svs", gigapixels=gigapixels)
        found = measure_cluster(path, settings, say=lambda line: typer.echo(line, err=True))
    if markdown:
        typer.echo(found.as_markdown())
    else:
        found.print()


@benchmark.command()
def embedding(
    slide: Annotated[
        Path | None, typer.Argument(help="A slide; without one, a made-up slide is written.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Of every contender, in turns.")] = 5,
    architecture: Annotated[str, typer.Option(help="A network of timm.")] = "resnet18",
    tile_px: Annotated[int, typer.Option(min=1, help="Edge of a tile at 0.5 µm per pixel.")] = 256,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Measure LazySlide too.")
    ] = True,
    gigapixels: Annotated[float, typer.Option(help="Size of the made-up slide.")] = 0.1,
    folder: Annotated[
        Path | None, typer.Option(help="For what is written meanwhile; default: temporary.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in markdown.")] = False,
) -> None:
    """Measure embedding a slide beside the bare network, and a whole run beside LazySlide."""
    import tempfile

    from benchmarks.speed.embedding import EmbeddingSettings, measure_embedding
    from benchmarks.speed.tiling import write_made_up_slide

    settings = EmbeddingSettings(
        runs=runs, architecture=architecture, tile_px=tile_px, peers=peers, folder=folder
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix="raypath-") as made:
        path = slide or write_made_up_slide(Path(made) / "made-up.svs", gigapixels=gigapixels)
        found = measure_embedding(path, settings, say=lambda line: typer.echo(line, err=True))
    if markdown:
        typer.echo(found.as_markdown())
    else:
        found.print()


@benchmark.command()
def pretraining(
    encoders: Annotated[
        Path, typer.Argument(help="Folder of model folders <objective>-<architecture>[-<seed>].")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data sets, one folder each.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where predictions go; resumed.")],
    task: Annotated[
        list[str] | None, typer.Option(help="A task, several times; default: all that are there.")
    ] = None,
    probe: Annotated[
        list[str] | None, typer.Option(help="A probe, several times; default: all.")
    ] = None,
    fraction: Annotated[
        list[float] | None, typer.Option(help="Share of the labels; default: 0.05 0.25 1.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    finetune_steps: Annotated[int, typer.Option(min=1, help="Of each learning rate.")] = 300,
    segment_steps: Annotated[int, typer.Option(min=1)] = 300,
    magnify: Annotated[
        float, typer.Option(help="Show images this many times larger than the encoder's mpp.")
    ] = 1.0,
    device: Annotated[str, typer.Option(help="As PyTorch names it: cpu, cuda.")] = "cpu",
    bfloat16: Bfloat16 = False,
) -> None:
    """Measure pretrained encoders on downstream tasks: kNN, linear, few-shot, tuning, nuclei."""
    from benchmarks.pretraining.candidates import find_candidates
    from benchmarks.pretraining.protocol import PROBES, Protocol
    from benchmarks.pretraining.run import choose_tasks, measure_pretraining
    from distill.downstream.finetune import FineTuning
    from pipelines.errors import UsageError

    unknown = sorted(set(probe or ()) - set(PROBES))
    if unknown:
        raise UsageError(f"no probe is called {', '.join(unknown)}: one of {', '.join(PROBES)}")
    for share in fraction or ():
        if not 0 < share <= 1:
            raise UsageError(f"--fraction {share:g}: more than 0, up to 1, is wanted")
    protocol = Protocol(
        tasks=choose_tasks(data, task),
        probes=tuple(probe or PROBES),
        fractions=tuple(fraction or (0.05, 0.25, 1.0)),
        seeds=seeds,
        magnify=magnify,
        finetuning=FineTuning(steps=finetune_steps),
        segmenting_steps=segment_steps,
        device=device,
        bfloat16=bfloat16,
    )
    say = partial(typer.echo, err=True)
    measure_pretraining(find_candidates(encoders), data, out, protocol, say)
    typer.echo(f"raypath benchmark report {out}", err=True)


@benchmark.command()
def report(
    folder: Annotated[Path, typer.Argument(help="What 'benchmark pretraining -o' wrote.")],
    resamples: Annotated[int, typer.Option(min=100, help="Of patients, for intervals.")] = 2000,
) -> None:
    """Recompute tables and plots of 'benchmark pretraining' from its predictions alone."""
    from benchmarks.pretraining.report import write_report

    typer.echo(write_report(folder, resamples=resamples))
