"""Flags that several commands have, with one wording."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.output import output_path
from wsi.resolution import PLAUSIBLE_MPP

LEAST_MPP, MOST_MPP = PLAUSIBLE_MPP

Slides = Annotated[
    list[str],
    typer.Argument(help="Slides, folders of slides, URLs, or one manifest (CSV, Parquet)."),
]
Out = Annotated[
    Path,
    typer.Option(
        "-o", "--out", parser=output_path, help="Folder for the results, or an s3:// or gs:// URL."
    ),
]
RunFolder = Annotated[Path, typer.Argument(parser=output_path, help="A run's folder, or its URL.")]
Mpp = Annotated[
    float | None,
    typer.Option(
        min=LEAST_MPP,
        max=MOST_MPP,
        help="µm per pixel of level 0 of every slide, instead of what its file says.",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="CPUs of the local Ray; default: all that may be used.")
]
Address = Annotated[
    str | None, typer.Option(help="Address of a running Ray; default: start one here.")
]
Stride = Annotated[
    int | None,
    typer.Option("--stride", min=1, help="Step between tiles in tile pixels; default: no overlap."),
]
Codec = Annotated[
    str | None,
    typer.Option(help="auto keeps JPEG tiles unchanged, zstd decodes.", show_default="auto"),
]
Executor = Annotated[
    str | None, typer.Option(help="ray, or serial for this process alone.", show_default="ray")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a slide on standard output.")]
ImageMpp = Annotated[
    list[float] | None,
    typer.Option(
        min=LEAST_MPP,
        max=MOST_MPP,
        help="µm per pixel of images that do not say it: one for all, or one a folder. Of slides, "
        "instead of what they say.",
    ),
]

Half = Annotated[
    bool, typer.Option("--half", help="Write the weights in half precision, at half the size.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or cuda:0 and so on.")]
# Of commands that take networks over slides.
RunDevice = Annotated[
    str | None,
    typer.Option("--device", help="cpu, or cuda for a GPU of each machine.", show_default="cpu"),
]
Bfloat16 = Annotated[
    bool, typer.Option(help="Compute in bfloat16: faster where the processor has it.")
]
# Of those that take one (`pipelines.cli.running.run_network`).
ImageCodec = Annotated[
    str, typer.Option(help="Of the image: auto keeps JPEG tiles unchanged, zstd decodes.")
]
WorthRay = Annotated[
    str | None,
    typer.Option(
        help="ray, or serial for this process alone.",
        show_default="ray where it is worth its start",
    ),
]


def one_each(given: list[float], count: int, *, flag: str) -> list[float | None]:
    """`--mpp` for each of the `count` folders that `flag` was given for.

    Raises
    ------
    UsageError
        If there are some of them, but not as many.
    """
    from pipelines.errors import UsageError

    if len(given) not in (0, 1, count):
        raise UsageError(f"{len(given)} times --mpp for {count} times {flag}: give one, or {count}")
    return list(given) if len(given) == count else [given[0] if given else None] * count
