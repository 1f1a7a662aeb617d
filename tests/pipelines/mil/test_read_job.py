"""What cannot be trained is said before anything is, and what the tiles were is not forgotten."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distill.card import HeadFile, ModelCard, TileCard, TrainingCard, read_toml
from distill.checkpoint import save_encoder
from distill.encoders import create_backbone, encoder_of
from distill.errors import ModelError
from pipelines.errors import FeaturesError
from pipelines.mil.job import MilJob
from pipelines.mil.run import HEAD_CARD_NAME, read_job, train_mil
from pipelines.mil.training import HeadSettings
from pipelines.model import save_model
from wsi.plan import TileSpec


@pytest.fixture
def job(make_cohort: Callable[..., Any], tmp_path: Path) -> MilJob:
    files = make_cohort(24)
    return MilJob(
        features=files.features,
        labels=files.labels,
        out=tmp_path / "out",
        positive="tumour",
        settings=HeadSettings(kind="mean", epochs=1),
        folds=2,
    )


def describe_tiles(features: Path, **attributes: Any) -> None:
    """Say of the tiles what a run says."""
    for path in features.glob("*.h5"):
        with h5py.File(path, "a") as file:
            file["coords"].attrs.update(patch_size=32, mpp=0.5, preprocess="[]")
            file["coords"].attrs.update(attributes)


def write_model(folder: Path, features: Path, spec: TileSpec) -> Path:
    """A model of these tiles, and embeddings as long as its own."""
    encoder = encoder_of(
        create_backbone("resnet10t", seed=0), identifier="made", spec=spec, licence="CC0"
    )
    folder.mkdir()
    card = ModelCard(
        encoder=save_encoder(encoder, folder, architecture="resnet10t"),
        tile=TileCard(size_px=spec.size_px, mpp=spec.mpp),
        training=TrainingCard(data="noise", data_licence="CC0", method="none"),
    )
    save_model(folder, card, encoder)
    for path in features.glob("*.h5"):
        with h5py.File(path, "a") as file:
            rows = file["features"][:]
            del file["features"]
            file["features"] = np.repeat(rows, encoder.dim // rows.shape[1], axis=1)
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "gpu"}, "no device is called 'gpu'"),
        ({"kind": "abmil"}, "no head is called 'abmil'"),
        ({"sizes": {"width": 3}}, "has no size 'width'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    job: MilJob, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        read_job(replace(job, settings=replace(job.settings, **changes)))
    assert not job.out.exists()


def test_a_model_of_other_tiles_did_not_make_the_embeddings(job: MilJob, tmp_path: Path) -> None:
    describe_tiles(job.features)
    same = write_model(tmp_path / "m", job.features, TileSpec(size_px=32, mpp=0.5))
    read_job(replace(job, model=same))
    describe_tiles(job.features, mpp=2.0)
    with pytest.raises(ModelError, match=r"of tiles of 32 px at 2 µm, .* takes 32 px at 0\.5"):
        read_job(replace(job, model=same))


def test_that_tiles_were_changed_stays_with_the_head(job: MilJob) -> None:
    """It learned from normalised tiles, and means nothing on others."""
    describe_tiles(job.features, preprocess='[{"name": "macenko"}]')
    cohort = read_job(job)
    assert cohort.preprocess == ("macenko",)
    train_mil(job, cohort)
    card = read_toml(job.out / "fold-0-seed-0" / HEAD_CARD_NAME, HeadFile, made_by="")
    assert "of tiles changed by macenko" in card.training.method


def test_slides_of_which_some_were_changed_do_not_go_together(job: MilJob) -> None:
    describe_tiles(job.features)
    with h5py.File(next(job.features.glob("*.h5")), "a") as file:
        file["coords"].attrs["preprocess"] = '[{"name": "macenko"}]'
    with pytest.raises(FeaturesError, match=r"tiles of several kinds: .*changed by macenko"):
        read_job(job)
