"""`raypath check`: what a run would fail on, and what it would take."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Address, AsJson, Codec, Executor, Mpp, Slides, Stride, Workers
from pipelines.output import check_local, output_path
from wsi.remote import is_remote


def check(
    slides: Slides,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            parser=output_path,
            help="Folder the run would write to, or an s3:// or gs:// URL.",
            show_default="out",
        ),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder, as of run.")] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="A further model, as of run; repeat it for several.")
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="A nuclei teacher's folder.")] = None,
    segmenter: Annotated[Path | None, typer.Option(help="A segmenter's folder.")] = None,
    mpp: Mpp = None,
    stride_px: Stride = None,
    codec: Codec = None,
    memory: Annotated[
        float | None,
        typer.Option(help="GiB the run may use.", show_default="what its machines have"),
    ] = None,
    executor: Executor = None,
    workers: Workers = None,
    address: Address = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file, as of run; its other keys count too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at slides before a run: which will fail and why; time, disk and memory for the others.

    Nothing is done to the slides, and nothing is kept but OUT/check.json, which the run's report
    compares with what happened. A small made-up slide goes through the whole run here, and pieces
    of the largest and the smallest slide are tried: no rate is assumed. Where OUT is a URL its
    storage is tried too, and the disk that has to do is that of RAYPATH_SCRATCH on this machine.

    Exit code 0: every slide can be used and there is room. 1: some slides will fail, or disk or
    memory will not do. 2: the request is wrong, a model that does not load included.
    """
    from functools import partial

    from pipelines.check.check import check_cohort
    from pipelines.check.limits import needs_of, slide_of
    from pipelines.cli.progress import slide_progress
    from pipelines.cohort.manifest import read_cohort
    from pipelines.executors import make_executor
    from pipelines.runfolder import image_path
    from pipelines.settings.config import load_config
    from pipelines.settings.limits import task_limits

    flags = {
        "model": model,
        "also": also or None,
        "teacher": teacher,
        "segmenter": segmenter,
        "mpp": mpp,
        "stride_px": stride_px,
        "codec": codec,
        "executor": executor,
        "workers": workers,
        "address": address,
    }
    out = out or Path("out")
    if not is_remote(out):
        check_local(out)
    settings = load_config(config, flags).absolute()
    entries = read_cohort(slides, mpp=settings.mpp, result_of=partial(image_path, out))
    with (
        make_executor(
            settings.executor,
            address=settings.address,
            workers=settings.workers,
            allow=partial(task_limits, settings.limits, slide_of),
            needs=partial(needs_of, settings),
        ) as runner,
        slide_progress(len(entries), as_json=as_json, unit="tiles") as report,
    ):
        found = check_cohort(
            entries,
            out,
            settings,
            runner,
            memory_bytes=None if memory is None else round(memory * 2**30),
            report=report,
        )
    typer.echo(f"{len(entries) - found.failing} slides ok, {found.failing} will fail", err=True)
    if found.estimate:
        typer.echo(f"The run will take {found.estimate.describe()}", err=True)
    for gap in found.unknown:
        typer.echo(f"Not known: {gap}", err=True)
    for problem in found.problems:
        typer.echo(f"Problem: {problem}", err=True)
    if found.failing or found.problems:
        raise typer.Exit(1)
