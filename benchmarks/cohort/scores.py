"""Measures of slides and of heatmaps, intervals over patients, and paired differences.

| measure | of what |
|---|---|
| slide_auroc | slides; the test slides of a division pooled, as `raypath mil evaluate` has it |
| tile_auroc | tiles of all test slides of a division, by the score of the positive class |
| model_tile_auroc | the same for the tiles of each fold alone, so of one head: mean over folds |
| score_within_slide | tiles of a slide that shows both classes, by that score: mean over slides |
| attention_within_slide | the same by attention; a head that has none has no such row |

All are computed a division and averaged over divisions; model_tile_auroc over all folds of all
divisions that have both kinds of tile, each counting alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.cohort.control import ARCHITECTURE
from benchmarks.cohort.measure import TILES_NAME, heads_folder
from benchmarks.cohort.plan import MALIGNANT
from benchmarks.pretraining.candidates import OURS, Candidate
from benchmarks.speed.measure import BenchmarkError
from distill.downstream import statistics
from distill.downstream.statistics import Floats
from pipelines.mil.evaluation.criterion import parse_criterion
from pipelines.mil.evaluation.operating_point import freeze
from pipelines.mil.evaluation.predictions import read_predictions
from pipelines.mil.evaluation.scored import Scored, over_seeds, score_test

FEWEST_PATIENTS = 5  # a bootstrap of fewer says nothing
UNIFORM = 1e-6  # attention that differs by less is the same for all tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A head on an encoder's embeddings.

    Attributes
    ----------
    values
        By measure: (1 + R,) for every weighting of the patients, see `statistics`.
    patients
        By measure, how many patients it speaks of.
    slides
        A row a test slide and division: ids, target, log-odds of the slide, and of the slides
        that show both classes the AUROC of their tiles by score and by attention.
    tiles
        Which tiles were judged by which fold; equal for what can be paired.
    """

    encoder: str
    objective: str
    architecture: str
    head: str
    values: Mapping[str, Floats]
    patients: Mapping[str, int]
    slides: pd.DataFrame
    tiles: int


def measure(candidate: Candidate, head: str, out: Path, *, resamples: int) -> Measured:
    """Measure what `benchmarks.cohort.measure` left.

    Raises
    ------
    PredictionsError
        If there is nothing, or nothing that can be measured.
    """
    folder = heads_folder(out, candidate.name, head)
    predictions = read_predictions(folder)
    frozen = freeze(
        predictions,
        positive=predictions.classes.index(MALIGNANT),
        criterion=parse_criterion("youden"),
        error=0.05,
    )
    scored = score_test(predictions, frozen)
    names = np.unique(scored.test.patient_ids)
    weights = statistics.patient_weights(len(names), resamples=resamples)
    tiles = pd.read_parquet(folder / TILES_NAME)
    tiles["patient"] = np.searchsorted(names, tiles["patient_id"].to_numpy(str))
    within = _within_slides(tiles)

    def area(part: Scored) -> Floats:
        return statistics.auroc(part.truth, part.score, part.patients, weights)

    values = {
        "slide_auroc": over_seeds(scored, area)[0],
        "tile_auroc": _pooled(tiles, ["division"], weights),
        "model_tile_auroc": _pooled(tiles, ["division", "fold"], weights),
    }
    patients = dict.fromkeys(values, len(names))
    for column in ("score", "attention"):
        rows = within[within[column].notna()]
        if len(rows):
            name = f"{column}_within_slide"
            owners = rows["patient"].to_numpy()
            values[name] = statistics.weighted_mean(rows[column].to_numpy(), owners, weights)
            patients[name] = len(np.unique(owners))
    identity = tiles[["division", "fold", "slide_id", "x", "y"]]
    return Measured(
        encoder=candidate.name,
        objective=candidate.objective,
        architecture=candidate.architecture,
        head=head,
        values=values,
        patients=patients,
        slides=_slide_rows(scored, within, candidate.name, head),
        tiles=int(pd.util.hash_pandas_object(identity, index=False).sum()),
    )


def _pooled(tiles: pd.DataFrame, by: list[str], weights: Floats) -> Floats:
    """AUROC of the score over the tiles of each group that has both kinds, averaged."""
    areas = [
        statistics.auroc(
            group["is_malignant"].to_numpy(),
            group["score"].to_numpy(),
            group["patient"].to_numpy(),
            weights,
        )
        for _, group in tiles.groupby(by)
        if group["is_malignant"].nunique() == 2
    ]
    return statistics.mean_present(np.stack(areas, axis=1))


def _within_slides(tiles: pd.DataFrame) -> pd.DataFrame:
    """AUROC of the tiles of each slide and division that shows both classes."""
    rows = []
    for (division, slide_id), group in tiles.groupby(["division", "slide_id"]):
        truth = group["is_malignant"].to_numpy()
        if truth.all() or not truth.any():
            continue
        attention = group["attention"].to_numpy()
        areas = {"score": roc_auc_score(truth, group["score"]), "attention": np.nan}
        if np.ptp(attention) > UNIFORM:
            areas["attention"] = roc_auc_score(truth, attention)
        patient = group["patient"].iloc[0]
        rows.append({"division": division, "slide_id": slide_id, "patient": patient} | areas)
    return pd.DataFrame(rows, columns=["division", "slide_id", "patient", "score", "attention"])


def _slide_rows(scored: Scored, within: pd.DataFrame, encoder: str, head: str) -> pd.DataFrame:
    test = scored.test
    slides = pd.DataFrame(
        {
            "encoder": encoder,
            "head": head,
            "division": test.seeds,
            "fold": test.folds,
            "slide_id": test.slide_ids,
            "patient_id": test.patient_ids,
            "target": np.asarray(test.classes)[test.targets],
            "log_odds": scored.score,
        }
    )
    areas = within.drop(columns="patient").rename(
        columns={"score": "tile_auroc_score", "attention": "tile_auroc_attention"}
    )
    return slides.merge(areas, on=["division", "slide_id"], how="left")


def score_table(measured: Sequence[Measured]) -> pd.DataFrame:
    """One row an encoder, head and measure; no interval where there are too few patients."""
    rows = []
    for m in measured:
        for name, values in m.values.items():
            found = statistics.interval(values)
            enough = m.patients[name] >= FEWEST_PATIENTS
            rows.append(
                {
                    "encoder": m.encoder,
                    "head": m.head,
                    "measure": name,
                    "value": found.value,
                    "low": found.low if enough else np.nan,
                    "high": found.high if enough else np.nan,
                    "patients": m.patients[name],
                }
            )
    return pd.DataFrame(rows)


def difference_table(measured: Sequence[Measured]) -> pd.DataFrame:
    """RCKD minus others of its architecture and the control: same head, tiles and resamples.

    Holm's correction counts all differences of one measure.

    Raises
    ------
    BenchmarkError
        If two encoders were not shown the same tiles.
    """
    rows = []
    for ours in (m for m in measured if m.objective == OURS):
        for other in measured:
            is_fair = other.architecture in (ours.architecture, ARCHITECTURE)
            if other.objective == OURS or other.head != ours.head or not is_fair:
                continue
            if other.tiles != ours.tiles:
                raise BenchmarkError(
                    f"{ours.encoder} and {other.encoder} were shown other tiles, or in other folds"
                )
            rows += _differences(ours, other)
    columns = ["encoder", "other", "head", "measure", "difference", "low", "high", "p", "p_holm"]
    frame = pd.DataFrame(rows, columns=columns)
    for _, family in frame.groupby("measure"):
        frame.loc[family.index, "p_holm"] = statistics.holm(family["p"].tolist())
    return frame


def _differences(ours: Measured, other: Measured) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in ours.values:
        if ours.patients[name] < FEWEST_PATIENTS:
            continue
        found = statistics.difference(ours.values[name], other.values[name])
        rows.append(
            {
                "encoder": ours.encoder,
                "other": other.encoder,
                "head": ours.head,
                "measure": name,
                "difference": found.interval.value,
                "low": found.interval.low,
                "high": found.interval.high,
                "p": found.p,
            }
        )
    return rows
