"""What a finished run knows of a slide: its tiles, and which of them score highest."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.explain.score import TileScore
from pipelines.model import Model
from pipelines.runfolder import TILES_NAME, read_run
from wsi.identity import content_digest
from wsi.ref import SlideRef
from wsi.tilestore import TileTable, read_tiles

BATCH = 4096  # embeddings scored together


def find_slide(run: Path, ref: SlideRef) -> Path:
    """The slide's folder in a run, by the file it was made from or by its id.

    Raises
    ------
    UsageError
        If the run does not have the slide, has not embedded it, or has another file of its name.
    """
    seen = read_run(run)
    of_path = [r.slide_id for r in seen.records if r.path == str(ref.path)]
    folder = next(
        (found for name in (*of_path, ref.slide_id) if (found := seen.slide_folder(name))), None
    )
    if folder is None:
        some = ", ".join(record.slide_id for record in seen.records[:5])
        raise UsageError(f"--run {run} has no slide {ref.slide_id!r}; its slides: {some}, …")
    if not (folder / TILES_NAME).exists():
        raise UsageError(f"{folder} has no {TILES_NAME}: the run did not embed this slide")
    # Files in two folders may be called alike; where a run's files have moved, the bytes tell.
    if not of_path and content_digest(ref.path) != _made_of(folder):
        raise UsageError(
            f"--run {run} has a slide {ref.slide_id!r}, but of another file than {ref.path}: "
            "give the run's own, or run this slide"
        )
    return folder


def _made_of(folder: Path) -> str:
    return str(read_tiles(folder / TILES_NAME).attributes["slide_digest"])


def read_embedded(folder: Path, model: Model) -> TileTable:
    """The tiles of a slide's folder, if they are this model's.

    Raises
    ------
    UsageError
        If another encoder made the embeddings, or it saw other tiles, or such that were changed.
    """
    tiles = read_tiles(folder / TILES_NAME)
    made_by = str(tiles.attributes["encoder_sha256"]), str(tiles.attributes["encoder"])
    wanted = model.card.encoder.sha256 or "", model.encoder.identifier
    spec = model.encoder.spec
    if made_by != wanted:
        raise UsageError(
            f"{folder / TILES_NAME} was made by encoder {made_by[1]!r} ({made_by[0][:12]}), the "
            f"model has {wanted[1]!r} ({wanted[0][:12]}): give the model of the run"
        )
    edge, mpp = tiles.attributes["patch_size"], tiles.attributes["mpp"]
    if (edge, mpp) != (spec.size_px, spec.mpp):
        raise UsageError(
            f"{folder / TILES_NAME} is of tiles of {edge} px at {mpp:g} µm, the model takes "
            f"{spec.size_px} px at {spec.mpp:g}: give the model of the run"
        )
    steps = json.loads(str(tiles.attributes["preprocess"]))
    if steps:
        names = ", ".join(step["name"] for step in steps)
        raise UsageError(
            f"the run changed its tiles before embedding them ({names}), and they are explained "
            "as the slide has them: explain a run made without --preprocess"
        )
    return tiles


@torch.no_grad()
def score_each(score: TileScore, tiles: TileTable) -> NDArray[np.float64]:
    """The log-odds of each tile alone, (N,)."""
    embeddings = torch.from_numpy(tiles.embeddings)
    parts = [score.of_embeddings(part) for part in torch.split(embeddings, BATCH)]
    return torch.cat(parts).double().numpy()


def highest(score: TileScore, tiles: TileTable, count: int) -> list[tuple[tuple[int, int], float]]:
    """The corners (x, y) of the `count` tiles with the highest log-odds, and those, from the top.

    Raises
    ------
    UsageError
        If there are not as many tiles.
    """
    if not 1 <= count <= len(tiles.coords):
        raise UsageError(f"--top {count}: the slide has {len(tiles.coords)} tiles, give 1 or more")
    odds = score_each(score, tiles)
    first = np.argsort(-odds, kind="stable")[:count]
    return [
        ((x, y), float(odds[k]))
        for k, (x, y) in zip(first, tiles.coords[first].tolist(), strict=True)
    ]
