"""`raypath explain`: why a model scores a tile, or a slide, as it does."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Mpp


def explain(
    slide: Annotated[str, typer.Argument(help="A slide or its URL.")],
    model: Annotated[Path, typer.Option(help="Model folder; it must have a head.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The picture, .png; numbers go beside it as .json.")
    ],
    tile: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Level-0 pixels of the tile's top-left corner."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="The N tiles that score highest in the run instead.")
    ] = None,
    regions: Annotated[
        int | None,
        typer.Option(
            help="What the slide's score loses without each region, about N along its side."
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder that --top and --regions look into.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--class", help="The class; default: the model's positive one.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="A nuclei teacher's folder: how much lies on nuclei?")
    ] = None,
    mpp: Mpp = None,
) -> None:
    """Explain the score of a tile by occlusion, Grad-CAM and gradients, and check the maps.

    Give one of --tile, --top and --regions. Research use only: a map shows what the model
    answers to, not what is there.
    """
    from distill.teachers.teacher import load_teacher
    from pipelines.cohort.manifest import read_cohort
    from pipelines.errors import UsageError
    from pipelines.explain.write import Question, explain_at, explain_highest, explain_regions
    from pipelines.model import load_model

    if sum(given is not None for given in (tile, top, regions)) != 1:
        raise UsageError("give one of --tile X,Y, --top N and --regions N")
    unused = {
        "--run is for --top and --regions": run is not None and tile is not None,
        "--teacher is for --tile and --top": teacher is not None and regions is not None,
        "--mpp is for --tile; the run knows its own": mpp is not None and tile is None,
    }
    for what in (text for text, given in unused.items() if given):
        raise UsageError(what)
    if out.suffix.lower() != ".png":
        raise UsageError(f"-o {out}: the picture is a .png")
    entries = read_cohort([slide], mpp=mpp)
    if len(entries) != 1:
        raise UsageError(f"{slide} holds {len(entries)} slides: give one")
    question = Question(
        ref=entries[0].ref,
        model=load_model(model),
        target=target,
        teacher=load_teacher(teacher) if teacher else None,
    )

    def say(what: str) -> None:
        typer.echo(what, err=True)

    if tile is not None:
        written = explain_at(question, _corner(tile), out, say=say)
    elif run is None:
        raise UsageError("--top and --regions need --run DIR, the folder 'raypath run' wrote to")
    elif top is not None:
        written = explain_highest(question, run, top, out, say=say)
    elif regions is not None:
        written = explain_regions(question, run, regions, out)
    for path in written:
        typer.echo(path)


def _corner(text: str) -> tuple[int, int]:
    from pipelines.errors import UsageError

    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--tile {text}: give two whole numbers, as in --tile 5120,2048"
        ) from error
    return x, y
