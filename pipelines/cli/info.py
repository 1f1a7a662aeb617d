"""`raypath info`: what a slide is, and what will be trouble."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import LEAST_MPP, MOST_MPP

if TYPE_CHECKING:
    from pathlib import Path


def info(
    slide: Annotated[str, typer.Argument(help="A slide, its URL, or a folder of slides.")],
    mpp: Annotated[
        float | None,
        typer.Option(min=LEAST_MPP, max=MOST_MPP, help="µm per pixel of level 0."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a slide.")] = False,
) -> None:
    """Show a slide's format, levels, resolution and its source, and its problems."""
    from pipelines.cohort.find_slides import find_slides
    from wsi.errors import SlideError
    from wsi.remote import slide_path

    paths = find_slides(slide_path(slide))
    failed = False
    for number, path in enumerate(paths):
        try:
            facts = _facts(path, mpp)
        except SlideError as error:
            if len(paths) == 1:
                raise
            failed = True
            facts = {"path": str(path), "problems": [str(error)]}
        if as_json:
            typer.echo(json.dumps(facts))
        else:
            typer.echo("" if number == 0 else "\n", nl=False)
            _show(facts)
    if failed:
        raise typer.Exit(1)


def _facts(path: "Path", mpp: float | None) -> dict[str, Any]:
    from wsi.errors import ResolutionError
    from wsi.open import open_slide
    from wsi.resolution import resolve_mpp

    facts: dict[str, Any] = {"path": str(path)}
    problems: list[str] = []
    with open_slide(path) as opened:
        facts |= {
            "vendor": opened.vendor,
            "reader": opened.reader,
            "levels": [
                {"width": w, "height": h, "downsample": round(d, 6)}
                for (w, h), d in zip(opened.level_dimensions, opened.level_downsamples, strict=True)
            ],
            "associated_images": list(opened.associated_images),
            "objective_power": opened.properties.get("openslide.objective-power"),
        }
        try:
            resolution = resolve_mpp(opened.properties, given=mpp)
            facts |= {"mpp": resolution.mpp, "mpp_source": resolution.source.value}
            problems += resolution.warnings
        except ResolutionError as error:
            facts |= {"mpp": None, "mpp_source": None}
            problems.append(str(error))
        named = sorted(set(opened.associated_images) & {"label", "macro"})
        if named:
            problems.append(
                f"{' and '.join(named)} image may show a patient's name; raypath does not copy it"
            )
    return facts | {"problems": problems}


def _show(facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if not isinstance(value, list):
            typer.echo(f"{key:18}{'-' if value is None else value}")
            continue
        for number, line in enumerate(value or ["none"]):
            text = (
                f"{number}: {line['width']} x {line['height']} px, downsample {line['downsample']}"
                if isinstance(line, dict)
                else line
            )
            typer.echo(f"{key if number == 0 else '':18}{text}")
