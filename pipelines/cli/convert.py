"""`raypath convert`: pyramids only."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Address, AsJson, Mpp, Slides, Workers


def convert(
    slides: Slides,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for <slide_id>.ome.zarr.")],
    mpp: Mpp = None,
    codec: Annotated[
        str,
        typer.Option(
            help="auto: keep the slide's JPEG tiles where possible, else zstd. "
            "jpeg, zstd, blosc: decode always."
        ),
    ] = "auto",
    quality: Annotated[int, typer.Option(help="1-100, of what is encoded as JPEG here.")] = 90,
    fill_levels: Annotated[
        bool,
        typer.Option("--fill-levels", help="Add the levels between those of the slide."),
    ] = False,
    ngff: Annotated[
        str, typer.Option(help="OME-Zarr version: 0.5, or 0.4 with --codec zstd or blosc.")
    ] = "0.5",
    associated: Annotated[
        str,
        typer.Option(help="Associated images to copy, such as macro,label. They may show a name."),
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pyramids that exist.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep complete pyramids, and go on with interrupted ones."),
    ] = False,
    executor: Annotated[
        str | None,
        typer.Option(
            help="ray; threads of this process; serial: one task after the other. "
            "Default: ray where the work is worth its start."
        ),
    ] = None,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Write slides as OME-Zarr pyramids with their tissue masks.

    Exit code 1 when a slide failed; the others are converted. An interrupted conversion leaves
    its work in OUT/.partial-*; the same command with --resume goes on from there.
    """
    from functools import partial

    from cluster.resources import available_cpus
    from pipelines.cli.progress import slide_progress
    from pipelines.cohort.manifest import read_cohort
    from pipelines.conversion.driver import convert_slides
    from pipelines.conversion.tasks import ConvertJob, slide_of
    from pipelines.errors import UsageError
    from pipelines.executors import conversion_executor, make_executor
    from pipelines.output import check_folder, check_local
    from pipelines.settings.limits import LimitsConfig, task_limits
    from wsi.pyramid.options import PyramidOptions

    check_local(out)
    check_folder(out)
    _check("--codec", codec, known=("auto", "jpeg", "zstd", "blosc"))
    _check("--ngff", ngff, known=("0.5", "0.4"))
    if resume and overwrite:
        raise UsageError("--resume keeps what --overwrite replaces: give one of them")
    try:
        options = PyramidOptions(
            codec=codec,  # type: ignore[arg-type]  # checked above, as is ngff
            quality=quality,
            fill_levels=fill_levels,
            ngff=ngff,  # type: ignore[arg-type]
            associated=tuple(name.strip() for name in associated.split(",") if name.strip()),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error

    def result_of(slide_id: str) -> Path:
        return out.resolve() / f"{slide_id}.ome.zarr"

    entries = read_cohort(slides, mpp=mpp, result_of=result_of)
    if executor is None:
        wanted = "ray" if workers or address else conversion_executor(entries, options)
    else:
        wanted = executor
    jobs = (
        ConvertJob(
            ref=entry.ref,
            path=result_of(entry.ref.slide_id),
            options=options,
            resume=resume,
            overwrite=overwrite,
            # Tasks side by side have a CPU each; alone, one task has them all.
            threads=available_cpus() if wanted == "serial" else 1,
        )
        for entry in entries
    )
    verdicts = []
    allow = partial(task_limits, LimitsConfig(), slide_of)
    with (
        make_executor(wanted, address=address, workers=workers, allow=allow) as runner,
        slide_progress(len(entries), as_json=as_json, unit="MP") as report,
    ):
        for record in convert_slides(jobs, runner):
            verdicts.append(record.verdict)
            report(record)
    if len(entries) > 1:
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("ok", "partial", "failed"))
        typer.echo(counts, err=True)
    if "failed" in verdicts:
        raise typer.Exit(1)


def _check(flag: str, value: str, *, known: tuple[str, ...]) -> None:
    from pipelines.errors import UsageError

    if value not in known:
        raise UsageError(f"{flag} {value}: known are {', '.join(known)}")
