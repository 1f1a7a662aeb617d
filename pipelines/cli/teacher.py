"""`raypath teacher`: train a nuclei teacher, measure one, and find nuclei on slides with it."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.bar import progress_bar
from pipelines.cli.options import (
    LEAST_MPP,
    MOST_MPP,
    Address,
    AsJson,
    Bfloat16,
    ImageCodec,
    ImageMpp,
    Mpp,
    Out,
    RunDevice,
    Slides,
    Workers,
    WorthRay,
    one_each,
)
from pipelines.cli.running import run_network
from pipelines.cli.teacher_evaluate import evaluate
from pipelines.cli.teacher_messages import say_teacher
from pipelines.cli.teacher_train import train

teacher = typer.Typer(no_args_is_help=True)


@teacher.callback()
def _teacher() -> None:
    """Nuclei teachers: networks that tell nuclei apart, trained on labelled images."""


teacher.command()(train)


@teacher.command()
def label(
    tiles: Annotated[
        list[str], typer.Option(help="Folder of images, .npz, slide, or manifest; repeat it.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder of labelled images.")],
    mpp: ImageMpp = None,
    tile_mpp: Annotated[
        float, typer.Option(min=LEAST_MPP, max=MOST_MPP, help="µm per pixel to label at.")
    ] = 0.5,
    tile_px: Annotated[int, typer.Option(help="Edge of a tile.")] = 256,
    slide_tiles: Annotated[int, typer.Option(help="Most tiles from one slide.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the choice among a slide's tiles.")] = 0,
) -> None:
    """Label nuclei by their haematoxylin, for a teacher where no human has labelled any.

    Look at the labels before training on them: in mucus and fat, and where the stain is dirty,
    threads and dirt are taken for nuclei.
    """
    from pipelines.pretraining.labelling import write_labelled
    from pipelines.pretraining.sources import TileRequest, find_tiles
    from wsi.plan import TileSpec

    mpps = one_each(mpp or [], len(tiles), flag="--tiles")
    spec = TileSpec(size_px=tile_px, mpp=tile_mpp)
    request = TileRequest(spec=spec, slide_tiles=slide_tiles, seed=seed)
    places = find_tiles(tiles, mpps, request, say=partial(typer.echo, err=True))
    with progress_bar("tiles", sum(map(len, places))) as advance:
        labelled = write_labelled(places, out, report=lambda seen: advance(seen, ""))
    typer.echo(f"The tiles:  {out} ({labelled} labelled)", err=True)


teacher.command()(evaluate)


@teacher.command()
def predict(
    slides: Slides,
    weights: Annotated[Path, typer.Option(help="A teacher's folder, or the weights in it.")],
    out: Out,
    mpp: Mpp = None,
    codec: ImageCodec = "auto",
    bfloat16: Bfloat16 = False,
    device: RunDevice = None,
    executor: WorthRay = None,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Find the nuclei of whole slides: table, GeoJSON for QuPath, labels, density heatmap.

    Exit code 1 when a slide failed; the others are finished. The same command again goes on after
    an interruption, block by block.
    """
    from distill.teachers.card import read_teacher_card

    say_teacher(read_teacher_card(weights))
    flags = {
        "teacher": weights,
        "bfloat16": bfloat16,
        "device": device,
        "mpp": mpp,
        "codec": codec,
        "workers": workers,
        "address": address,
    }
    run_network(slides, out, flags, executor=executor, as_json=as_json, unit="nuclei")
