"""Measures, intervals and paired differences, from the rows of predictions alone."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.pretraining.candidates import OURS
from distill.downstream import statistics
from distill.downstream.statistics import Floats

SETTING = ("task", "probe", "fraction", "architecture")  # what a fair comparison holds fixed
COMPARED = (
    "balanced_accuracy",
    "auroc",
    "dice",
    "aji",
    "mean_iou",
)  # measures that differences are tested on
BOOTSTRAP_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A method on a task: each measure for every weighting of the patients, (1 + R,).

    Attributes
    ----------
    key
        Values of `SETTING`.
    seeds
        Pairs of pretraining seed and probe seed.
    spread
        Standard deviation of each measure over pretraining seeds; empty with one seed.
    n_patients
        0 where they are not told.
    samples
        Digest of (probe seed, fold, sample), equal for methods that can be paired; None where the
        pretraining seeds differ in it.
    """

    key: tuple[Any, ...]
    objective: str
    seeds: int
    encoder_seeds: int
    n_samples: int
    n_patients: int
    values: Mapping[str, Floats]
    spread: Mapping[str, float]
    samples: int | None


def measure(rows: pd.DataFrame, *, resamples: int) -> list[Measured]:
    """Measure every method in the predictions, overlaps or regions of one or more tasks.

    Counts (accuracy, balanced accuracy, macro-F1, Dice, mean IoU) are pooled over seeds and folds;
    AUROC, which compares scores of one probe, is computed a seed and averaged.
    """
    return [m for _, task in rows.groupby("task", observed=True) for m in _task(task, resamples)]


def _task(rows: pd.DataFrame, resamples: int) -> Iterator[Measured]:
    # Where patients are not told, each sample is drawn by itself.
    owners = rows["patient_id"].astype(object).fillna(rows["sample_id"].astype(object))
    names, patients = np.unique(owners.to_numpy(str), return_inverse=True)
    rows = rows.assign(patient=patients)
    # The same weights for all methods of a task, so that their differences are paired.
    weights = statistics.patient_weights(len(names), resamples=resamples, seed=BOOTSTRAP_SEED)
    for key, group in rows.groupby([*SETTING, "objective"], observed=True):
        assert isinstance(key, tuple)
        each = {
            int(seed): _measures(part, weights)
            for seed, part in group.groupby("encoder_seed", observed=True)
        }
        measures = list(next(iter(each.values())))
        values = {m: np.mean([v[m] for v in each.values()], axis=0) for m in measures}
        spread = (
            {m: float(np.std([v[m][0] for v in each.values()], ddof=1)) for m in measures}
            if len(each) > 1
            else {}
        )
        samples = {_digest(part) for _, part in group.groupby("encoder_seed", observed=True)}
        yield Measured(
            key=key[:-1],
            objective=str(key[-1]),
            seeds=len(group[["encoder_seed", "seed"]].drop_duplicates()),
            encoder_seeds=len(each),
            n_samples=group["sample_id"].nunique(),
            n_patients=group["patient_id"].nunique(),
            values=values,
            spread=spread,
            samples=samples.pop() if len(samples) == 1 else None,
        )


def _digest(rows: pd.DataFrame) -> int:
    """Equal for the same probe seeds, folds and samples, in any order."""
    identity = rows[["seed", "fold", "sample_id"]].astype(str)
    return int(pd.util.hash_pandas_object(identity, index=False).sum())


def _measures(rows: pd.DataFrame, weights: Floats) -> dict[str, Floats]:
    patients = rows["patient"].to_numpy()
    if "both_px" in rows:
        both = rows["predicted_px"] + rows["actual_px"]
        # An image without nuclei in which none is seen is right. Dice counts pixels, AJI nuclei: a
        # few pixels are no nucleus, so that Dice is 0 where AJI is not defined.
        dice = np.where(both > 0, 2 * rows["both_px"] / both.clip(lower=1), 1.0)
        aji = rows["aji"].fillna(1.0).to_numpy(float)
        return {
            "dice": statistics.weighted_mean(dice, patients, weights),
            "aji": statistics.weighted_mean(aji, patients, weights),
        }
    if "confusion" in rows:
        counts = np.stack(list(rows["confusion"])).astype(float)
        by_patient = np.zeros((weights.shape[1], counts.shape[1]))
        np.add.at(by_patient, patients, counts)
        edge = math.isqrt(counts.shape[1])
        matrices = (weights @ by_patient).reshape(-1, edge, edge)
        return {"mean_iou": statistics.mean_iou(matrices)}
    classes = [str(name) for name in rows["classes"].iloc[0]]
    targets, predicted = (_codes(rows[column], classes) for column in ("target", "predicted"))
    matrices = statistics.confusions(targets, predicted, patients, weights, n_classes=len(classes))
    # An episode of few shots is a classifier of its own; the folds of a seed are taken for one.
    of_one = rows["fold"] if rows["probe"].iloc[0].startswith("few-shot") else rows["fold"] * 0
    fitted = rows.groupby([rows["seed"], of_one]).ngroup().to_numpy()
    probs = np.stack(list(rows["prob"]))
    areas = [
        statistics.macro_auroc(targets[at], probs[at], patients[at], weights)
        for at in (fitted == number for number in np.unique(fitted))
    ]
    return {
        "balanced_accuracy": statistics.balanced_accuracy(matrices),
        "auroc": statistics.mean_present(np.stack(areas, axis=1)),
        "accuracy": statistics.accuracy(matrices),
        "macro_f1": statistics.macro_f1(matrices),
    }


def _codes(names: "pd.Series[str]", classes: list[str]) -> NDArray[np.int64]:
    return np.asarray(pd.Categorical(names, categories=classes).codes, np.int64)


def score_table(measured: list[Measured]) -> pd.DataFrame:
    """One row a method and measure: value, interval, spread over pretraining seeds, numbers."""
    rows = []
    for m in measured:
        for name, values in m.values.items():
            interval = statistics.interval(values)
            rows.append(
                dict(zip(SETTING, m.key, strict=True))
                | {
                    "objective": m.objective,
                    "measure": name,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "seed_sd": m.spread.get(name, np.nan),
                    "encoder_seeds": m.encoder_seeds,
                    "seeds": m.seeds,
                    "samples": m.n_samples,
                    "patients": m.n_patients,
                }
            )
    return pd.DataFrame(rows)


def difference_table(measured: list[Measured]) -> pd.DataFrame:
    """RCKD minus each other objective, on the same samples, with Holm-corrected p.

    The family that Holm's correction counts is all differences of one measure with one probe and
    one share of the labels: every task, architecture and other objective.
    """
    ours = {m.key: m for m in measured if m.objective == OURS}
    rows = []
    for other in measured:
        mine = ours.get(other.key)
        if mine is None or other is mine:
            continue
        # Methods that did not predict the same samples (a run that is not finished) do not pair,
        # nor does one whose pretraining seeds did not: its values are the mean over all of them.
        if mine.samples is None or mine.samples != other.samples:
            continue
        for name in set(COMPARED) & set(mine.values):
            found = statistics.difference(mine.values[name], other.values[name])
            rows.append(
                dict(zip(SETTING, other.key, strict=True))
                | {
                    "other": other.objective,
                    "measure": name,
                    "difference": found.interval.value,
                    "low": found.interval.low,
                    "high": found.interval.high,
                    "p": found.p,
                }
            )
    columns = [*SETTING, "other", "measure", "difference", "low", "high", "p", "p_holm"]
    frame = pd.DataFrame(rows, columns=columns)
    for _, family in frame.groupby(["measure", "probe", "fraction"], observed=True):
        frame.loc[family.index, "p_holm"] = statistics.holm(family["p"].tolist())
    return frame.sort_values(["measure", *SETTING, "other"], ignore_index=True)
