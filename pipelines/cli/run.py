"""`raypath run`: everything from slides to heatmaps and report."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    Address,
    AsJson,
    Codec,
    Executor,
    Mpp,
    Out,
    RunDevice,
    Slides,
    Stride,
    Workers,
)
from pipelines.cli.program import program


def run(
    slides: Slides,
    out: Out,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model folder; 'raypath demo' makes one in demo/model.",
            show_default="none; without --teacher and --segmenter too, nuclei and embeddings",
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A further model that embeds the same tiles; repeat it for several."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="A nuclei teacher's folder; with --model alone no nuclei are found."),
    ] = None,
    segmenter: Annotated[
        Path | None, typer.Option(help="A segmenter's folder: tissue classes at every pixel.")
    ] = None,
    bfloat16: Annotated[
        bool | None,
        typer.Option(help="Networks compute in bfloat16: faster where the processor has it."),
    ] = None,
    mpp: Mpp = None,
    stride_px: Stride = None,
    min_tissue_fraction: Annotated[
        float | None,
        typer.Option(help="Least share of tissue in a tile, 0-1.", show_default="0.25"),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            help="off keeps every tile, also blurred or inked ones.", show_default="limits"
        ),
    ] = None,
    preprocess: Annotated[
        list[str] | None,
        typer.Option(
            help="macenko, reinhard, clahe, sharpen or denoise tiles; repeat it for several."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Tiles embedded together.", show_default="8; 32 with cuda")
    ] = None,
    codec: Codec = None,
    feature_dtype: Annotated[
        str | None,
        typer.Option(help="float16 or float32 embeddings on disk.", show_default="float16"),
    ] = None,
    device: RunDevice = None,
    executor: Executor = None,
    workers: Workers = None,
    address: Address = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings, see docs/configuration.md; flags win."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run slides through a model: pyramids, embeddings, nuclei, predictions, heatmaps, report.

    Without --model, --teacher and --segmenter the networks that come with raypath give nuclei,
    their density and embeddings of H&E slides.

    Exit code 0: every slide is ok or partial. 1: some slides failed, each with its reason; the
    others are finished. 2: the request was wrong and nothing was done, or OUT can no longer be
    written. 3: an error nobody foresaw, said with its traceback. 143 or 130: it was asked to end
    by SIGTERM or SIGINT. Run the same command again to go on after an interruption: finished
    steps are not done twice.
    """
    from functools import partial

    from pipelines.cli.progress import slide_progress
    from pipelines.cli.stopping import stopping_cleanly
    from pipelines.cohort.manifest import read_cohort
    from pipelines.executors import make_executor
    from pipelines.run import prepare, run_cohort
    from pipelines.runfolder import image_path
    from pipelines.settings.config import load_config
    from pipelines.settings.limits import task_limits
    from pipelines.settings.resources import task_needs
    from pipelines.spread import slide_of, step_of
    from pipelines.status.metrics import metered
    from wsi.remote import is_remote

    flags = {
        "model": model,
        "also": also or None,
        "teacher": teacher,
        "segmenter": segmenter,
        "bfloat16": bfloat16,
        "mpp": mpp,
        "stride_px": stride_px,
        "min_tissue_fraction": min_tissue_fraction,
        "quality": quality,
        "preprocess": preprocess or None,
        "batch_size": batch_size,
        "codec": codec,
        "feature_dtype": feature_dtype,
        "device": device,
        "executor": executor,
        "workers": workers,
        "address": address,
    }
    settings = load_config(config, flags)
    entries = read_cohort(slides, mpp=settings.mpp, result_of=partial(image_path, out))
    prepare(entries, out, settings)  # before Ray is started for nothing
    with (
        stopping_cleanly(),
        make_executor(
            settings.executor,
            address=settings.address,
            workers=settings.workers,
            allow=partial(task_limits, settings.limits, slide_of),
            needs=partial(task_needs, settings.resources, step_of, settings.device == "cuda"),
        ) as runner,
        slide_progress(len(entries), as_json=as_json, unit="tiles") as report,
    ):
        meter = metered(report, executor=settings.executor)
        counts = run_cohort(
            entries, out, settings, runner, report=meter, say=partial(typer.echo, err=True)
        )
    typer.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), err=True)
    typer.echo(f"The report:  {out / 'report.html'}", err=True)
    if not is_remote(out):
        typer.echo(f"The viewer:  {program()} view {out}", err=True)
    if counts["failed"]:
        raise typer.Exit(1)
