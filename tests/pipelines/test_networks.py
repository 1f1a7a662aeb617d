"""Networks that do not fit their cards end a run before it begins, wherever that shows."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster.serial import SerialExecutor
from distill.errors import ModelError
from pipelines import networks
from pipelines.cohort.manifest import read_cohort
from pipelines.demo.alignment import write_colour_model
from pipelines.errors import UsageError
from pipelines.networks import read_networks
from pipelines.run import run_cohort
from pipelines.runfolder import INFO_NAME
from pipelines.settings.config import RunConfig
from pipelines.settings.defaults import default_networks
from wsi.atomic import digest
from wsi.plan import TileSpec


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_colour_model(folder, TileSpec(size_px=64, mpp=1.0))
    return folder


def test_the_cards_and_their_digests_are_what_run_json_says(model: Path) -> None:
    found = read_networks(RunConfig(model=model, teacher=default_networks()["teacher"]))
    assert found.models[""][0].tile.spec == TileSpec(size_px=64, mpp=1.0)
    said = found.describe()
    assert said["model"]["sha256"] == digest(model)
    assert said["teacher"]["licence"]
    assert said["segmenter"] is None


def test_weights_that_are_not_the_cards_are_refused_by_their_bytes(model: Path) -> None:
    card, weights = model / "model.toml", model / "encoder.safetensors"
    text = card.read_text().replace("[encoder]", f"[encoder]\nweights = '{weights.name}'")
    weights.write_bytes(b"these")
    card.write_text(text.replace("[encoder]", f"[encoder]\nsha256 = '{digest(weights)}'"))
    assert read_networks(RunConfig(model=model)).models
    weights.write_bytes(b"other")
    with pytest.raises(ModelError, match="its card says"):
        read_networks(RunConfig(model=model))
    weights.unlink()
    with pytest.raises(ModelError, match="weights are missing"):
        read_networks(RunConfig(model=model))


def test_a_teachers_weights_may_be_named_themselves(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(default_networks()["teacher"], teacher)
    card = read_networks(RunConfig(teacher=teacher)).teacher
    assert card is not None
    assert read_networks(RunConfig(teacher=teacher / card.weights)).teacher == card
    (teacher / card.weights).write_bytes(b"other")
    for given in (teacher, teacher / card.weights, teacher / "teacher.toml"):
        with pytest.raises(ModelError, match="its card says"):
            read_networks(RunConfig(teacher=given))


def test_workers_of_another_version_do_nothing(
    model: Path, synthetic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "code_version", lambda: "0.1+other")
    config = RunConfig(model=model, executor="serial")
    with pytest.raises(UsageError, match=r"worker has raypath 0\.1\+other, the driver has .*same"):
        run_cohort(read_cohort([synthetic.path]), tmp_path / "out", config, SerialExecutor())
    assert not (tmp_path / "out" / INFO_NAME).exists()


def test_what_only_loading_shows_ends_the_run_before_any_slide(
    model: Path, synthetic: Any, tmp_path: Path
) -> None:
    card = model / "model.toml"
    card.write_text(card.read_text().replace("dim = 3", "dim = 5", 1))
    config = RunConfig(model=model, executor="serial")
    read_networks(config)  # the files are as the card says
    with pytest.raises(ModelError, match="gives embeddings of 3, the card says 5"):
        run_cohort(read_cohort([synthetic.path]), tmp_path / "out", config, SerialExecutor())
    assert not (tmp_path / "out" / INFO_NAME).exists()
