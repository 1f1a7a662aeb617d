"""`raypath`: the entry point, and how errors end a command."""

import inspect
import sys
import traceback
from typing import NoReturn

import typer

from pipelines.cli import (
    benchmark,
    check,
    convert,
    demo,
    explain,
    info,
    mil,
    pretrain,
    report,
    run,
    segment,
    status,
    submit,
    teacher,
    verify,
    view,
)
from pipelines.cli.stopping import Stopped
from wsi.errors import RayPathError
from wsi.malloc import keep_freed_memory

# 1 is what a command itself ends with: of slides some failed, or are not as they should be.
EXIT_USAGE = 2
EXIT_UNEXPECTED = 3

cli = typer.Typer(
    help="Whole-slide pathology: pyramids, embeddings, slide-level predictions and heatmaps. "
    "Research use only, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.command()(demo.demo)
cli.command()(info.info)
cli.command()(convert.convert)
cli.command()(check.check)
cli.command()(run.run)
cli.command()(status.status)
cli.command()(submit.submit)
cli.command()(submit.logs)
cli.command()(submit.cancel)
cli.command()(verify.verify)
cli.command()(pretrain.pretrain)
cli.command()(view.view)
cli.command()(report.report)
cli.command()(explain.explain)
cli.add_typer(teacher.teacher, name="teacher")
cli.add_typer(mil.mil, name="mil")
cli.add_typer(segment.segment, name="segment")
cli.add_typer(benchmark.benchmark, name="benchmark")


def _fill_lines(commands: typer.Typer) -> None:
    """Make the help of all commands end its lines at the terminal's edge, not its docstring's."""
    for command in commands.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.splitlines()) for each in paragraphs)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _fill_lines(group.typer_instance)


_fill_lines(cli)


def app() -> NoReturn:
    """Run the command line; an error made on purpose becomes one line and exit code 2.

    Any other becomes 3, after its traceback: 1, which Python would give, says that slides failed
    and the others are finished.
    """
    keep_freed_memory()
    try:
        cli()
    except RayPathError as error:
        typer.secho(f"raypath: {error}", fg=typer.colors.RED, err=True)
        sys.exit(EXIT_USAGE)
    except Stopped as stopped:
        message = f"raypath: ended by {stopped}; what is finished is kept: give the same command"
        typer.secho(f"{message} again to go on", fg=typer.colors.YELLOW, err=True)
        sys.exit(stopped.code)
    except Exception:
        traceback.print_exc()
        message = "raypath: ended by an error that nobody foresaw, see above"
        typer.secho(message, fg=typer.colors.RED, err=True)
        sys.exit(EXIT_UNEXPECTED)
    sys.exit(0)
