"""`raypath segment`: train a network that classifies pixels, measure it, and run it on slides."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    Address,
    AsJson,
    Bfloat16,
    ImageCodec,
    Mpp,
    Out,
    RunDevice,
    Slides,
    Workers,
    WorthRay,
)
from pipelines.cli.running import run_network
from pipelines.cli.segment_evaluate import evaluate
from pipelines.cli.segment_train import train

segment = typer.Typer(no_args_is_help=True)
segment.command()(train)
segment.command()(evaluate)


@segment.callback()
def _segment() -> None:
    """Tissue segmentation: a class for every pixel of an image or a slide."""


@segment.command()
def run(
    slides: Slides,
    weights: Annotated[Path, typer.Option(help="A segmenter's folder, or the weights in it.")],
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
    """Segment the tissue of whole slides: labels, outlines for QuPath, areas in mm², picture.

    Exit code 1 when a slide failed; the others are finished. The same command again goes on after
    an interruption, block by block.
    """
    flags = {
        "segmenter": weights,
        "bfloat16": bfloat16,
        "device": device,
        "mpp": mpp,
        "codec": codec,
        "workers": workers,
        "address": address,
    }
    run_network(slides, out, flags, executor=executor, as_json=as_json, unit="mm²")
