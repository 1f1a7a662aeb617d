"""`raypath pretrain`: an encoder from tissue without labels, by one of several objectives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distill.pretrain import Progress


def pretrain(
    objective: Annotated[
        str, typer.Argument(help="rckd, supervised-nuclei, barlow, moco, or random: no training.")
    ],
    tiles: Annotated[
        list[str],
        typer.Option(help="Folder of images, .npz, slide, or manifest; repeat it for several."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")],
    architecture: Annotated[str, typer.Option(help="csat, or any network of timm.")] = "resnet18",
    steps: Annotated[int, typer.Option(min=1)] = 5000,
    batch: Annotated[int, typer.Option(min=2, help="Tiles a step.")] = 32,
    teacher: Annotated[
        Path | None, typer.Option(help="For rckd: folder from 'raypath teacher train'.")
    ] = None,
    responses: Annotated[
        Path | None,
        typer.Option(help="Where the teacher's responses are kept. [default: OUT-responses]"),
    ] = None,
    mpp: Annotated[
        list[float] | None,
        typer.Option(help="µm per pixel of the images: one for all --tiles, or one each."),
    ] = None,
    tile_mpp: Annotated[float, typer.Option(help="µm per pixel to pretrain at.")] = 0.5,
    tile_px: Annotated[int, typer.Option(help="Edge of a tile.")] = 256,
    crop: Annotated[int, typer.Option(help="Edge of what the network sees of a tile.")] = 224,
    context: Annotated[int, typer.Option(help="Pixels around a tile that the teacher sees.")] = 32,
    slide_tiles: Annotated[int, typer.Option(help="Most tiles from one slide.")] = 500,
    upsample: Annotated[
        bool, typer.Option("--upsample", help="Enlarge images coarser than --tile-mpp.")
    ] = False,
    learning_rate: Annotated[float, typer.Option(help="Highest, after the warm-up.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights, held-out tiles and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:0 and so on.")] = "cpu",
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Half precision: faster where the processor has it.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Of the tiles; it binds the model and goes into its card.")
    ] = "not stated",
) -> None:
    """Pretrain an encoder and write its folder, usable by 'raypath run --model'.

    All objectives see the same tiles, steps, batches and schedule for the same seed. Of the
    images or slides, a tenth is held out to measure on. curves.csv and curves.png show how it went.
    """
    from distill.objectives.objective import OBJECTIVES
    from pipelines.errors import UsageError
    from pipelines.pretraining.run import PretrainSettings, respond, run_pretraining
    from pipelines.pretraining.teacher import read_teacher
    from pipelines.pretraining.tiles import TileRequest, read_tileset
    from wsi.plan import TileSpec

    if objective not in OBJECTIVES:
        raise UsageError(f"no objective is called {objective!r}: known are {', '.join(OBJECTIVES)}")
    if (objective == "rckd") != (teacher is not None):
        raise UsageError(f"{objective}: --teacher is for rckd, which needs one")
    request = TileRequest(
        spec=TileSpec(size_px=tile_px, mpp=tile_mpp),
        context_px=context,
        slide_tiles=slide_tiles,
        upsample=upsample,
        labelled=objective == "supervised-nuclei",
        seed=seed,
    )
    tileset = read_tileset(tiles, _one_each(mpp or [], len(tiles)), request)
    typer.echo(f"{len(tileset)} tiles of {tile_px} px at {tile_mpp} µm/px", err=True)
    maps, cost, method, terms = None, None, "", licence
    if teacher:
        of = read_teacher(teacher)
        folder = responses or out.with_name(f"{out.name}-responses")
        with _bar("responses", len(tileset)) as advance:
            maps, cost = respond(
                tileset,
                of,
                folder,
                report=lambda done: advance(done.tiles, f"{done.seconds:.0f} s"),
            )
        method, terms = f", teacher {of.sha256[:12]}", f"{licence}; teacher: {of.licence}"
    settings = PretrainSettings(
        objective=objective,
        architecture=architecture,
        steps=steps,
        batch_size=batch,
        crop_px=crop,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        bfloat16=bf16,
        data=f"{len(tileset)} tiles of {', '.join(Path(source).name for source in tiles)}",
        licence=terms,
    )
    with _bar("steps", steps) as advance:
        card = run_pretraining(
            tileset,
            out,
            settings,
            maps=maps,
            method=method,
            cost=cost,
            report=lambda progress: advance(len(progress.losses), _describe(progress)),
        )
    for name, value in card.training.measures.items():
        typer.echo(f"{name:22}{value:g}")


def _one_each(given: list[float], count: int) -> list[float | None]:
    from pipelines.errors import UsageError

    if len(given) not in (0, 1, count):
        raise UsageError(
            f"{len(given)} times --mpp for {count} times --tiles: give one, or {count}"
        )
    return list(given) if len(given) == count else [given[0] if given else None] * count


def _describe(progress: "Progress") -> str:
    last = progress.checks[max(progress.checks)] if progress.checks else {}
    words = [f"loss {progress.losses[-1]:.3f}", f"{fmean(progress.step_s[-20:] or [0]):.2f} s/step"]
    return "  ".join([*words, *(f"{n.replace('_', ' ')} {v:.3f}" for n, v in last.items())])


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Give a function to call with how much is done and a line about it: a bar on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        shown = 0

        def print_line(done: int, text: str) -> None:
            nonlocal shown
            if done * 20 // total > shown or done == total:
                shown = done * 20 // total
                typer.echo(f"[{done}/{total} {what}] {text}", err=True)

        yield print_line
        return
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)
