"""`raypath submit`, `logs` and `cancel`: `raypath run` as a job of a Ray cluster."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.run import run

if TYPE_CHECKING:
    from cluster.jobs import Job

OUT_KEY = "raypath_out"  # in a job's metadata: the folder of its run
WHERE = ("address", "executor", "workers")  # flags of run that are not those of submit

Dashboard = Annotated[
    str,
    typer.Option(
        "--address", help="The cluster's dashboard, http://HEAD:8265.", envvar="RAYPATH_ADDRESS"
    ),
]
JobId = Annotated[str, typer.Argument(help="What 'raypath submit' printed.")]


def submit(
    context: typer.Context,
    *,
    address: Dashboard,
    working_dir: Annotated[
        Path | None,
        typer.Option(help="A folder to copy to the cluster; relative paths are then within it."),
    ] = None,
    **flags: Any,
) -> None:
    """Have a Ray cluster do 'raypath run', with the same flags; prints the job's id.

    raypath has to be installed on the cluster. Paths mean what they mean there: storage that all
    nodes share. Relative ones are taken from here and sent as absolute, unless --working-dir copies
    a folder, with the manifest, the configuration and the model say, in which the job then runs.

    The flags, and the manifest, the configuration and the networks as far as they are on this
    machine too, are checked as run does before anything is sent. Exit code 2: one is wrong.

    Submit the same again to go on after a stop: finished steps are not done twice.
    """
    from cluster.jobs import submit_job
    from pipelines.check.request import check_visible
    from pipelines.cli.program import program
    from pipelines.errors import UsageError

    out: Path = flags["out"]
    if working_dir and not out.is_absolute():
        raise UsageError(
            f"-o {out} would lie in the cluster's copy of {working_dir}, which is deleted with the "
            "job: give the absolute path of shared storage"
        )
    here = working_dir or Path()
    unseen = check_visible(flags["slides"], out, flags["config"], flags, here=here)
    if unseen:
        typer.echo(f"Not on this machine, so not checked: {', '.join(unseen)}", err=True)
    given = _words_of_run(context, keep_relative=working_dir is not None)
    words = ["raypath", "run", "--address", "auto", *given]
    metadata = {OUT_KEY: str(out.absolute())}
    job_id = submit_job(address, words, metadata=metadata, working_dir=working_dir)
    typer.echo(job_id)
    for what in ("logs", "cancel"):
        typer.echo(f"{program()} {what} {job_id} --address {address}", err=True)
    typer.echo(f"{program()} status {out} --watch", err=True)


def _take_flags_of_run() -> None:
    """Give `submit` the flags of `run`, but for those on where to run, so that Typer knows them."""
    of_run = inspect.signature(run).parameters
    taken = {name: p for name, p in of_run.items() if name not in WHERE}
    own = inspect.signature(submit).parameters
    taken |= {name: p for name, p in own.items() if p.kind is not p.VAR_KEYWORD}
    each = [p.replace(kind=p.KEYWORD_ONLY) for p in taken.values()]
    submit.__signature__ = inspect.Signature(each)  # type: ignore[attr-defined]
    submit.__annotations__ = {p.name: p.annotation for p in each}


_take_flags_of_run()


def logs(
    job_id: JobId,
    address: Dashboard,
    follow: Annotated[bool, typer.Option("--follow", help="Until the job ends.")] = False,
) -> None:
    """Print what a submitted run printed."""
    from cluster.jobs import follow_logs, read_logs

    if follow:
        follow_logs(address, job_id, lambda lines: typer.echo(lines, nl=False))
    else:
        typer.echo(read_logs(address, job_id), nl=False)


def cancel(job_id: JobId, address: Dashboard) -> None:
    """End a submitted run; what is finished is kept, and the same submit goes on."""
    from cluster.jobs import stop_job

    job = stop_job(address, job_id)
    typer.echo(f"{job.job_id} {job.state.lower()}")


def describe(job: "Job") -> dict[str, str]:
    """A job as the command line shows it."""
    return {
        "job": job.job_id,
        "state": job.state.lower(),
        "begun": job.begun.isoformat(timespec="seconds") if job.begun else "",
        "out": job.metadata.get(OUT_KEY, ""),
        "message": job.message,
    }


def _words_of_run(context: typer.Context, *, keep_relative: bool) -> Iterator[str]:
    """What was given of the arguments of `run`, as its command line has them."""
    for param in context.command.params:
        name = param.name or ""
        source = context.get_parameter_source(name)
        if name in ("address", "working_dir") or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        flag = max(param.opts, key=len)
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, bool):
                yield flag if one else max(param.secondary_opts, key=len)
                continue
            if param.param_type_name == "option":
                yield flag
            is_path = isinstance(one, Path) or name == "slides"
            yield _absolute(str(one)) if is_path and not keep_relative else str(one)


def _absolute(place: str) -> str:
    """A path from here as an absolute one; a URL as it is."""
    return place if "://" in place else str(Path(place).absolute())
