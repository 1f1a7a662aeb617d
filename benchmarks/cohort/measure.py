"""Every encoder on the cohort: `raypath run`, then heads by patient-wise folds, as people do it.

OUT/
slides/                       the cohort, see `benchmarks.cohort.make`
runs/<encoder>/               of `raypath run`: embeddings without a head
heads/<encoder>/<head>/       division-<s>/ of `raypath mil train`, one a division of the patients;
                              predictions.parquet, all of them; tiles.parquet, see `tiles`;
                              evaluation/ of `raypath mil evaluate`
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cohort.make import MANIFEST_NAME
from benchmarks.cohort.plan import MALIGNANT
from benchmarks.cohort.tiles import write_tile_scores
from benchmarks.pretraining.candidates import Candidate
from benchmarks.speed.measure import BenchmarkError
from distill.downstream.loaders.glas import LICENCE
from pipelines.mil.job import MilJob
from pipelines.mil.predictions import PREDICTIONS_NAME
from pipelines.mil.run import SUMMARY_NAME, read_job, train_mil
from pipelines.mil.training import HeadSettings
from wsi.atomic import replacing

TILES_NAME, EVALUATION_NAME, SLIDES_NAME = "tiles.parquet", "evaluation", "slides"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is measured of each encoder: heads, divisions of the patients, and folds of each."""

    heads: tuple[str, ...] = ("mean", "gated-abmil")
    divisions: int = 5
    folds: int = 5
    epochs: int = 40


def measure_encoder(candidate: Candidate, out: Path, protocol: Protocol, say: Say) -> None:
    """Run what is not there yet.

    Raises
    ------
    BenchmarkError
        If `raypath run` or `raypath mil evaluate` fails, or heads were trained otherwise before.
    RayPathError
        As `pipelines.mil.run.train_mil`.
    """
    features = out / "runs" / candidate.name
    manifest = out / SLIDES_NAME / MANIFEST_NAME
    run = ["run", str(manifest), "-o", str(features), "--model", str(candidate.folder)]
    _raypath(*run, "--executor", "serial")
    say(f"{candidate.name}: embedded")
    for kind in protocol.heads:
        folder = heads_folder(out, candidate.name, kind)
        for division in range(protocol.divisions):
            _train(features, manifest, folder, kind, division, protocol)
        _join(folder, protocol.divisions)
        write_tile_scores(
            folder / TILES_NAME, features, out / SLIDES_NAME, trainings(folder, protocol.divisions)
        )
        evaluate = ["mil", "evaluate", str(folder), "-o", str(folder / EVALUATION_NAME)]
        _raypath(*evaluate, "--positive", MALIGNANT)
        say(f"{candidate.name}, {kind}: {protocol.divisions} divisions")


def heads_folder(out: Path, encoder: str, head: str) -> Path:
    """Where everything about the heads of one kind on an encoder's embeddings is."""
    return out / "heads" / encoder / head


def trainings(folder: Path, divisions: int) -> list[Path]:
    """The folder of each division."""
    return [folder / f"division-{number}" for number in range(divisions)]


def _train(
    features: Path, manifest: Path, folder: Path, kind: str, division: int, protocol: Protocol
) -> None:
    job = MilJob(
        features=features,
        labels=manifest,
        out=trainings(folder, division + 1)[-1],
        positive=MALIGNANT,
        settings=HeadSettings(kind=kind, epochs=protocol.epochs),
        folds=protocol.folds,
        split_seed=division,
        licence=LICENCE,
    )
    if not (job.out / SUMMARY_NAME).exists():
        train_mil(job, read_job(job))
        return
    was = json.loads((job.out / SUMMARY_NAME).read_text())["settings"]
    if was != json.loads(json.dumps(asdict(job), default=str)):
        raise BenchmarkError(f"{job.out} holds a training with other settings: name another folder")


def _join(folder: Path, divisions: int) -> None:
    """Predictions of all divisions in one table, where a division is a seed."""
    tables = []
    for number, training in enumerate(trainings(folder, divisions)):
        table = pq.read_table(training / PREDICTIONS_NAME)
        seeds = pa.array([number] * len(table), table.schema.field("seed").type)
        at = table.schema.get_field_index("seed")
        tables.append(table.set_column(at, "seed", seeds))
    with replacing(folder / PREDICTIONS_NAME) as tmp:
        pq.write_table(pa.concat_tables(tables), tmp, compression="zstd")


def _raypath(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("raypath")), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
