"""Flags that several commands have, with one wording."""

from typing import Annotated

import typer

Slides = Annotated[
    list[str],
    typer.Argument(help="Slides, folders of slides, URLs, or one manifest (CSV, Parquet)."),
]
Mpp = Annotated[
    float | None,
    typer.Option(help="µm per pixel of level 0, for slides whose file does not say it."),
]
Workers = Annotated[
    int | None, typer.Option(help="CPUs of the local Ray; default: all that may be used.")
]
Address = Annotated[
    str | None, typer.Option(help="Address of a running Ray; default: start one here.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a slide on standard output.")]
