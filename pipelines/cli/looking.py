"""What `teacher predict` and `segment run` share: one network over the slides of a cohort."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from pipelines.cli.program import program


def look_at_slides(
    slides: Sequence[str],
    out: Path,
    flags: dict[str, Any],
    *,
    executor: str | None,
    as_json: bool,
    unit: str,
) -> None:
    """Run a cohort with `flags`, among them the network, and end with 1 where a slide failed.

    Without `executor` it is Ray where that is worth its start. `unit` is what progress counts.
    """
    from functools import partial

    from pipelines.cli.progress import slide_progress
    from pipelines.cli.stopping import stopping_cleanly
    from pipelines.cohort.manifest import read_cohort
    from pipelines.executors import make_executor, nuclei_executor
    from pipelines.run import prepare, run_cohort
    from pipelines.runfolder import image_path
    from pipelines.settings.config import load_config
    from pipelines.settings.limits import task_limits
    from pipelines.settings.resources import task_needs
    from pipelines.spread import slide_of, step_of
    from pipelines.status.metrics import metered
    from wsi.remote import is_remote

    workers, address = flags["workers"], flags["address"]
    entries = read_cohort(slides, mpp=flags["mpp"], result_of=partial(image_path, out))
    if executor is None:
        executor = "ray" if workers or address else nuclei_executor(entries)
    settings = load_config(None, flags | {"executor": executor})
    prepare(entries, out, settings)  # before Ray is started for nothing
    allow = partial(task_limits, settings.limits, slide_of)
    needs = partial(task_needs, settings.resources, step_of, settings.device == "cuda")
    with (
        stopping_cleanly(),
        make_executor(
            executor, address=address, workers=workers, allow=allow, needs=needs
        ) as runner,
        slide_progress(len(entries), as_json=as_json, unit=unit) as report,
    ):
        meter = metered(report, executor=executor)
        counts = run_cohort(
            entries, out, settings, runner, report=meter, say=partial(typer.echo, err=True)
        )
    if not is_remote(out):
        typer.echo(f"The viewer:  {program()} view {out}", err=True)
    if counts["failed"]:
        raise typer.Exit(1)
