"""`raypath mil`: slide-level heads on the embeddings of a labelled cohort."""

import typer

from pipelines.cli.mil_evaluate import evaluate
from pipelines.cli.mil_train import train

mil = typer.Typer(no_args_is_help=True)
mil.command()(train)
mil.command()(evaluate)


@mil.callback()
def _mil() -> None:
    """Multiple-instance learning: one answer about a slide from the embeddings of its tiles."""
