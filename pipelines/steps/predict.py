"""Prediction: a slide's embeddings through the head, into everything a person opens."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from distill.card import HeadCard
from distill.errors import ModelError
from pipelines.heatmaps.channels import ATTENTION, ATTENTION_PERCENTILE, Channel, score_channel
from pipelines.heatmaps.geojson import write_geojson
from pipelines.heatmaps.ome_zarr import Heatmap, make_heatmap, write_heatmap
from pipelines.heatmaps.picture import write_picture
from pipelines.mil.heads.head import SUREST, Head, log_odds
from pipelines.model import Model
from pipelines.runfolder import (
    HEATMAP_NAME,
    HEATMAP_PICTURE_NAME,
    IMAGE_NAME,
    NOTICE,
    PREDICTION_NAME,
    TILES_NAME,
)
from wsi.atomic import replacing
from wsi.tilestore import TileTable, read_tiles

GEOJSON_NAME = "heatmap.geojson"
OUTPUTS = (PREDICTION_NAME, HEATMAP_NAME, GEOJSON_NAME, HEATMAP_PICTURE_NAME)


def predict_slide(
    folder: Path, model: Model, *, slide_id: str, density: Heatmap | None = None
) -> dict[str, Any]:
    """Write prediction and heatmaps into a slide's folder from its `tiles.h5` and pyramid.

    The channels of `density`, of the same tiles, are added to the heatmap's.
    """
    tiles = read_tiles(folder / TILES_NAME)
    if model.head is None:
        raise ModelError("the model has no head: it gives embeddings only")
    prediction, values, channels = score_tiles(tiles, model.head, model.head_card)
    prediction = {"slide_id": slide_id} | prediction
    prediction |= {"encoder": model.encoder.identifier, "model_sha256": model.sha256}
    heatmap = make_heatmap(values, channels, tiles)
    if density is not None:
        heatmap = replace(
            heatmap,
            values=np.concatenate([heatmap.values, density.values]),
            channels=(*heatmap.channels, *density.channels),
        )
    with replacing(folder / HEATMAP_NAME) as tmp:
        write_heatmap(tmp, heatmap, name=f"{slide_id} heatmap")
    write_geojson(folder / GEOJSON_NAME, tiles, values, channels, slide_id=slide_id)
    write_picture(
        folder / HEATMAP_PICTURE_NAME,
        folder / IMAGE_NAME,
        heatmap,
        title=slide_id,
        prediction=prediction,
    )
    with replacing(folder / PREDICTION_NAME) as tmp:
        tmp.write_text(json.dumps(prediction, indent=1))
    return prediction


@torch.inference_mode()
def score_tiles(
    tiles: TileTable, head: Head, card: HeadCard
) -> tuple[dict[str, Any], NDArray[np.float64], tuple[Channel, ...]]:
    """What the head says of a slide and of its tiles.

    Returns
    -------
    The prediction, (N, K) values of the tiles, and the K channels they belong to: first the
    positive class's score, then the other classes' but the first, then attention. Without a
    positive class every class has its score. A head that has no opinion on a tile alone leaves
    the attention only.
    """
    bag = torch.from_numpy(tiles.embeddings)[None]
    output = head(bag, torch.ones(bag.shape[:2], dtype=torch.bool))
    probabilities = (output.logits.double() / card.temperature).softmax(1)[0].numpy()
    scores = dict(zip(card.classes, probabilities.tolist(), strict=True))
    attention = output.attention[0].double().numpy()
    odds, shown = _tile_scores(output.tile_logits, card)
    relative = attention * len(attention)
    rank = (rankdata(attention, method="average") - 0.5) / len(attention) * 100
    verdict, is_uncertain = verdict_of(scores, card)
    prediction = {
        "prediction": verdict,
        "positive": card.positive,
        "scores": scores,
        "threshold": card.operating_point.threshold if card.operating_point else None,
        "uncertain": is_uncertain,
        "calibrated": card.calibrated,
        "n_tiles": len(tiles.coords),
        "n_invalid_tiles": len(tiles.invalid),
        "n_excluded_tiles": len(tiles.left_out.coords),
        "level0_mpp": float(tiles.attributes["level0_mpp"]),
        "notice": NOTICE,
    }
    channels = (*shown, ATTENTION, ATTENTION_PERCENTILE)
    return prediction, np.stack([*odds, relative, rank], axis=1), channels


def verdict_of(scores: Mapping[str, float], card: HeadCard) -> tuple[str, bool]:
    """The class a slide is called, and whether a person should look: by the operating point."""
    point = card.operating_point
    others = {c: s for c, s in scores.items() if c != card.positive}
    likeliest = max(others, key=others.__getitem__)
    if card.positive is None or point is None:
        return likeliest, False
    # As `decisive_odds`: a band may end at 0 or 1, and a score that is rounded to 1 lies within.
    score = float(np.clip(scores[card.positive], expit(-SUREST), expit(SUREST)))
    is_uncertain = bool(point.uncertain and point.uncertain[0] < score < point.uncertain[1])
    return card.positive if score >= point.threshold else likeliest, is_uncertain


def _tile_scores(
    tile_logits: torch.Tensor | None, card: HeadCard
) -> tuple[list[NDArray[np.float64]], list[Channel]]:
    """One class against the rest: the log-odds whose logistic is the softmax, (N,) a channel.

    They are divided by the head's temperature, as the slide's are.
    """
    if tile_logits is None:
        return [], []
    logits = tile_logits[0].double() / card.temperature
    temperature = card.temperature if card.calibrated else None
    shown = list(card.classes)
    if card.positive is not None:
        shown = [card.positive, *(c for c in card.classes[1:] if c != card.positive)]
    return [log_odds(logits, card.classes.index(c)).numpy() for c in shown], [
        score_channel(c, temperature=temperature) for c in shown
    ]
