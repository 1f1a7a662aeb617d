"""What `run`, `teacher predict` and `segment run` share: slides run, and how that ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pipelines.cli.program import program

if TYPE_CHECKING:
    from pipelines.cohort.manifest import Entry
    from pipelines.settings.config import RunConfig


def run_slides(
    entries: "Sequence[Entry]", out: Path, settings: "RunConfig", *, as_json: bool, unit: str
) -> dict[str, int]:
    """Run a cohort, and return how many slides there are of each verdict.

    `unit` is what progress counts.
    """
    from functools import partial

    from pipelines.cli.progress import slide_progress
    from pipelines.cli.stopping import stopping_cleanly
    from pipelines.executors import make_executor
    from pipelines.run import prepare, run_cohort
    from pipelines.settings.limits import task_limits
    from pipelines.settings.resources import task_needs
    from pipelines.status.metrics import metered
    from pipelines.tasks import slide_of, step_of

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
        slide_progress(len(entries), as_json=as_json, unit=unit) as report,
    ):
        meter = metered(report, executor=settings.executor)
        return run_cohort(
            entries, out, settings, runner, report=meter, say=partial(typer.echo, err=True)
        )


def run_network(
    slides: Sequence[str],
    out: Path,
    flags: dict[str, Any],
    *,
    executor: str | None,
    as_json: bool,
    unit: str,
) -> None:
    """Run a cohort with `flags`, among them one network, and end with 1 where a slide failed.

    Without `executor` it is Ray where that is worth its start.
    """
    from functools import partial

    from pipelines.cohort.manifest import read_cohort
    from pipelines.executors import network_executor
    from pipelines.runfolder import image_path
    from pipelines.settings.config import load_config

    entries = read_cohort(slides, mpp=flags["mpp"], result_of=partial(image_path, out))
    if executor is None:
        executor = "ray" if flags["workers"] or flags["address"] else network_executor(entries)
    settings = load_config(None, flags | {"executor": executor})
    end_with(run_slides(entries, out, settings, as_json=as_json, unit=unit), out)


def end_with(counts: Mapping[str, int], out: Path) -> None:
    """Say how a run is looked at, and end the command with 1 where a slide failed."""
    from wsi.remote import is_remote

    if not is_remote(out):
        typer.echo(f"The viewer:  {program()} view {out}", err=True)
    if counts["failed"]:
        raise typer.Exit(1)
