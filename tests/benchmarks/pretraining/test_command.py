"""`raypath benchmark pretraining` and `report` as they are typed."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from distill.card import ModelCard, TileCard, TrainingCard, write_card
from distill.checkpoint import save_encoder
from distill.encoders import create_encoder
from pipelines.cli.main import cli
from pipelines.errors import UsageError
from wsi.plan import TileSpec


def test_from_encoders_to_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / "colour-mean-colour"
    encoder = create_encoder("mean-colour", spec=TileSpec(size_px=64, mpp=0.5))
    card = save_encoder(encoder, folder, architecture="mean-colour")
    training = TrainingCard(data="none", data_licence="none", method="none")
    write_card(
        folder, ModelCard(encoder=card, tile=TileCard(size_px=64, mpp=0.5), training=training)
    )
    images = tmp_path / "data" / "crc_val_sample"
    images.mkdir(parents=True)
    for number in range(20):
        shade = 60 + 100 * (number % 2) + number
        name = f"{('ADI', 'TUM')[number % 2]}___{number}.png"
        Image.new("RGB", (64, 64), (shade, shade, 90)).save(images / name)
    out = tmp_path / "out"
    arguments = ["benchmark", "pretraining", str(folder.parent), "-o", str(out), "--seeds", "1"]
    data = ["--data", str(tmp_path / "data")]
    run = CliRunner().invoke(cli, [*arguments, *data, "--probe", "linear", "--fraction", "1"])
    assert run.exit_code == 0, run.output
    report = CliRunner().invoke(cli, ["benchmark", "report", str(out), "--resamples", "100"])
    assert report.exit_code == 0, report.output
    # Two shades that do not overlap are told apart.
    assert "| colour, mean-colour | 100% | 1.000 (1.000-1.000) |" in report.output


def test_an_unknown_probe_is_refused(tmp_path: Path) -> None:
    arguments = ["benchmark", "pretraining", str(tmp_path), "--data", str(tmp_path)]
    run = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path), "--probe", "knm"])
    assert isinstance(run.exception, UsageError)
    with pytest.raises(UsageError, match="no probe is called knm: one of knn, linear"):
        raise run.exception


@pytest.mark.parametrize("fraction", ["0", "5", "-0.1", "nan"])
def test_a_share_of_the_labels_is_one(tmp_path: Path, fraction: str) -> None:
    arguments = ["benchmark", "pretraining", str(tmp_path), "--data", str(tmp_path)]
    run = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path), "--fraction", fraction])
    assert isinstance(run.exception, UsageError)
    with pytest.raises(UsageError, match=f"--fraction {fraction}: more than 0, up to 1, is wanted"):
        raise run.exception
