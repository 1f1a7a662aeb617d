"""A training that is killed goes on where it was, to the same weights and predictions."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from distill.errors import ModelError
from pipelines.errors import UsageError
from pipelines.locks.folder import HeldError, held
from pipelines.mil import run, training
from pipelines.mil.job import MilJob
from pipelines.mil.run import read_job, train_mil
from pipelines.mil.training import HeadSettings
from wsi.atomic import digest

Make = Callable[..., Any]
# A head with dropout, which draws tiles anew for each step: three sources of chance.
SETTINGS = HeadSettings(
    kind="clam-sb", epochs=8, most_tiles=10, sizes={"hidden_dim": 16, "attention_dim": 8}
)
OF_THE_PROCESS = ("seconds", "peak_memory_bytes", "settings")


@pytest.fixture
def job(make_cohort: Make, tmp_path: Path) -> MilJob:
    files = make_cohort()
    return MilJob(
        features=files.features,
        labels=files.labels,
        out=tmp_path / "out",
        positive="tumour",
        settings=SETTINGS,
        folds=2,
        seeds=2,
    )


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)


def results(out: Path) -> dict[str, Any]:
    """Digests of everything a training leaves, and its summary but for time and memory."""
    found: dict[str, Any] = {p.name: digest(p) for p in out.iterdir() if p.name != "train.json"}
    summary = json.loads((out / "train.json").read_text())
    return found | {k: v for k, v in summary.items() if k not in OF_THE_PROCESS}


def test_killed_at_any_moment_it_comes_to_the_same(job: MilJob, tmp_path: Path) -> None:
    undisturbed = replace(job, out=tmp_path / "undisturbed")
    train_mil(undisturbed, read_job(undisturbed))
    program = (  # checkpoints after every epoch, which take long enough to be hit
        "import time; from pipelines.mil import training; training.CHECKPOINT_S = 0\n"
        "step = training._Training._step\n"
        "training._Training._step = lambda *given: (time.sleep(0.012), step(*given))[1]\n"
        "from pipelines.cli.main import cli; cli()"
    )
    sizes = [f"--size={name}={size}" for name, size in SETTINGS.sizes.items()]
    command = [
        *(sys.executable, "-c", program, "mil", "train", "--resume", *sizes),
        *("--features", str(job.features), "--labels", str(job.labels), "-o", str(job.out)),
        *("--positive", "tumour", "--head", "clam-sb", "--epochs", "8", "--most-tiles", "10"),
        *("--folds", "2", "--seeds", "2"),
    ]
    generator, killed, kept = random.Random(0), 0, job.out / ".training"
    for pattern in ("*.pt", "*.json", "fold-1-seed-0.pt", "fold-0-seed-1.pt"):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        while process.poll() is None and not list(kept.glob(pattern)):
            time.sleep(0.002)
        time.sleep(generator.random() * 0.1)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
    assert killed == 4
    assert not (job.out / "train.json").exists()
    first = (job.out / "fold-0-seed-0" / "head.safetensors").stat()
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert results(job.out) == results(undisturbed.out)
    again = (job.out / "fold-0-seed-0" / "head.safetensors").stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("stop", [1, 3, 7, 8])
def test_it_goes_on_after_an_epoch_or_a_head(
    job: MilJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    one = replace(job, seeds=1)
    undisturbed = replace(one, out=tmp_path / "undisturbed")
    train_mil(undisturbed, read_job(undisturbed))
    done = stop_in_epoch(monkeypatch, one, stop)
    go_on = replace(one, resume=True)
    train_mil(go_on, read_job(go_on))
    assert results(one.out) == results(undisturbed.out)
    assert len(done) == 2 * SETTINGS.epochs  # over both processes: none twice


@pytest.mark.usefixtures("every_epoch")
def test_stopped_after_the_last_epoch_it_is_scored_without_dropout(
    job: MilJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(job, seeds=1)
    undisturbed = replace(one, out=tmp_path / "undisturbed")
    train_mil(undisturbed, read_job(undisturbed))

    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(run, "bag_logits", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_mil(one, read_job(one))
    go_on = replace(one, resume=True)
    train_mil(go_on, read_job(go_on))
    assert results(one.out) == results(undisturbed.out)


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, job: MilJob, stop: int) -> list[int]:
    """Start a training that is interrupted at its epoch `stop`; gives the epochs done since."""
    epoch, done = training._Training._epoch, []

    def counted(self: Any, *given: Any) -> None:
        if len(done) == stop:
            done.append(-1)
            raise KeyboardInterrupt
        epoch(self, *given)
        done.append(len(self.tune_loss))

    monkeypatch.setattr(training._Training, "_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        train_mil(job, read_job(job))
    done.remove(-1)
    monkeypatch.setattr(training._Training, "_epoch", lambda s, *g: (epoch(s, *g), done.append(0)))
    return done


@pytest.mark.usefixtures("every_epoch")
def test_patience_counts_over_the_interruption(
    job: MilJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, epochs=60, patience=3, learning_rate=0.05)
    one = replace(job, seeds=1, settings=settings)
    undisturbed = replace(one, out=tmp_path / "undisturbed")
    summary = train_mil(undisturbed, read_job(undisturbed))
    first = summary["heads"][0]
    assert first["best_epoch"] + 3 == first["epochs"] < 60
    stop_in_epoch(monkeypatch, one, first["epochs"] - 1)
    go_on = replace(one, resume=True)
    train_mil(go_on, read_job(go_on))
    assert results(one.out) == results(undisturbed.out)


def change_data(job: MilJob) -> MilJob:
    with h5py.File(job.features / "s3.h5", "a") as file:
        file["features"][0, 0] += np.float32(1)
    return job


def change_order(job: MilJob) -> MilJob:
    with h5py.File(job.features / "s3.h5", "a") as file:
        file["features"][:] = file["features"][:][::-1]
    return job


def change_label(job: MilJob) -> MilJob:
    job.labels.write_text(job.labels.read_text().replace("s3,p1,tumour", "s3,p1,normal"))
    return job


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job: replace(job, settings=replace(SETTINGS, epochs=9)), "settings.epochs 8 inst"),
        (lambda job: replace(job, seeds=3), "seeds 2 instead of 3"),
        (lambda job: replace(job, split_seed=1), r"division\.fold 0 .* instead of"),
        (lambda job: replace(job, folds=3), r"division\.fold 2 None instead of"),
        (lambda job: replace(job, positive="normal"), "positive tumour instead of normal"),
        (change_data, r"slides\.s3 .* instead of"),
        (change_order, r"slides\.s3 .* instead of"),
        (change_label, r"slides\.s3 .* instead of"),
    ],
    ids=["epochs", "seeds", "split-seed", "folds", "positive", "data", "order", "label"],
)
@pytest.mark.usefixtures("every_epoch")
def test_other_data_or_settings_are_refused(
    job: MilJob,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[MilJob], MilJob],
    message: str,
) -> None:
    stop_in_epoch(monkeypatch, job, 2)
    before = digest(job.out)
    other = change(replace(job, resume=True))
    with pytest.raises(UsageError, match=f"--resume: .* holds another training .*{message}"):
        train_mil(other, read_job(other))
    assert digest(job.out) == before


@pytest.mark.usefixtures("every_epoch")
def test_without_resume_it_starts_anew(job: MilJob, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(job, seeds=1)
    done = stop_in_epoch(monkeypatch, one, 2)
    other = replace(one, settings=replace(SETTINGS, epochs=3))
    train_mil(other, read_job(other))
    assert len(done) == 2 + 2 * 3
    assert not (one.out / ".training").exists()


@pytest.mark.usefixtures("every_epoch")
def test_a_checkpoint_that_is_damaged_is_named(
    job: MilJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in_epoch(monkeypatch, job, 2)
    checkpoint = job.out / ".training" / "fold-0-seed-0.pt"
    torch.save({"head": {}}, checkpoint)
    go_on = replace(job, resume=True)
    with pytest.raises(ModelError, match=r"fold-0-seed-0\.pt does not continue this training"):
        train_mil(go_on, read_job(go_on))


def test_two_trainings_do_not_share_a_folder(job: MilJob) -> None:
    job.out.mkdir()
    with held(job.out), pytest.raises(HeldError):
        train_mil(job, read_job(job))
    assert not (job.out / run.SUMMARY_NAME).exists()
