"""A run that names no model: the one that comes with the package, or a word that none does."""

import tomllib
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from distill.card import TrainingCard, read_card
from distill.metrics import score
from distill.teachers.card import read_teacher_card
from distill.teachers.postprocess import Thresholds
from distill.teachers.read import read_labelled
from distill.teachers.teacher import build_net, load_teacher, save_teacher
from pipelines.cli.main import cli
from pipelines.cohort.manifest import read_cohort
from pipelines.demo.alignment import write_colour_model
from pipelines.errors import ConfigError, UsageError
from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.records import read_records
from pipelines.run import prepare
from pipelines.settings import defaults
from pipelines.settings.config import load_config
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default model in small: untrained teacher, and the mean colour for an encoder."""
    monkeypatch.setattr(defaults, "files", lambda package: tmp_path / package)
    folder = tmp_path / "models" / "default"
    write_colour_model(folder, TileSpec(size_px=128, mpp=0.5))
    save_teacher(
        build_net("mobilenetv3_small_050"),
        folder,
        architecture="mobilenetv3_small_050",
        mpp=0.5,
        thresholds=Thresholds(),
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
    )
    return folder


def test_it_is_looked_for_in_the_package() -> None:
    assert Path(str(files(defaults.PACKAGE))).name == "models"


def test_the_one_that_comes_with_the_package_may_be_passed_on() -> None:
    networks = defaults.default_networks()
    assert networks.keys() == {"teacher", "model"}
    for training in (
        read_teacher_card(networks["teacher"]).training,
        read_card(networks["model"]).training,
    ):
        assert "CC0" in training.data_licence
        assert "NC" not in training.data_licence
    weights = networks["teacher"].glob("*.safetensors")
    assert sum(file.stat().st_size for file in weights) < 60e6


def test_research_teachers_say_their_licence_and_are_not_installed() -> None:
    research = Path(__file__).parents[3] / "models" / "research"
    cards = sorted(research.glob("*/teacher.toml"))
    assert cards
    for card in cards:
        load_teacher(card.parent)
        assert "NC" in read_teacher_card(card.parent).licence
    assert sum(file.stat().st_size for file in research.rglob("*") if file.is_file()) < 60e6
    project = tomllib.loads((research.parents[1] / "pyproject.toml").read_text())
    installed = project["tool"]["setuptools"]["package-data"]["models"]
    models = research.parent
    assert not any(research in path.parents for like in installed for path in models.glob(like))


def test_it_finds_nuclei_of_organs_it_never_saw(shared_data: Path) -> None:
    teacher = load_teacher(defaults.default_networks()["teacher"])
    images = [i for i in read_labelled(shared_data / "monuseg", mpp=0.25) if i.complete]
    found = [teacher.segment(image.pixels, mpp=image.mpp) for image in images]
    scores = [score(i.instances, f) for i, f in zip(images, found, strict=True)]
    assert np.mean([s.dice for s in scores]) > 0.63  # its card says 0.683
    assert np.mean([s.pq for s in scores]) > 0.31  # 0.355


def test_without_one_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "files", lambda package: tmp_path / package)
    with pytest.raises(ConfigError, match=r"no model: .*default has no teacher.toml"):
        load_config(None, {})
    with pytest.raises(ConfigError, match=r"give --model DIR .*or --teacher DIR"):
        load_config(None, {})


def test_a_model_alone_finds_no_nuclei(default: Path) -> None:
    assert load_config(None, {"model": Path("m")}).teacher is None
    assert load_config(None, {"teacher": Path("t")}).model is None
    both = load_config(None, {})
    assert both.model == both.teacher == default


def test_a_teacher_alone_gives_nuclei_and_their_density(default: Path, tmp_path: Path) -> None:
    (default / "model.toml").unlink()
    slide = write_slide(tmp_path / "s.svs", Specimen(seed=4, width=900, height=900))
    out = tmp_path / "out"
    result = CliRunner().invoke(cli, ["run", str(slide), "-o", str(out), "--executor", "serial"])
    assert result.exit_code == 0, result.output
    (record,) = read_records(out / "slides.parquet")
    assert record.n_nuclei is not None
    assert not (out / "slides" / "s" / "tiles.h5").exists()
    heatmap = read_heatmap(out / "slides" / "s" / "heatmap.ome.zarr")
    assert [channel.name for channel in heatmap.channels] == ["nuclei_density"]


def test_a_stride_without_a_model_is_refused(default: Path, tmp_path: Path) -> None:
    config = load_config(None, {"teacher": default, "stride_px": 600, "executor": "serial"})
    entries = read_cohort([tmp_path / "s.svs"])
    with pytest.raises(UsageError, match="stride_px is the step between the tiles of a model"):
        prepare(entries, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def test_it_gives_nuclei_density_and_embeddings(default: Path, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.svs", Specimen(seed=4, width=900, height=900))
    out = tmp_path / "out"
    result = CliRunner().invoke(cli, ["run", str(slide), "-o", str(out), "--executor", "serial"])
    assert result.exit_code == 0, result.output
    (record,) = read_records(out / "slides.parquet")
    folder = out / "slides" / "s"
    assert record.n_nuclei is not None
    assert record.n_tiles
    with h5py.File(folder / "tiles.h5") as file:
        assert len(file["features"]) == record.n_tiles
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    assert [channel.name for channel in heatmap.channels] == ["nuclei_density"]
    assert heatmap.cell_level0_px == 128 * 0.5 / record.mpp  # the encoder's tiles
    page = (out / "report.html").read_text()
    assert f'"n_nuclei": {record.n_nuclei}' in page
    assert "nuclei density" in page
