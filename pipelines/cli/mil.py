"""`raypath mil`: slide-level heads."""

import typer

from pipelines.cli import mil_evaluate

mil = typer.Typer(no_args_is_help=True)


@mil.callback()
def _mil() -> None:
    """Slide-level heads on embeddings: what they are worth."""


mil.command()(mil_evaluate.evaluate)
