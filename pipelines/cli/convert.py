"""`raypath convert`: pyramids only."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer


def convert(
    slides: Annotated[
        list[str],
        typer.Argument(help="Slides, folders of slides, URLs, or one manifest (CSV, Parquet)."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for <slide_id>.ome.zarr.")],
    mpp: Annotated[
        float | None,
        typer.Option(help="µm per pixel of level 0, for slides whose file does not say it."),
    ] = None,
    codec: Annotated[
        str,
        typer.Option(help="auto: keep the slide's JPEG tiles where possible; zstd: decode always."),
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pyramids that exist.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a slide on standard output.")
    ] = False,
) -> None:
    """Write slides as OME-Zarr 0.5 pyramids with their tissue masks.

    Exit code 1 when a slide failed; the others are converted.
    """
    from typing import get_args

    from pipelines.config import Codec
    from pipelines.convert import convert_slide
    from pipelines.errors import UsageError
    from pipelines.manifest import read_cohort
    from wsi.errors import RayPathError

    chosen: Codec | None = next((c for c in get_args(Codec) if c == codec), None)
    if chosen is None:
        raise UsageError(f"--codec {codec}: known are {', '.join(get_args(Codec))}")
    entries = read_cohort(slides, mpp=mpp)
    failed = False
    for entry in entries:
        started = time.perf_counter()
        facts: dict[str, object] = {"slide_id": entry.ref.slide_id}
        try:
            target = out / f"{entry.ref.slide_id}.ome.zarr"
            facts |= convert_slide(entry.ref, target, codec=chosen, overwrite=overwrite)
        except RayPathError as error:
            failed = True
            facts |= {"verdict": "failed", "reason": error.kind, "message": str(error)}
        facts["seconds"] = round(time.perf_counter() - started, 3)
        if as_json:
            sys.stdout.write(json.dumps(facts) + "\n")
        else:
            detail = (
                facts.get("message")
                or f"{facts['codec']}, {facts['megapixels']} MP -> {facts['path']}"
            )
            typer.echo(f"{entry.ref.slide_id}: {facts['verdict']}, {facts['seconds']} s, {detail}")
    if failed:
        raise typer.Exit(1)
