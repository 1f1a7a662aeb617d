"""`raypath report`: one page about a run."""

from pathlib import Path
from typing import Annotated

import typer


def report(out: Annotated[Path, typer.Argument(help="A run's folder.")]) -> None:
    """Write a run's report.html anew, also of a run that is under way or was killed."""
    from pipelines.report.report import write_report

    typer.echo(f"The report:  {write_report(out)}", err=True)
