"""What heads say of the tiles of slides they have not seen, beside what the tiles show."""

from collections.abc import Iterator, Mapping, Sequence
from csv import DictReader
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cohort.make import truth_path
from benchmarks.cohort.paint import BENIGN_TISSUE, MALIGNANT_TISSUE
from benchmarks.cohort.plan import MALIGNANT
from distill.card import HeadFile, read_toml
from pipelines.heatmaps.channels import ATTENTION, score_channel
from pipelines.mil.division import TEST
from pipelines.mil.run import HEAD_CARD_NAME, SPLIT_NAME
from pipelines.model import load_head
from pipelines.runfolder import SLIDES_NAME
from pipelines.runfolder import TILES_NAME as EMBEDDINGS_NAME
from pipelines.steps.predict import score_tiles
from wsi.atomic import replacing
from wsi.testing import TRUTH_DOWNSAMPLE
from wsi.tilestore import TileTable, read_tiles

SCHEMA = pa.schema(
    [
        ("division", pa.int32()),
        ("fold", pa.int32()),
        ("slide_id", pa.string()),
        ("patient_id", pa.string()),
        ("x", pa.int64()),
        ("y", pa.int64()),
        ("is_malignant", pa.bool_()),
        ("score", pa.float64()),
        ("attention", pa.float64()),
    ]
)


def write_tile_scores(path: Path, run: Path, slides: Path, trainings: Sequence[Path]) -> None:
    """Write a row for every tile of every test slide of every division.

    Parameters
    ----------
    run
        Of `raypath run`: the embeddings.
    slides
        The cohort with its truth.
    trainings
        Of `raypath mil train`, one a division.
    """
    shown: dict[str, tuple[TileTable, NDArray[np.bool_]]] = {}
    parts = []
    for division, training in enumerate(trainings):
        for row in _tested(training):
            slide_id = row["slide_id"]
            if slide_id not in shown:
                tiles = read_tiles(run / SLIDES_NAME / slide_id / EMBEDDINGS_NAME)
                shown[slide_id] = tiles, find_malignant(tiles, truth_path(slides, slide_id))
            tiles, malignant = shown[slide_id]
            columns = _scores(training / f"fold-{row['fold']}-seed-0", tiles) | {
                "division": [division] * len(malignant),
                "fold": [int(row["fold"])] * len(malignant),
                "slide_id": [slide_id] * len(malignant),
                "patient_id": [row["patient_id"]] * len(malignant),
                "x": tiles.coords[:, 0],
                "y": tiles.coords[:, 1],
                "is_malignant": malignant,
            }
            parts.append(pa.table(columns, SCHEMA))
    with replacing(path) as tmp:
        pq.write_table(pa.concat_tables(parts), tmp, compression="zstd")


def find_malignant(tiles: TileTable, truth: Path) -> NDArray[np.bool_]:
    """Whether more than half of a tile's tissue is malignant, (N,); a pixel counts by its centre.

    A tile without tissue, under ink beside a section, is not.
    """
    with Image.open(truth) as image:
        grey = np.asarray(image)
    edges = [
        np.ceil((tiles.coords + shift) / TRUTH_DOWNSAMPLE - 0.5).astype(np.int64)
        for shift in (0, tiles.tile_level0_px)
    ]
    (left, top), (right, bottom) = (
        np.clip(edge, 0, np.array(grey.shape[::-1])).T for edge in edges
    )

    def count(kind: int) -> NDArray[np.int64]:
        total = np.pad((grey == kind).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return np.asarray(inside, np.int64)

    return np.asarray(count(MALIGNANT_TISSUE) > count(BENIGN_TISSUE))


def _tested(training: Path) -> Iterator[Mapping[str, str]]:
    """Rows of the split of slides that a fold's head did not see."""
    with (training / SPLIT_NAME).open(newline="", encoding="utf-8") as file:
        yield from (row for row in DictReader(file) if row["split"] == TEST)


def _scores(folder: Path, tiles: TileTable) -> dict[str, Any]:
    """The channels of a heatmap: log-odds of the tile alone, and its attention."""
    card = read_toml(folder / HEAD_CARD_NAME, HeadFile, made_by="'raypath mil train' makes one")
    head = load_head(folder, card.head, dim=card.dim)
    _, values, channels = score_tiles(tiles, head, card.head)
    at = {channel.name: number for number, channel in enumerate(channels)}
    return {
        "score": values[:, at[score_channel(MALIGNANT).name]],
        "attention": values[:, at[ATTENTION.name]],
    }
