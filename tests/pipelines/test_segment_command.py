"""`raypath segment train` and `evaluate`: on a folder, on GlaS, and what is wrong said."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.segmentation.card import read_segmenter_card
from distill.teachers.watch import CHECKPOINT_NAME
from pipelines.cli.main import cli
from pipelines.errors import UsageError
from pipelines.locks.folder import HeldError, held
from tests.distill.segmentation.made import write_folder, write_glas

SMALL = ("--encoder", "mobilenetv3_small_050", "--steps", 2, "--batch-size", 2, "--crop-px", 64,
         "--workers", 0)  # fmt: skip


def run(*arguments: object) -> tuple[str, str]:
    words = ["segment", *map(str, arguments)]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_glas_by_its_own_split(tmp_path: Path) -> None:
    glas, out = write_glas(tmp_path / "glas", 8), tmp_path / "out"
    run("train", "--data", glas, "--split", "train", "-o", out, "--validation", 0.34,
        "--network", "fpn", "--name", "glands", *SMALL)  # fmt: skip
    card = read_segmenter_card(out)
    assert (card.name, card.decoder, card.classes) == ("glands", "fpn", ("background", "gland"))
    assert card.training.data_licence == "research use only"
    assert card.mpp == pytest.approx(0.62, abs=0.001)
    asked = ("evaluate", "--images", glas, "--weights", out, "--split", "test")
    answer = json.loads(run(*asked, "--json")[0])
    assert [of["image"] for of in answer["images"]] == [f"testA_{n}" for n in (1, 3, 5, 7)]
    assert answer["background"] == "background"
    assert 0 <= answer["miou"]["value"] <= 1
    assert answer["miou"]["low"] <= answer["miou"]["value"] <= answer["miou"]["high"]
    assert answer["object_f1"]["gland"].keys() == {"value", "low", "high"}
    assert any(of["seen_in_training"] for of in answer["images"])  # GlaS shares its patients
    out_text, err_text = run(*asked)
    assert "mIoU of all 2 classes, background included" in out_text
    assert f"{answer['miou']['value']:.3f}" in out_text
    assert "the numbers are too good" in err_text
    with_distance = answer["object_hausdorff_images"]["gland"]
    with_objects = answer["object_images"]["gland"]
    assert 0 <= with_distance <= with_objects == 4
    assert f"of {with_distance} of {with_objects} images" in out_text


def test_two_trainings_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    data, out = write_folder(tmp_path / "data", 6), tmp_path / "out"
    out.mkdir()
    checkpoint = out / CHECKPOINT_NAME
    checkpoint.touch()
    with held(out), pytest.raises(HeldError, match="choose another folder"):
        run("train", "--data", data, "-o", out, "--image-mpp", 0.5, *SMALL)
    assert checkpoint.exists()


def test_a_folder_with_images_to_learn_from_unlabelled(tmp_path: Path) -> None:
    data, out = write_folder(tmp_path / "data", 6), tmp_path / "out"
    more = write_folder(tmp_path / "more", 8) / "images"  # the six of `data`, and two of patient p3
    train = ("train", "--data", data, "-o", out, "--image-mpp", 0.5, "--validation", 0.34,
             "--pseudo-label", more, "--rounds", 1, "--confidence", 0.5, "--licence", "CC0",
             *SMALL)  # fmt: skip
    _, said = run(*train)
    assert "2 of 8 images" in said  # of the held-out patient
    assert "round 1: 6 of 6 images" in said
    assert "round 1: held-out mIoU" in said
    assert (out / "rounds.csv").is_file()
    assert read_segmenter_card(out).training.data_licence == "CC0"
    for other in (("--seed", 1), ("--confidence", 0.6)):
        with pytest.raises(UsageError, match="holds another training"):
            run(*train, *other, "--resume")
    split = (out / "split.csv").read_text()
    with pytest.raises(UsageError, match=r"holds a finished training \(segmenter\.toml\)"):
        run(*train)
    run(*train, "--resume")
    assert (out / "split.csv").read_text() == split
    answer = json.loads(
        run("evaluate", "--images", more.parent, "--weights", out, "--image-mpp", 0.5, "--json")[0]
    )
    assert [of["image"] for of in answer["images"] if of["case"] == "p3"] == ["6", "7"]
    assert all(of["seen_in_training"] for of in answer["images"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "nothing says how large a pixel"),
        (("--image-mpp", 0.5, "--network", "transformer"), "known are unet, fpn"),
        (("--image-mpp", 0.5, "--decoder", "old"), "known are fresh, kept"),
        (("--image-mpp", 0.5, "--crop-px", 50), "multiple of 32"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, more: tuple[object, ...], message: str
) -> None:
    data = write_folder(tmp_path / "data", 2)
    with pytest.raises(UsageError, match=message):
        run("train", "--data", data, "-o", tmp_path / "out", "--steps", 1, *more)
