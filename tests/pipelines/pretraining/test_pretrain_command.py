"""`raypath pretrain`, from tiles to a model that embeds."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from distill.card import TrainingCard, read_card
from distill.checkpoint import NETWORK_WEIGHTS
from distill.curves import CSV_NAME, PNG_NAME
from distill.encoders import create_encoder
from distill.errors import ModelError, ObjectiveError
from distill.seen import (
    SEEN_NAME,
    TEACHER_SEEN_NAME,
    Seen,
    list_images,
    read_seen,
    write_seen,
)
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import build_net, save_teacher
from pipelines.cli.main import cli
from pipelines.errors import UsageError
from pipelines.locks.folder import HeldError, held
from pipelines.model import load_model
from tests.conftest import ROOT
from wsi.testing import nuclei_crops

ARCHITECTURE = "resnet10t"


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve made-up tiles with their labels."""
    pixels, instances = nuclei_crops(count=12, size_px=64, seed=0)
    path = tmp_path_factory.mktemp("tiles") / "tiles.npz"
    np.savez(path, pixels=pixels, instances=instances)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that was never trained: its answers are as good as any to be repeated."""
    folder = tmp_path_factory.mktemp("teacher")
    training = TrainingCard(
        data="none", data_licence="CC0", method="not trained", measures={"training_seconds": 12.5}
    )
    save_teacher(
        build_net(ARCHITECTURE),
        folder,
        architecture=ARCHITECTURE,
        mpp=0.5,
        thresholds=Thresholds(),
        training=training,
    )
    return folder


def arguments(objective: str, tiles: Path, out: Path, *more: str) -> list[str]:
    words = f"pretrain {objective} --tiles {tiles} --mpp 0.5 -o {out} --architecture {ARCHITECTURE}"
    sizes = "--steps 2 --batch 4 --tile-px 64 --crop 64 --context 0 --licence CC0"
    return [*words.split(), *sizes.split(), *more]


def run(objective: str, tiles: Path, out: Path, *more: str) -> str:
    result = CliRunner().invoke(cli, arguments(objective, tiles, out, *more))
    if result.exception:
        raise result.exception
    return result.output


@pytest.mark.parametrize("objective", ["supervised-nuclei", "barlow", "moco"])
def test_each_objective_ends_in_a_model_that_embeds(
    objective: str, tiles: Path, tmp_path: Path
) -> None:
    output = run(objective, tiles, tmp_path / "m")
    assert "loop_over_bare_step" in output
    model = load_model(tmp_path / "m")
    assert model.card.encoder.identifier == f"{ARCHITECTURE}-{objective}-0-stages"
    assert model.card.training.data_licence == model.encoder.licence == "CC0"
    assert model.card.training.method.startswith(f"{objective}: 2 steps of 4 tiles")
    assert model.card.training.measures["tiles"] == 12
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    random = create_encoder(ARCHITECTURE, spec=model.encoder.spec, features="stages")
    assert np.abs(model.encoder.embed(pixels) - random.embed(pixels)).max() > 1e-3
    assert (tmp_path / "m" / PNG_NAME).is_file()
    assert len((tmp_path / "m" / CSV_NAME).read_text().splitlines()) == 3


def test_random_is_the_untrained_network(tiles: Path, tmp_path: Path) -> None:
    run("random", tiles, tmp_path / "m", "--seed", "3")
    model = load_model(tmp_path / "m")
    assert model.card.training.method == "not trained: random weights"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = create_encoder(ARCHITECTURE, spec=model.encoder.spec, seed=3, features="stages")
    np.testing.assert_array_equal(model.encoder.embed(pixels), expected.embed(pixels))


@pytest.mark.parametrize("objective", ["random", "barlow"])
def test_a_decoder_of_what_was_there_before_does_not_outlive_it(
    objective: str, tiles: Path, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / NETWORK_WEIGHTS).touch()
    run(objective, tiles, tmp_path / "m")
    assert load_model(tmp_path / "m").card.encoder.identifier.startswith(
        f"{ARCHITECTURE}-{objective}"
    )
    assert not (tmp_path / "m" / NETWORK_WEIGHTS).exists()


def test_embeddings_are_made_of_every_stage_where_there_are_some(
    tiles: Path, tmp_path: Path
) -> None:
    run("random", tiles, tmp_path / "m")
    run("random", tiles, tmp_path / "last", "--features", "last")
    tokens = ("--architecture", "vit_tiny_patch16_224", "--embed-px", "224")
    run("random", tiles, tmp_path / "vit", *tokens)
    cards = [read_card(tmp_path / name).encoder for name in ("m", "last", "vit")]
    assert [(card.features, card.dim) for card in cards] == [
        ("stages", 1024),
        ("last", 512),
        ("last", 192),
    ]
    with pytest.raises(ModelError, match="VisionTransformer has no stages"):
        run("random", tiles, tmp_path / "refused", *tokens, "--features", "stages")
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("architecture", "more", "says"),
    [
        (
            "swin_s3_tiny_224",
            ("--embed-px", "224"),
            "swin_s3_tiny_224 does not take .* of 64 px: .*224",
        ),
        (
            "swin_s3_tiny_224",
            ("--tile-px", "224", "--crop", "224", "--embed-px", "256"),
            "swin_s3_tiny_224 does not take tiles of 256 px: .*224",
        ),
        (
            "crossvit_tiny_240",
            ("--embed-px", "224"),
            "CrossVit answers with its features as a list",
        ),
        ("eva02_tiny_patch14_224", ("--embed-px", "224"), "Eva has tokens of 14 px"),
    ],
)
def test_a_network_that_does_not_take_the_tiles_is_refused_before_the_teacher_is_asked(
    tiles: Path, teacher: Path, tmp_path: Path, architecture: str, more: tuple[str, ...], says: str
) -> None:
    asked = ("--teacher", str(teacher), "--architecture", architecture, *more)
    with pytest.raises(ModelError, match=says):
        run("rckd", tiles, tmp_path / "m", *asked)
    assert not list(tmp_path.glob("m*"))


def test_rckd_asks_its_teacher_once(tiles: Path, teacher: Path, tmp_path: Path) -> None:
    run("rckd", tiles, tmp_path / "a", "--teacher", str(teacher))
    measures = read_card(tmp_path / "a").training.measures
    assert measures["responses_computed"] == 12
    assert measures["response_bytes"] > 0
    assert measures["teacher_training_seconds"] == 12.5
    assert {"dice", "distance_error", "count_correlation"} <= measures.keys()
    responses = tmp_path / "a-responses"
    run("rckd", tiles, tmp_path / "b", "--teacher", str(teacher), "--responses", str(responses))
    card = read_card(tmp_path / "b")
    assert card.training.measures["responses_computed"] == 0
    assert card.encoder.licence == "CC0; teacher: CC0"
    origin = json.loads((responses / "zarr.json").read_text())["attributes"]
    assert f"teacher {origin['teacher_sha256'][:12]}" in card.training.method
    with safe_open(tmp_path / "b" / "network.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert "head.weight" in names
    assert any(name.startswith("backbone.") for name in names)


def test_the_folder_says_which_images_encoder_and_teacher_saw(
    tiles: Path, teacher: Path, tmp_path: Path
) -> None:
    with np.load(tiles) as stored:
        own = list_images(stored["pixels"])
    run("random", tiles, tmp_path / "random")
    assert read_seen(tmp_path / "random" / SEEN_NAME) == Seen()
    run("supervised-nuclei", tiles, tmp_path / "labelled", "--steps", "1")
    assert read_seen(tmp_path / "labelled" / SEEN_NAME) == own
    taught = shutil.copytree(teacher, tmp_path / "teacher")
    more = ("--teacher", str(taught), "--responses", str(tmp_path / "r"), "--steps", "1")
    run("rckd", tiles, tmp_path / "unknown", *more)
    unknown = Seen(images=own.images, unlisted=("the teacher's images",))
    assert read_seen(tmp_path / "unknown" / SEEN_NAME) == unknown
    write_seen(taught / TEACHER_SEEN_NAME, Seen(images=frozenset({"5e" * 8})))
    run("rckd", tiles, tmp_path / "known", *more)
    assert read_seen(tmp_path / "known" / SEEN_NAME) == Seen(images=own.images | {"5e" * 8})


def test_options_of_the_objective_go_into_the_card(tiles: Path, tmp_path: Path) -> None:
    options = ("--nuclei-only", "--temperature", "2", "--share", "0.5", "--accumulate", "2")
    run("supervised-nuclei", tiles, tmp_path / "m", *options)
    training = read_card(tmp_path / "m").training
    assert "2 steps of 4 tiles times 2" in training.method
    assert "colour varied by 0" in training.method
    expected = "50% of the tiles, soft responses, nuclei alone, with appearance, temperature 2"
    assert expected in training.method
    assert "distance_error" not in training.measures


def test_the_model_may_take_other_tiles_than_it_was_trained_on(tiles: Path, tmp_path: Path) -> None:
    run("barlow", tiles, tmp_path / "m", "--crop", "32", "--embed-px", "96", "--half")
    run("barlow", tiles, tmp_path / "full", "--crop", "32")
    assert [load_model(tmp_path / m).encoder.spec.size_px for m in ("m", "full")] == [96, 32]
    size, full = ((tmp_path / m / "encoder.safetensors").stat().st_size for m in ("m", "full"))
    assert 1.9 < full / size < 2.1
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    a, b = (load_model(tmp_path / m).encoder.embed(pixels) for m in ("m", "full"))
    np.testing.assert_allclose(a, b, rtol=0.02, atol=0.02)  # the same but for the rounding

    with pytest.raises(UsageError, match="--embed-px 100: a multiple of 32"):
        run("barlow", tiles, tmp_path / "n", "--crop", "32", "--embed-px", "100")


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(tiles: Path, tmp_path: Path) -> None:
    more = ("--steps", "40")
    run("supervised-nuclei", tiles, tmp_path / "whole", *more)
    killed = tmp_path / "killed"
    words = arguments("supervised-nuclei", tiles, killed, *more)
    program = [sys.executable, "-c", "from pipelines.cli.main import app; app()"]
    process = subprocess.Popen([*program, *words], stderr=subprocess.DEVNULL, cwd=ROOT)
    checkpoint = killed / "checkpoint.pt"
    while not checkpoint.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (killed / "model.toml").exists()  # it was not done yet
    run("supervised-nuclei", tiles, killed, *more, "--resume")
    curves = [
        np.genfromtxt(folder / CSV_NAME, delimiter=",", names=True)
        for folder in (tmp_path / "whole", killed)
    ]
    assert len(curves[0]) == 40
    np.testing.assert_allclose(curves[1]["loss"], curves[0]["loss"], rtol=1e-2)
    np.testing.assert_array_equal(np.isnan(curves[1]["dice"]), np.isnan(curves[0]["dice"]))


def test_a_training_is_not_resumed_with_other_flags(tiles: Path, tmp_path: Path) -> None:
    run("supervised-nuclei", tiles, tmp_path / "m")
    with pytest.raises(UsageError, match=r"settings\.seed 0 instead of 1"):
        run("supervised-nuclei", tiles, tmp_path / "m", "--resume", "--seed", "1")


def test_a_training_is_not_resumed_with_other_tiles(tiles: Path, tmp_path: Path) -> None:
    """One image more, and others would be held out: some that were learned from."""
    copy = tmp_path / "tiles.npz"
    shutil.copyfile(tiles, copy)
    run("barlow", copy, tmp_path / "m")
    pixels, _ = nuclei_crops(count=13, size_px=64, seed=0)
    np.savez(copy, pixels=pixels)
    with pytest.raises(UsageError, match=r"tiles\.count 12 instead of 13; tiles\.sha256"):
        run("barlow", copy, tmp_path / "m", "--resume")


def test_a_training_begun_anew_forgets_where_the_last_one_was(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first checkpoint, it would else go on from the last training's weights."""
    (tmp_path / "checkpoint.pt").touch()

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.pretraining.run.pretrain", killed)
    CliRunner().invoke(cli, arguments("barlow", tiles, tmp_path, "--seed", "1"))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_finished_training_is_not_written_over(tiles: Path, tmp_path: Path) -> None:
    run("random", tiles, tmp_path)
    kept = (tmp_path / "encoder.safetensors").read_bytes()
    with pytest.raises(UsageError, match=r"holds a finished training \(model\.toml\)"):
        run("random", tiles, tmp_path, "--seed", "1")
    assert (tmp_path / "encoder.safetensors").read_bytes() == kept


def test_two_trainings_in_one_folder_do_not_mix(tiles: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.touch()
    with held(tmp_path), pytest.raises(HeldError, match="choose another folder"):
        run("barlow", tiles, tmp_path)
    assert checkpoint.exists()
    assert not (tmp_path / "model.toml").exists()


@pytest.mark.parametrize(
    ("objective", "more", "says"),
    [
        ("dino", (), "known are rckd, supervised-nuclei, barlow, moco, random"),
        ("rckd", (), "--teacher is for rckd, which needs one"),
        ("barlow", ("--teacher", "t"), "--teacher is for rckd"),
        ("barlow", ("--batch", "20"), "batches of 20: 2 to 11 is wanted"),
        ("barlow", ("--hard",), "barlow has no nuclei maps"),
        ("supervised-nuclei", ("--hard", "--temperature", "2"), "choose one of the two"),
        ("supervised-nuclei", ("--nuclei-only", "--gradient-loss"), "teach these too"),
        ("barlow", ("--share", "0"), "--share 0: more than 0"),
        ("barlow", ("--crop", "96"), "--crop 96: a multiple of 32 up to the tiles' 64 px"),
        ("barlow", ("--mpp", "1", "--mpp", "1"), "3 times --mpp for 1 times --tiles"),
    ],
)
def test_requests_that_cannot_be_met_say_why(
    tiles: Path, tmp_path: Path, objective: str, more: tuple[str, ...], says: str
) -> None:
    with pytest.raises((UsageError, ObjectiveError), match=says):
        run(objective, tiles, tmp_path / "m", *more)
    assert not (tmp_path / "m").exists()
