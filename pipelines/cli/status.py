"""`raypath status`: how far a run is, from its folder alone; and the jobs of a cluster."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.program import program
from pipelines.cli.progress import COLOURS
from pipelines.cli.submit import describe
from pipelines.output import output_path

if TYPE_CHECKING:
    from rich.console import Group

    from pipelines.status.status import RunStatus

LOOK_S = 2.0  # between two looks of --watch
NAMED = 5  # slides being worked on that are shown


def status(
    out: Annotated[
        Path | None,
        typer.Argument(parser=output_path, help="A run's folder, or its URL.", show_default=False),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 2 seconds until the run ends.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a look, or a job, on a line.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(help="A cluster's dashboard, http://HEAD:8265: list its jobs instead."),
    ] = None,
) -> None:
    """Show how far a run is: slides by verdict, speed, time left, slowest step, waiting.

    Works from the folder alone, while the run works, after a crash and at the end.
    """
    import time
    from functools import partial

    from rich.console import Console
    from rich.live import Live

    from pipelines.errors import UsageError
    from pipelines.status.status import RunWatch

    if (out is None) == (address is None):
        raise UsageError("give either a run's folder, or the --address of a cluster")
    if address:
        _show_jobs(address, as_json=as_json)
        return
    assert out is not None
    run = RunWatch(out, say=partial(typer.echo, err=True))
    now = run.look()
    if as_json:
        typer.echo(json.dumps(now.as_dict()))
        while watch and now.state == "running":
            time.sleep(LOOK_S)
            now = run.look()
            typer.echo(json.dumps(now.as_dict()))
        return
    console = Console()
    if not watch:
        console.print(_shown(now, out))
        return
    with Live(_shown(now, out), console=console, auto_refresh=False) as live:
        while now.state == "running":
            time.sleep(LOOK_S)
            now = run.look()
            live.update(_shown(now, out), refresh=True)


def _show_jobs(address: str, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cluster.jobs import list_jobs

    jobs = [describe(job) for job in list_jobs(address)]
    if as_json:
        for job in jobs:
            typer.echo(json.dumps(job))
        return
    table = Table(title=f"jobs at {address}")
    for name in ("job", "state", "begun", "out", "message"):
        table.add_column(name, overflow="fold", no_wrap=name in ("job", "state"))
    for job in jobs:
        table.add_row(*map(Text, job.values()))
    Console().print(table)


def _shown(now: "RunStatus", out: Path) -> "Group":
    from rich.console import Group
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(1, now.total), completed=now.done, width=40),
        f"{now.done} of {now.total} slides",
    )
    verdicts = "   ".join(
        f"[{colour}]{getattr(now, verdict)} {verdict}[/]" for verdict, colour in COLOURS.items()
    )
    rows = [("run", f"{escape(str(out))}: {_state(now)}"), ("slides", verdicts)]
    rows.append(("", f"{now.running} running   {now.waiting} waiting"))
    if now.working_on and now.state != "finished":
        more = now.running - NAMED if now.running > NAMED else 0
        names = ", ".join(now.working_on[:NAMED]) + (f" and {more} more" if more else "")
        rows.append(("working on" if now.state == "running" else "was working on", escape(names)))
    if now.blocks_total:
        rows.append(("", f"{now.blocks_done} of {now.blocks_total} blocks of large slides done"))
    if now.reasons:
        counts = sorted(now.reasons.items(), key=lambda item: -item[1])
        rows.append(
            ("reasons", ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in counts))
        )
    left = ""
    if now.eta_s is not None:
        left = f", {now.done_share:.0%} done by bytes, {_duration(now.eta_s)} left"
    rows.append(("time", f"{_duration(now.elapsed_s)}{left}"))
    rows.append(("speed", f"{_pace(now.slides_per_s)}   {now.tiles_per_s:.3g} tiles/s"))
    if now.slowest_step:
        share = now.seconds[now.slowest_step] / max(1e-9, sum(now.seconds.values()))
        rows.append(("slowest step", f"{now.slowest_step}, {share:.0%} of the work"))
    if now.waited_share is not None:
        rows.append(("model waited", f"{now.waited_share:.0%} of its time for tiles"))
    for name, value in rows:
        table.add_row(f"[dim]{name}[/]", value)
    return Group(bar, table)


def _state(now: "RunStatus") -> str:
    """The state in words, with what a person does about it."""
    from rich.markup import escape

    from pipelines.status.life import SILENT_S

    where = escape(f"process {now.pid} on {now.host}")
    silent = f"silent for {_duration(now.silent_s)}"
    if now.state == "running":
        # A process that is there, and was suspended or cannot write to the folder.
        return f"running ({where}{f', {silent}' if now.silent_s > SILENT_S else ''})"
    if now.state == "finished":
        return f"finished; the report is {escape('report.html')} in it"
    again = f"give the same '{program()} run' again to go on"
    if now.state == "interrupted":
        return f"[yellow]interrupted[/]: {again}"
    if now.state == "broken":
        return f"[red]broken[/] by {escape(now.message)}"
    return f"[red]stopped[/]: {where} is gone, {silent}; {again}"


def _pace(slides_per_s: float) -> str:
    """For people: 5.5 slides a minute, or 2 min 10 s a slide where that is less than one."""
    if 0 < slides_per_s < 1 / 60:
        return f"{_duration(1 / slides_per_s)} a slide"
    return f"{float(f'{60 * slides_per_s:.2g}'):g} slides a minute"


def _duration(seconds: float) -> str:
    """For people: 42 s, 5 min 10 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {left} s"
    return f"{minutes // 60} h {minutes % 60} min"
