"""`raypath view`: the web viewer."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    out: Annotated[Path, typer.Argument(help="A run's folder.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than loopback shows it to others.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = False,
) -> None:
    """Show a run's slides with their heatmaps in a browser."""
    from pipelines.viewer.server import serve

    serve(out, host=host, port=port, open_browser=open_browser)
