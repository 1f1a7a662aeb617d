"""`raypath explain` on a slide of the demo: pictures with their numbers, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from distill.card import TrainingCard, read_card, write_card
from distill.teachers import teacher as teachers
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import Teacher, build_net, save_teacher
from pipelines.cli.main import cli
from pipelines.explain.methods import METHODS
from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.model import load_model, save_model
from tests.pipelines.nuclei.blobs import MPP
from wsi.errors import RayPathError
from wsi.testing import write_locating_slide
from wsi.tilestore import read_tiles


def explain(*words: object) -> Any:
    result = CliRunner().invoke(cli, ["explain", *map(str, words)])
    if isinstance(result.exception, RayPathError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def slide(demo: Any) -> Path:
    return min((demo.folder / "slides").glob("*.svs"))


@pytest.fixture
def teacher(blob_teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A teacher's folder whose network is the one made by hand."""
    save_teacher(
        build_net("mobilenetv3_small_050"),
        tmp_path / "t",
        architecture="mobilenetv3_small_050",
        mpp=MPP,
        thresholds=Thresholds(),
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
    )
    monkeypatch.setattr(teachers, "load_teacher", lambda path: blob_teacher)
    return tmp_path / "t"


def test_a_tile_is_explained_in_a_picture_and_in_numbers(
    demo: Any, slide: Path, teacher: Path, tmp_path: Path
) -> None:
    tiles = read_tiles(demo.folder / "out" / "slides" / slide.stem / "tiles.h5")
    x, y = tiles.coords[len(tiles.coords) // 2].tolist()
    out = tmp_path / "new" / "why.png"
    words = (slide, "--model", demo.model, "--teacher", teacher, "-o", out, "--tile")
    said = explain(*words, f"{x},{y}")
    assert said.stdout.split() == [str(out)]
    with Image.open(out) as picture:
        assert min(picture.size) > 1000
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 5000
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["class"] == "tumour"
    assert (numbers["tile"]["x"], numbers["tile"]["y"]) == (x, y)
    assert list(numbers["methods"]) == [method.name for method in METHODS]
    assert numbers["methods_left_out"] == []
    # The slide's own heatmap shows this tile's score; embeddings are stored as float16.
    heatmap = read_heatmap(demo.folder / "out" / "slides" / slide.stem / "heatmap.ome.zarr")
    cell = heatmap.cell_level0_px
    shown = heatmap.values[0][int((y + cell / 2) / cell), int((x + cell / 2) / cell)]
    assert numbers["log_odds"] == pytest.approx(float(shown), abs=0.05)
    for each in numbers["methods"].values():
        curves = each["curves"]
        assert curves["deletion"][0] == pytest.approx(numbers["score"], abs=1e-5)
        assert curves["insertion"][-1] == pytest.approx(numbers["score"], abs=1e-5)
        assert np.trapezoid(curves["deletion"], curves["share"]) == pytest.approx(
            each["deletion_area"]
        )
        assert 0 <= each["nuclei"]["area_share"] <= 1
    sides = numbers["log_odds"] - numbers["baseline_log_odds"]
    assert abs(numbers["integrated_gradients"]["completeness_gap"]) < 0.05 * abs(sides)


def test_the_highest_tiles_of_a_run(demo: Any, slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "why.png"
    words = (slide, "--model", demo.model, "--run", demo.folder / "out", "--top", 2, "-o", out)
    explain(*words, "--class", "normal")
    first, second = (json.loads((tmp_path / f"why-{rank}.json").read_text()) for rank in (1, 2))
    assert not out.exists()
    assert first["log_odds_in_run"] >= second["log_odds_in_run"]
    assert first["tile"] != second["tile"]
    for numbers in (first, second):
        assert numbers["class"] == "normal"
        assert numbers["log_odds"] == pytest.approx(numbers["log_odds_in_run"], abs=0.05)
        assert "nuclei" not in numbers["methods"]["saliency"]


def test_the_regions_of_a_slide(demo: Any, slide: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "where.png", demo.folder / "out"
    explain(slide, "--model", demo.model, "--run", run, "--regions", 5, "-o", out)
    numbers = json.loads(out.with_suffix(".json").read_text())
    prediction = json.loads((run / "slides" / slide.stem / "prediction.json").read_text())
    assert numbers["score"] == pytest.approx(prediction["scores"]["tumour"], abs=1e-4)
    assert numbers["calibrated"] == prediction["calibrated"]
    assert numbers["log_odds"] == pytest.approx(np.log(1 / (1 / numbers["score"] - 1)), abs=1e-6)
    assert sum(region["n_tiles"] for region in numbers["regions"]) == prediction["n_tiles"]
    assert numbers["regions"][0]["score_change"] * numbers["regions"][0]["log_odds_change"] > 0
    with Image.open(out) as picture:
        assert picture.width > 1500


def test_regions_speak_in_the_probability_of_a_calibrated_head(
    demo: Any, slide: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(demo.model, model)
    card = read_card(model)
    assert card.head is not None
    frozen = card.head.model_copy(update={"temperature": 3.0, "calibrated": True})
    write_card(model, card.model_copy(update={"head": frozen}))
    found = []
    for name, folder in (("raw", demo.model), ("calibrated", model)):
        out = tmp_path / f"{name}.png"
        explain(slide, "--model", folder, "--run", demo.folder / "out", "--regions", 3, "-o", out)
        found.append(json.loads(out.with_suffix(".json").read_text()))
    raw, calibrated = found
    assert (raw["calibrated"], calibrated["calibrated"]) == (False, True)
    assert raw["log_odds"] == pytest.approx(3 * raw["temperature"] * calibrated["log_odds"])
    for each in calibrated["regions"]:
        before, after = calibrated["score"], each["score_without"]
        assert each["score_change"] == pytest.approx(before - after)
        assert after == pytest.approx(1 / (1 + np.exp(-each["log_odds_without"])))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give one of --tile X,Y, --top N and --regions N"),
        (["--tile", "0,0", "--top", "1"], "give one of"),
        (["--tile", "0,0", "--run", "RUN"], "--run is for --top and --regions"),
        (["--regions", "3", "--run", "RUN", "--teacher", "T"], "--teacher is for --tile and"),
        (["--top", "1", "--run", "RUN", "--mpp", "0.5"], "--mpp is for --tile"),
        (["--top", "1"], "need --run"),
        (["--tile", "12"], "--tile 12: give two whole numbers"),
        (["--tile", "1,x"], "--tile 1,x: give two whole numbers"),
        (["--tile", "90000,0"], r"--tile 90000,0 is outside the slide: x is 0-\d+"),
        (["--tile", "0,0"], r"no tissue in the 128 level-0 pixels from there"),
        (["--tile", "0,0", "--class", "lung"], "--class lung: the model's classes are"),
        (["--top", "100000", "--run", "RUN"], r"--top 100000: the slide has \d+ tiles"),
    ],
)
def test_wrong_requests_are_refused_and_leave_nothing(
    demo: Any, slide: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    words = [str(demo.folder / "out") if word == "RUN" else word for word in words]
    with pytest.raises(RayPathError, match=says):
        explain(slide, "--model", demo.model, "-o", tmp_path / "why.png", *words)
    assert not list(tmp_path.iterdir())


def test_another_model_or_slide_than_the_runs_is_refused(
    demo: Any, slide: Path, tmp_path: Path
) -> None:
    run, out = demo.folder / "out", tmp_path / "why.png"
    other = write_locating_slide(tmp_path / "other.svs", width=700, height=500)
    asked = ("--run", run, "--top", 1, "-o", out)
    with pytest.raises(RayPathError, match="has no slide 'other'; its slides: "):
        explain(other, "--model", demo.model, *asked)
    namesake = other.rename(tmp_path / slide.name)
    with pytest.raises(RayPathError, match="but of another file than"):
        explain(namesake, "--model", demo.model, *asked)
    model = load_model(demo.model)
    headless = tmp_path / "headless"
    save_model(headless, model.card.model_copy(update={"head": None}), model.encoder)
    with pytest.raises(RayPathError, match=r"has no head.*embeddings"):
        explain(slide, "--model", headless, *asked)
    with pytest.raises(RayPathError, match="the picture is a"):
        explain(slide, "--model", demo.model, "--tile", "0,0", "-o", tmp_path / "why.jpg")
    assert not out.exists()
