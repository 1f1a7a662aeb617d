"""`raypath verify`: reads a run's folder again and says which slides to redo."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from pipelines.cli.options import Address, AsJson, RunFolder, Workers


def verify(
    out: RunFolder,
    redo: Annotated[
        bool, typer.Option("--redo", help="Remove the receipts of damaged slides: run does them.")
    ] = False,
    executor: Annotated[
        str, typer.Option(help="threads, serial, or ray for a large run.")
    ] = "threads",
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Compare every file of a run with its receipt, and read all of it again.

    Digests of all outputs; every chunk of the pyramids decodes; tiles lie on the slide and their
    embeddings are numbers; heatmaps, outlines and predictions parse; records and folders agree.

    Exit code 0: all is as it was written. 1: something is not, and is named. 2: OUT is no run, or
    a run works in it. With --redo the same run command does the damaged slides again.
    """
    from pipelines.cli.progress import slide_progress
    from pipelines.executors import make_executor
    from pipelines.locks.folder import refuse_held
    from pipelines.verify.run import count_slides, redo_slide, verify_run

    refuse_held(out, say=lambda line: typer.echo(line, err=True))
    total = count_slides(out)
    is_run_damaged, slides = False, list[str]()
    with (
        make_executor(executor, address=address, workers=workers) as runner,
        slide_progress(total + 1, as_json=as_json, unit="MB") as report,
    ):
        for found in verify_run(out, runner):
            report(found)
            if found.problems and found.name:
                slides.append(found.name)
            elif found.problems:
                is_run_damaged = True
            if redo:
                redo_slide(out, found)
    if not slides and not is_run_damaged:
        typer.echo(f"{total} slides are as they were written", err=True)
        return
    for line in _advice(slides, total, is_run_damaged=is_run_damaged, redo=redo):
        typer.echo(line, err=True)
    raise typer.Exit(1)


def _advice(
    slides: Sequence[str], total: int, *, is_run_damaged: bool, redo: bool
) -> Iterator[str]:
    """What has problems, slides or files of the run itself, and what mends it."""
    if not slides:
        yield f"The run's own files have problems; {total} slides are as they were written"
        yield "The same 'raypath run' command writes them anew, and skips what is finished"
        return
    yield f"{len(slides)} of {total} slides have problems: {', '.join(slides)}"
    if redo:
        yield "Their receipts are removed: run the same 'raypath run' command again"
    else:
        yield "To have them done again: raypath verify --redo, then the same run"
    if is_run_damaged:
        yield "The run's own files have problems too: that run writes them anew"
