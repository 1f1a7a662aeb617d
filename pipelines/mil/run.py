"""`raypath mil train`: a head for every fold and seed, and what each says of unseen slides.

OUT/
fold-0-seed-0/       head.safetensors, and head.toml, or model.toml and the encoder
predictions.parquet  logits of the tuning and test slides of every fold and seed
split.csv            side and tiles of every slide in every fold
train.json           settings, counts, losses, memory, versions
"""

import csv
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from distill.card import HeadFile, TrainingCard, write_toml
from distill.device import check_device
from pipelines.code_version import code_version
from pipelines.locks.folder import held
from pipelines.memory import measured_peak
from pipelines.mil.bags import bag_logits
from pipelines.mil.checkpoints import Finished, Kept
from pipelines.mil.cohort import Cohort, read_cohort
from pipelines.mil.division import TRAIN, Division
from pipelines.mil.embedded_by import model_of
from pipelines.mil.heads.registry import create_head
from pipelines.mil.job import MilJob
from pipelines.mil.predictions import PREDICTIONS_NAME, Prediction, write_predictions
from pipelines.mil.training import TrainedHead, train_head
from pipelines.model import Model, save_head, save_model
from pipelines.runfolder import NOTICE
from pipelines.training.resuming import refuse_finished
from wsi.atomic import replacing

HEAD_CARD_NAME = "head.toml"
SPLIT_NAME = "split.csv"
SUMMARY_NAME = "train.json"
LIBRARIES = ("torch", "scikit-learn", "h5py", "numpy")
SPLIT_COLUMNS = (
    "slide_id", "patient_id", "target", "fold", "split",
    "tiles", "not_finite", "invalid", "excluded",
)  # fmt: skip


def read_job(job: MilJob) -> Cohort:
    """Everything that can be wrong is found here, before anything is trained.

    Raises
    ------
    RayPathError
        See `pipelines.mil.cohort.read_cohort`; `UsageError` if `job.out` holds a training;
        `ModelError` if there is no such device or head, or `job.model` did not make the embeddings.
    """
    refuse_finished(job.out / SUMMARY_NAME)
    check_device(job.settings.device)
    cohort = read_cohort(
        job.features,
        job.labels,
        positive=job.positive,
        folds=job.folds,
        split=job.split,
        seed=job.split_seed,
        skip_missing=job.skip_missing,
        tiles_of=job.tiles_of,
    )
    dim = next(iter(cohort.features.values())).dim
    create_head(job.settings.kind, dim, len(cohort.classes), job.settings.sizes)
    model_of(job, cohort)
    return cohort


def train_mil(
    job: MilJob,
    cohort: Cohort,
    *,
    report: Callable[[int, str], None] = lambda done, line: None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train, predict and write everything; returns what stands in ``train.json``.

    `report` is called with the number of heads that are trained, and a line about the last;
    `say` with a line when it has to be waited for the folder, see `held`.

    What a killed training has done is kept, and gone on from with `job.resume`: the result is the
    same but for seconds and memory, which are of the last process.

    Raises
    ------
    ModelError
        If there is no such head, or `job.model` did not make the embeddings.
    TrainingError
        If a loss is no longer a number.
    UsageError
        If another process trains there, or `job.resume` finds another training.
    """
    started = time.perf_counter()
    job.out.mkdir(parents=True, exist_ok=True)
    with held(job.out, say=say), measured_peak() as peak:
        model = model_of(job, cohort)
        kept = Kept.begin(job, cohort, model_sha256=model.sha256 if model else None)
        heads: list[Finished] = []
        for seed in range(job.seeds):
            for division in cohort.divisions:
                name = f"fold-{division.fold}-seed-{seed}"
                finished = kept.finished(name)
                if finished is None:
                    trained, finished = _train(job, cohort, division, seed, kept.checkpoint(name))
                    with replacing(job.out / name) as tmp:
                        _save(tmp, job, cohort, trained, model)
                    kept.finish(name, finished)
                heads.append(finished)
                report(len(heads), f"{name}: tuning loss {min(finished.about['tune_loss']):.3f}")
        predictions = [said for head in heads for said in head.predictions]
        write_predictions(job.out / PREDICTIONS_NAME, predictions)
        _write_split(job.out / SPLIT_NAME, cohort)
        summary = {
            "notice": NOTICE,
            "settings": asdict(job),
            "classes": cohort.classes,
            "positive": cohort.positive,
            "counts": _counts(cohort),
            "heads": [head.about for head in heads],
            "seconds": round(time.perf_counter() - started, 1),
            "peak_memory_bytes": peak().rss_bytes,
            "raypath_version": version("raypath"),
            "code_version": code_version(),
            "versions": {name: version(name) for name in LIBRARIES},
        }
        with replacing(job.out / SUMMARY_NAME) as tmp:
            tmp.write_text(json.dumps(summary, indent=1, default=str))
        kept.remove()
    return summary


def _train(
    job: MilJob, cohort: Cohort, division: Division, seed: int, checkpoint: Path
) -> tuple[TrainedHead, Finished]:
    """Train one head, and ask it about the slides it did not learn from."""
    bags = cohort.bags(division)
    trained = train_head(
        bags,
        positive=cohort.positive,
        settings=job.settings,
        seed=seed,
        checkpoint=checkpoint,
    )
    said = [
        Prediction(
            slide=slide,
            fold=division.fold,
            seed=seed,
            split=bag.split,
            classes=trained.classes,
            logits=tuple(bag_logits(trained.head, bag.read()).tolist()),
        )
        for slide, bag in zip(cohort.slides, bags, strict=True)
        if bag.split != TRAIN
    ]
    return trained, Finished(about=_about(trained, division.fold, seed), predictions=said)


def _save(
    folder: Path, job: MilJob, cohort: Cohort, trained: TrainedHead, model: Model | None
) -> None:
    """Write a model that can be run, or a head alone where its encoder is not at hand."""
    training = TrainingCard(
        data=f"{job.labels.name}: {len(cohort.slides)} slides, those of one fold held out",
        data_licence=job.licence,
        method=f"{trained.kind} on frozen embeddings{_of_changed(cohort)}",
        measures={"tuning_loss": min(trained.tune_loss)},
    )
    if model:
        before = model.card.training
        both = TrainingCard(
            data=f"{before.data}; head: {training.data}",
            data_licence=f"{before.data_licence}; head: {training.data_licence}",
            method=f"{before.method}; head: {training.method}",
            measures=before.measures | training.measures,
        )
        card = model.card.model_copy(update={"training": both})
        save_model(folder, card, model.encoder, trained)
        return
    folder.mkdir()
    features = next(iter(cohort.features.values()))
    write_toml(
        folder / HEAD_CARD_NAME,
        HeadFile(
            encoder=features.encoder,
            encoder_sha256=features.encoder_sha256,
            dim=features.dim,
            head=save_head(folder, trained),
            training=training,
        ),
    )


def _of_changed(cohort: Cohort) -> str:
    changed = ", ".join(cohort.preprocess)
    return f" of tiles changed by {changed} (--preprocess)" if changed else ""


def _about(trained: TrainedHead, fold: int, seed: int) -> dict[str, Any]:
    return {
        "fold": fold,
        "seed": seed,
        "kind": trained.kind,
        "sizes": trained.head.sizes,
        "epochs": len(trained.tune_loss),
        "best_epoch": int(np.argmin(trained.tune_loss)) + 1,
        "train_loss": trained.train_loss,
        "tune_loss": trained.tune_loss,
        "threshold": trained.threshold,
    }


def _counts(cohort: Cohort) -> dict[str, Any]:
    """How much entered, and how much did not."""
    used = [cohort.features[slide.slide_id] for slide in cohort.slides]
    return {
        "slides": len(cohort.slides),
        "patients": cohort.patients,
        "patient_column": cohort.patient_column,
        "slides_of_class": dict(Counter(slide.target for slide in cohort.slides)),
        "slides_without_features": list(cohort.without_features),
        "slides_without_tiles": list(cohort.without_tiles),
        "files_without_label": cohort.unlabelled,
        "tiles": sum(of.tiles for of in used),
        "tiles_of_largest_bag": max(of.tiles for of in used),
        "tiles_not_finite": sum(of.not_finite for of in used),
        "tiles_invalid": sum(of.invalid for of in used),
        "tiles_excluded": sum(of.excluded for of in used),
    }


def _write_split(path: Path, cohort: Cohort) -> None:
    with replacing(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(SPLIT_COLUMNS)
        for division in cohort.divisions:
            for slide, side in zip(cohort.slides, division.sides, strict=True):
                of = cohort.features[slide.slide_id]
                who = (slide.slide_id, slide.patient_id, slide.target)
                tiles = (of.tiles, of.not_finite, of.invalid, of.excluded)
                rows.writerow((*who, division.fold, side, *tiles))
