"""The whole on made-up images: slides, `raypath run`, heads, tiles and tables."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks.cohort.__main__ import main
from benchmarks.cohort.make import truth_path
from benchmarks.cohort.paint import MALIGNANT_TISSUE
from benchmarks.cohort.scores import FEWEST_PATIENTS
from benchmarks.cohort.tiles import find_malignant
from distill.card import ModelCard, TileCard, TrainingCard, write_card
from distill.checkpoint import save_encoder
from distill.encoders import create_encoder
from pipelines.heatmaps.channels import score_channel
from pipelines.heatmaps.ome_zarr import make_heatmap
from wsi.plan import TileSpec
from wsi.testing import TRUTH_DOWNSAMPLE
from wsi.tilestore import read_tiles

SPEC = TileSpec(size_px=160, mpp=0.5)
CONTROL = "control-mean-colour"
NETWORK = "test_convnext"  # timm's smallest


@pytest.fixture(scope="module")
def out(made_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything, with one encoder beside the control."""
    folder = tmp_path_factory.mktemp("cohort")
    model = folder / "encoders" / f"rckd-{NETWORK}"
    card = save_encoder(create_encoder(NETWORK, spec=SPEC), model, architecture=NETWORK)
    tile = TileCard(size_px=SPEC.size_px, mpp=SPEC.mpp)
    training = TrainingCard(data="none", data_licence="none", method="random")
    write_card(model, ModelCard(encoder=card, tile=tile, training=training))
    main([*arguments(folder, made_data), "--epochs", "12"])
    return folder


def arguments(folder: Path, data: Path) -> list[str]:
    few = ["--slides", "1", "--sections", "1", "--divisions", "2", "--folds", "2"]
    fast = ["--heads", "mean", "gated-abmil", "--resamples", "200"]
    return [str(folder), "--data", str(data), "--encoders", str(folder / "encoders"), *few, *fast]


@pytest.mark.slow
def test_heads_trained_otherwise_before_are_not_taken_for_these(out: Path, made_data: Path) -> None:
    with pytest.raises(SystemExit, match=r"division-0 holds a training with other settings"):
        main([*arguments(out, made_data), "--epochs", "3"])


@pytest.mark.slow
def test_colour_alone_tells_classes_that_differ_in_colour(out: Path) -> None:
    scores = pd.read_csv(out / "results" / "scores.csv").set_index(["encoder", "head", "measure"])
    for name in ("slide_auroc", "tile_auroc", "score_within_slide"):
        assert scores.loc[(CONTROL, "gated-abmil", name), "value"] > 0.9
    assert (CONTROL, "mean", "attention_within_slide") not in scores.index


@pytest.mark.slow
def test_measures_are_those_of_scikit_learn_and_of_the_evaluation(out: Path) -> None:
    folder = out / "heads" / f"rckd-{NETWORK}" / "gated-abmil"
    scores = pd.read_csv(out / "results" / "scores.csv").set_index(["encoder", "head", "measure"])
    found = scores.sort_index().loc[(f"rckd-{NETWORK}", "gated-abmil")]["value"]
    page = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    assert found["slide_auroc"] == pytest.approx(
        page["measures"]["auroc_bootstrap"]["value"], abs=1e-4
    )
    tiles = pd.read_parquet(folder / "tiles.parquet")
    each = [roc_auc_score(t["is_malignant"], t["score"]) for _, t in tiles.groupby("division")]
    assert found["tile_auroc"] == pytest.approx(np.mean(each), abs=1e-4)
    both = tiles.groupby(["division", "slide_id"]).filter(lambda t: t["is_malignant"].nunique() > 1)
    within = [
        roc_auc_score(t["is_malignant"], t["attention"])
        for _, t in both.groupby(["division", "slide_id"])
    ]
    assert found["attention_within_slide"] == pytest.approx(np.mean(within), abs=1e-4)


@pytest.mark.slow
def test_slides_are_judged_by_heads_that_did_not_see_their_patient(out: Path) -> None:
    for training in (out / "heads" / CONTROL / "mean").glob("division-*"):
        split = pd.read_csv(training / "split.csv", dtype=str)
        for _, fold in split.groupby("fold"):
            seen = set(fold.loc[fold["split"] != "test", "patient_id"])
            assert not seen & set(fold.loc[fold["split"] == "test", "patient_id"])
        tiles = pd.read_parquet(training.parent / "tiles.parquet")
        tested = split[split["split"] == "test"].set_index("slide_id")["fold"]
        judged = tiles[tiles["division"] == int(training.name[-1])].groupby("slide_id")["fold"]
        assert {s: {f} for s, f in tested.astype(int).items()} == judged.agg(set).to_dict()


@pytest.mark.slow
def test_no_interval_is_claimed_of_one_patient(out: Path) -> None:
    scores = pd.read_csv(out / "results" / "scores.csv")
    few = scores["patients"] < FEWEST_PATIENTS
    assert set(scores[few]["measure"]) == {"score_within_slide", "attention_within_slide"}
    assert scores[few]["low"].isna().all()
    assert scores[~few]["low"].notna().all()
    differences = pd.read_csv(out / "results" / "differences.csv")
    assert set(differences["other"]) == {CONTROL}
    assert set(differences["measure"]) == {"slide_auroc", "tile_auroc", "model_tile_auroc"}


@pytest.mark.slow
def test_tiles_are_told_apart_as_on_the_mask(out: Path) -> None:
    slides = pd.read_csv(out / "slides" / "manifest.csv", dtype=str).set_index("patient_id")
    slide_id = slides[slides["label"] == "malignant"].loc["8", "slide_id"]
    tiles = read_tiles(out / "runs" / CONTROL / "slides" / slide_id / "tiles.h5")
    malignant = find_malignant(tiles, truth_path(out / "slides", slide_id))
    with Image.open(truth_path(out / "slides", slide_id)) as image:
        grey = np.asarray(image)
    edge = SPEC.size_px // TRUTH_DOWNSAMPLE
    for (x, y), is_malignant in zip(tiles.coords // TRUTH_DOWNSAMPLE, malignant, strict=True):
        shown = grey[y : y + edge, x : x + edge]
        shown = shown[shown > 0]
        assert is_malignant == (np.mean(shown == MALIGNANT_TISSUE) > 0.5)
    # The heatmap people see has the tile's value where the mask has its tissue.
    channel = score_channel("malignant")
    heatmap = make_heatmap(malignant[:, None].astype(float), [channel], tiles)
    rows, columns = np.nonzero(heatmap.values[0] == 1)
    centres = (np.stack([rows, columns]) + 0.5) * SPEC.size_px / TRUTH_DOWNSAMPLE
    at = tuple(np.minimum(centres.astype(int), np.array(grey.shape)[:, None] - 1))
    assert np.mean(grey[at] == MALIGNANT_TISSUE) > 0.8


def test_an_unknown_encoder_is_refused(made_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / CONTROL
    card = save_encoder(
        create_encoder("mean-colour", spec=SPEC), folder, architecture="mean-colour"
    )
    tile = TileCard(size_px=SPEC.size_px, mpp=SPEC.mpp)
    training = TrainingCard(data="none", data_licence="none", method="none")
    write_card(folder, ModelCard(encoder=card, tile=tile, training=training))
    given = [str(tmp_path), "--data", str(made_data), "--encoders", str(folder.parent)]
    with pytest.raises(SystemExit, match=f"has no moco: it has {CONTROL}"):
        main([*given, "--only", "moco"])
