"""`raypath teacher`: train on a folder, measure on it, and say what is wrong."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from distill.errors import LabelledDataError, ModelError
from distill.metrics import SCORE_NAMES
from distill.teachers.card import read_teacher_card
from distill.teachers.labelled import read_pixels
from distill.teachers.read import read_labelled
from distill.teachers.split import split_by_case
from distill.teachers.watch import CHECKPOINT_NAME
from pipelines.cli.main import cli
from pipelines.errors import UsageError
from pipelines.locks.folder import HeldError, held
from pipelines.settings.defaults import default_networks
from tests.conftest import MadeUp
from wsi.testing import Specimen, nuclei_crops, write_slide


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "made"
    for kind in ("images", "instances"):
        (folder / kind).mkdir(parents=True)
    for number, (pixels, instances) in enumerate(
        zip(*nuclei_crops(count=5, size_px=96, seed=0), strict=True)
    ):
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        Image.fromarray(instances.astype(np.uint16)).save(folder / "instances" / f"{number}.png")
    return folder


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, ["teacher", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def run(*arguments: object) -> str:
    return invoke(*arguments).stdout


def test_train_and_evaluate(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "teacher"
    train = ("train", "--data", data, "-o", out, "--encoder", "mobilenetv3_small_050",
             "--steps", 2, "--batch-size", 2, "--crop-px", 64, "--workers", 0,
             "--licence", "CC0-1.0")  # fmt: skip
    run(*train)
    assert 'data_licence = "CC0-1.0"' in (out / "teacher.toml").read_text()
    for other in (("--seed", 1), ("--validation", 0.4), ("--mpp", 0.5)):
        with pytest.raises(UsageError, match="holds another training"):
            run(*train, *other, "--resume")
    with pytest.raises(UsageError, match=r"holds a finished training \(teacher\.toml\)"):
        run(*train)
    run(*train, "--resume")

    answer = json.loads(run("evaluate", "--images", data, "--weights", out, "--turns", 1, "--json"))
    assert [image["image"] for image in answer["images"]] == list("01234")
    for name in SCORE_NAMES:
        # An image without nuclei, in which none is found, has no score.
        of_images = [image[name] for image in answer["images"] if image[name] is not None]
        assert len(of_images) >= 3
        assert answer["mean"][name] == pytest.approx(np.mean(of_images))
        low, high = answer["interval_95"][name]
        assert min(of_images) <= low <= high <= max(of_images) or math.isclose(low, high)

    weights = out / "teacher.safetensors"
    table = run("evaluate", "--images", data, "--weights", weights, "--turns", 1)
    assert table.split()[: len(SCORE_NAMES)] == list(SCORE_NAMES)
    assert f"{answer['mean']['dice']:.3f}" in table


def test_two_trainings_in_one_folder_do_not_mix(data: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / CHECKPOINT_NAME
    checkpoint.touch()
    with held(tmp_path), pytest.raises(HeldError, match="choose another folder"):
        run("train", "--data", data, "-o", tmp_path, "--steps", 1)
    assert checkpoint.exists()


def test_images_of_one_name_are_all_measured(data: Path, tmp_path: Path) -> None:
    """Numbers begin anew in each part of a set."""
    for part, number in (("Train", 1), ("Test", 2)):
        for kind in ("Images", "Labels"):
            (tmp_path / "set" / part / kind).mkdir(parents=True)
        shutil.copy(data / "images" / f"{number}.png", tmp_path / "set" / part / "Images" / "1.png")
        with Image.open(data / "instances" / f"{number}.png") as labels:
            instances = np.array(labels)
        savemat(tmp_path / "set" / part / "Labels" / "1.mat", {"inst_map": instances})
    weights = default_networks()["teacher"]
    evaluate = ("evaluate", "--images", tmp_path / "set", "--weights", weights, "--turns", 1)
    found = json.loads(run(*evaluate, "--json"))["images"]
    assert [image.pop("image") for image in found] == ["1", "1"]
    assert found[0] != found[1]
    table = run(*evaluate)
    assert len([line for line in table.splitlines() if line.split()[0] == "1"]) == 2


def test_images_are_resampled_and_weights_halved(data: Path, tmp_path: Path) -> None:
    train = ("train", "--data", data, "--encoder", "mobilenetv3_small_050", "--steps", 2,
             "--batch-size", 2, "--crop-px", 32, "--workers", 0)  # fmt: skip
    halved = ("--mpp", 0.25, "--train-mpp", 0.5, "--half")
    assumed = "5 of 5 images do not say how large their pixels are: taken as 0.25 µm (--train-mpp)"
    assert assumed in invoke(*train, "-o", tmp_path / "full").stderr
    said = invoke(*train, "-o", tmp_path / "half", *halved, "--folds", 5, "--fold", 4).stderr
    assert "do not say" not in said
    assert "held out of made, as slides are seen: dice" in said
    assert "held out of made, mean of 8 views: dice" in said
    sizes = [(tmp_path / of / "teacher.safetensors").stat().st_size for of in ("full", "half")]
    assert 1.9 < sizes[0] / sizes[1] < 2.1
    card = read_teacher_card(tmp_path / "half")
    assert card.mpp == 0.5
    assert "at 0.5 µm" in card.training.method

    evaluate = ("evaluate", "--images", data, "--weights", tmp_path / "half", "--turns", 1)
    assumed = "5 of 5 images do not say how large their pixels are: taken as 0.5 µm (the teacher's)"
    assert assumed in invoke(*evaluate).stderr
    assert "do not say" not in invoke(*evaluate, "--mpp", 0.25).stderr


def test_labels_without_a_human_serve_for_training(data: Path, tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (243, 243, 243)).save(tmp_path / "glass.png")
    tiles = tmp_path / "tiles"
    shutil.copytree(data / "images", tiles)
    shutil.move(tmp_path / "glass.png", tiles)
    label = ("label", "--tiles", tiles, "--mpp", 0.5, "--tile-px", 96, "-o", tmp_path / "labelled")
    run(*label)
    names = sorted(p.name for p in (tmp_path / "labelled" / "images").iterdir())
    assert len(names) == 4  # glass is left out, and the image without nuclei
    assert names == sorted(p.name for p in (tmp_path / "labelled" / "instances").iterdir())
    run("train", "--data", tmp_path / "labelled", "-o", tmp_path / "teacher", "--steps", 1,
        "--encoder", "mobilenetv3_small_050", "--batch-size", 2, "--crop-px", 64,
        "--workers", 0)  # fmt: skip

    with pytest.raises(LabelledDataError, match="is there already"):
        run(*label)
    glass = tmp_path / "glass"
    glass.mkdir()
    shutil.move(tiles / "glass.png", glass)
    with pytest.raises(LabelledDataError, match="none of the 1 tiles"):
        run("label", "--tiles", glass, "--mpp", 0.5, "--tile-px", 96, "-o", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_labelled_tiles_know_the_image_or_slide_they_are_of(
    data: Path, tmp_path: Path, synthetic: MadeUp
) -> None:
    """Several tiles of each: a split that took every tile for a case would learn from all."""
    arrays = tmp_path / "arrays.npz"
    pixels = np.stack([read_pixels(data / "images" / f"{n}.png") for n in (1, 2)])
    np.savez(arrays, pixels=pixels, sources=np.array([0, 0]))
    out = tmp_path / "labelled"
    run("label", "--tiles", data, "--tiles", arrays, "--tiles", synthetic.path, "--mpp", 0.5,
        "--tile-px", 48, "--slide-tiles", 6, "-o", out)  # fmt: skip
    images = read_labelled(out)
    cases = {image.case for image in images}
    assert {"0", "arrays-5", "synthetic"} <= cases <= {*"01234", "arrays-5", "synthetic"}
    assert len(images) > 2 * len(cases)
    split = split_by_case({"made": images}, validation=0.4, seed=0)
    learned = {image.name[:4] for image in split.train}
    assert learned.isdisjoint(image.name[:4] for image in split.held_out["made"])


def test_resolutions_are_for_all_folders_or_one_each(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 times --mpp for 1 times --data: give one, or 1"):
        run("train", "--data", data, "-o", tmp_path / "out", "--steps", 1,
            "--mpp", 0.25, "--mpp", 0.5, "--mpp", 1)  # fmt: skip


def test_the_device_reaches_training_teacher_and_slides(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match="compute on cuda:1"):
        run("train", "--data", data, "-o", tmp_path, "--steps", 1, "--device", "cuda:1")
    weights = default_networks()["teacher"]
    with pytest.raises(ModelError, match="compute on cuda:1"):
        run("evaluate", "--images", data, "--weights", weights, "--device", "cuda:1")
    slide = write_slide(tmp_path / "slide.svs", Specimen(seed=1, width=600, height=600))
    with pytest.raises(ModelError, match=r"compute on cuda, .*leave --device out"):
        run("predict", slide, "--weights", weights, "-o", tmp_path / "out", "--device", "cuda",
            "--executor", "serial")  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--folds", 5, "--fold", 2, "--validation", 0.2), "--validation 0.2 .*leave one out"),
        (("--folds", 5), "--fold is missing"),
        (("--fold", 0), "--folds is missing"),
        (("--folds", 5, "--fold", 5), "--fold 5: of 5 folds the last is 4"),
    ],
)
def test_folds_and_a_share_exclude_each_other(
    data: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run("train", "--data", data, "-o", tmp_path / "out", "--steps", 1, *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--crop-px", 200), "--crop-px 200: a multiple of 32 is wanted"),
        (("--minutes", 0), "--minutes 0: more than 0 is wanted"),
        (("--minutes", -5), "--minutes -5: more than 0 is wanted"),
        (("--minutes", "nan"), "--minutes nan: more than 0 is wanted"),
    ],
)
def test_what_no_training_can_be_made_of_is_refused_at_once(
    data: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run("train", "--data", data, "-o", tmp_path / "out", "--steps", 1, "--workers", 0, *flags)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelledDataError, match="holds no labelled nuclei"):
        run("train", "--data", tmp_path, "-o", tmp_path / "out", "--steps", 1)
