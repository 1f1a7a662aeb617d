"""The whole benchmark on a tiny set: run, resume, report from the Parquet alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, jaccard_score

from benchmarks.pretraining.candidates import find_candidates
from benchmarks.pretraining.parts import NoResultsError, read_parts
from benchmarks.pretraining.protocol import Protocol
from benchmarks.pretraining.report import write_report
from benchmarks.pretraining.run import choose_tasks, measure_pretraining
from distill.card import ModelCard, TileCard, TrainingCard, write_card
from distill.checkpoint import save_encoder
from distill.downstream.finetune import FineTuning
from distill.encoders import create_encoder
from distill.errors import LabelledDataError, ModelError
from distill.seen import SEEN_NAME, Seen, list_images, write_seen
from wsi.plan import TileSpec

SPEC = TileSpec(size_px=64, mpp=0.5)
PROTOCOL = Protocol(
    tasks=("crc-val-sample", "monuseg-nuclei"),
    probes=("knn", "linear", "few-shot", "finetune", "segment-frozen"),
    fractions=(0.5, 1.0),
    seeds=2,
    finetuning=FineTuning(steps=2, batch_size=4, learning_rates=(1e-3,)),
    segmenting_steps=2,
)


def write_model(
    folder: Path, architecture: str, seed: int = 0, training: TrainingCard | None = None
) -> None:
    encoder = create_encoder(architecture, spec=SPEC, seed=seed)
    card = save_encoder(encoder, folder, architecture=architecture)
    training = training or TrainingCard(data="none", data_licence="none", method="random")
    tile = TileCard(size_px=SPEC.size_px, mpp=SPEC.mpp)
    write_card(folder, ModelCard(encoder=card, tile=tile, training=training))


def pretrained(**measures: float) -> TrainingCard:
    return TrainingCard(data="none", data_licence="none", method="made up", measures=measures)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    write_model(folder / "colour-mean-colour", "mean-colour")
    write_model(folder / "random-resnet10t-0", "resnet10t", seed=0)
    taught = {"teacher_training_seconds": 50.0}
    for seed, (computed, seconds, more) in enumerate([(50, 7.2, taught), (0, 0.1, {})]):
        training = pretrained(
            training_seconds=99.9,
            tiles=50,
            responses_computed=computed,
            response_task_seconds=seconds,
            **more,
        )
        write_model(folder / f"rckd-resnet10t-{seed}", "resnet10t", 1 + seed, training)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    (root / "crc_val_sample").mkdir()
    for number in range(30):
        shade = (150, 190, 90)[number % 3]
        pixels = np.clip(generator.normal(shade, 40, (64, 64, 3)), 0, 255).astype(np.uint8)
        name = f"{['ADI', 'TUM', 'LYM'][number % 3]}___{number}.png"
        Image.fromarray(pixels).save(root / "crc_val_sample" / name)
    for folder in ("images", "instances"):
        (root / "monuseg" / folder).mkdir(parents=True)
    for number in range(6):
        labels = np.zeros((140, 140), np.uint16)
        labels[20:60, 20 + number : 70] = 1
        Image.fromarray(labels).save(root / "monuseg" / "instances" / f"{number}.png")
        pixels = np.where(labels[..., None] > 0, 60, 220).repeat(3, 2).astype(np.uint8)
        Image.fromarray(pixels).save(root / "monuseg" / "images" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module", autouse=True)
def seen(encoders: Path, data: Path) -> None:
    """One encoder saw three images of a task and a slide; one another image; others are random."""
    images = sorted((data / "crc_val_sample").iterdir())[:3]
    listed = list_images(np.asarray(Image.open(path)) for path in images)
    slide = Seen(unlisted=("1 slides",))
    write_seen(encoders / "rckd-resnet10t-0" / SEEN_NAME, listed | slide)
    write_seen(encoders / "rckd-resnet10t-1" / SEEN_NAME, Seen(images=frozenset({"5e" * 8})))


@pytest.fixture(scope="module")
def results(
    encoders: Path, data: Path, said: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("results")
    measure_pretraining(find_candidates(encoders), data, out, PROTOCOL, said.append)
    return out


def test_every_sample_is_predicted_once_a_seed(results: Path) -> None:
    rows = read_parts(results, "predictions")
    few = rows[rows["probe"].astype(str).str.startswith("few-shot")]
    whole = rows[rows["probe"].isin(["knn", "linear"])].groupby(
        ["encoder", "probe", "fraction", "seed"]
    )
    counts = whole["sample_id"].agg(["size", "nunique"])
    assert len(counts) == 4 * 2 * 2 * 2
    assert (counts == 30).to_numpy().all()
    tuned = rows[rows["probe"] == "finetune"]
    assert set(tuned["encoder"]) == {"random-resnet10t-0", "rckd-resnet10t-0", "rckd-resnet10t-1"}
    assert tuned.groupby("seed")["fold"].unique().map(list).to_dict() == {0: [0], 1: [1]}
    assert rows["patient_id"].isna().all()
    probs = np.stack(list(rows["prob"]))
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-4)
    best = [names[p.argmax()] for names, p in zip(rows["classes"], probs, strict=True)]
    assert best == rows["predicted"].astype(str).tolist()
    # Of the ten images of a class two are asked for, so ten cannot be learnt from.
    assert set(few["probe"]) == {
        f"few-shot-{k}-{name}" for k in (1, 5) for name in ("prototype", "linear")
    }
    episodes = few.groupby(["encoder", "probe", "seed", "fold"])["target"].value_counts()
    assert (episodes.unstack() == 2).to_numpy().all()
    assert len(episodes.unstack()) == 4 * 4 * 2 * 20
    overlaps = read_parts(results, "overlaps")
    assert overlaps["aji"].between(0, 1).all()
    assert set(overlaps["objective"]) == {"random", "rckd"}
    assert (overlaps["both_px"] <= overlaps[["predicted_px", "actual_px"]].min(axis=1)).all()


def test_what_is_there_is_kept_and_what_changed_is_made_again(
    results: Path, encoders: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(results, out)
    said: list[str] = []
    chosen = find_candidates(encoders)
    measure_pretraining(chosen, data, out, PROTOCOL, said.append)
    assert [line for line in said if "seed" in line] == []
    part = next((out / "predictions" / "rckd-resnet10t-0").rglob("linear-100pc-seed1.parquet"))
    before = pq.read_table(part)
    part.unlink()
    measure_pretraining(chosen, data, out, PROTOCOL, said.append)
    assert len([line for line in said if "seed" in line]) == 1
    assert pq.read_table(part).equals(before)
    more = replace(
        PROTOCOL, probes=("segment-frozen",), segmenting_steps=3, seeds=1, fractions=(1.0,)
    )
    measure_pretraining(chosen, data, out, more, said.append)
    assert len([line for line in said if "segment-frozen" in line]) == 3


def test_the_report_is_made_of_the_parquet_alone(results: Path, tmp_path: Path) -> None:
    for kind in ("predictions", "overlaps"):
        shutil.copytree(results / kind, tmp_path / kind)
    for name in ("costs", "seen"):
        shutil.copy(results / f"{name}.parquet", tmp_path)
    text = write_report(tmp_path, resamples=200)
    scores = pd.read_csv(tmp_path / "report" / "scores.csv")
    key = {"task": "crc-val-sample", "probe": "linear", "fraction": 1.0, "objective": "random"}
    mine = scores.loc[(scores[list(key)] == pd.Series(key)).all(axis=1)].set_index("measure")
    rows = read_parts(results, "predictions")
    rows = rows[(rows["encoder"] == "random-resnet10t-0") & (rows["probe"] == "linear")]
    rows = rows[rows["fraction"] == 1]
    oracle = balanced_accuracy_score(rows["target"].astype(str), rows["predicted"].astype(str))
    assert mine.loc["balanced_accuracy", "value"] == pytest.approx(oracle, abs=1e-5)
    assert mine.loc["balanced_accuracy", "low"] <= oracle <= mine.loc["balanced_accuracy", "high"]
    dice = scores[(scores["measure"] == "dice") & (scores["objective"] == "rckd")]
    assert (dice["encoder_seeds"] == 2).all()
    assert "| imagenet, resnet10t |  | *not run* |" in text
    assert "30 images of unknown patients." in text
    assert "rckd, mean-colour" not in text
    assert "| rckd, resnet10t | 5 a class |" in text
    assert "| rckd-resnet10t-0 | 100 | 7 | 107 | 50 |" in text
    assert "| rckd-resnet10t-1 | 100 | 0 | ≥ 100 | — |" in text  # of responses that were there
    assert "| random-resnet10t-0 | 0 | 0 | 0 | — |" in text
    assert "| colour-mean-colour | — | 0 | — | — |" in text


def test_tasks_that_were_seen_in_pretraining_are_marked(
    results: Path, said: list[str], tmp_path: Path
) -> None:
    assert [line for line in said if " saw " in line] == [
        "rckd-resnet10t-0 saw 3 of 30 images of crc-val-sample in pretraining"
    ]
    shutil.copytree(results, tmp_path / "out")
    text = write_report(tmp_path / "out", resamples=100)
    scores = pd.read_csv(tmp_path / "out" / "report" / "scores.csv")
    found = scores.groupby(["task", "objective"])["seen_in_pretraining"].unique().map(list)
    assert found["crc-val-sample"].to_dict() == {
        "colour": ["none"],
        "random": ["none"],
        "rckd": ["3 of 30"],  # of two seeds, what saw the most
    }
    assert found["monuseg-nuclei"]["rckd"] == ["none known"]  # one seed saw a slide, too
    assert "| 3 of 30 |" in text
    (tmp_path / "out" / "seen.parquet").unlink()
    write_report(tmp_path / "out", resamples=100)
    scores = pd.read_csv(tmp_path / "out" / "report" / "scores.csv")
    assert set(scores["seen_in_pretraining"]) == {"not known"}


def test_differences_are_paired_and_corrected(results: Path, tmp_path: Path) -> None:
    for kind in ("predictions", "overlaps"):
        shutil.copytree(results / kind, tmp_path / kind)
    write_report(tmp_path, resamples=200)
    scores = pd.read_csv(tmp_path / "report" / "scores.csv")
    differences = pd.read_csv(tmp_path / "report" / "differences.csv")
    assert set(differences["other"]) == {"random"}  # colour is another architecture
    for row in differences.to_dict("records"):
        same = (
            scores[["task", "probe", "fraction", "architecture", "measure"]]
            == pd.Series(row)[["task", "probe", "fraction", "architecture", "measure"]]
        ).all(axis=1)
        values = scores[same].set_index("objective")["value"]
        assert row["difference"] == pytest.approx(values["rckd"] - values["random"], abs=1e-4)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p"] <= row["p_holm"] <= 1
    assert len(list((tmp_path / "report").glob("*.png"))) == 8 + 8 + 2
    with Image.open(tmp_path / "report" / "differences-linear.png") as picture:
        assert min(picture.size) > 100


def test_a_run_that_is_not_finished_is_not_paired(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "predictions", tmp_path / "predictions")
    for encoder in (tmp_path / "predictions").glob("rckd-*"):
        next(encoder.rglob("knn-100pc-seed1.parquet")).unlink()
    write_report(tmp_path, resamples=100)
    differences = pd.read_csv(tmp_path / "report" / "differences.csv")
    done = set(zip(differences["probe"], differences["fraction"], strict=True))
    assert ("knn", 1.0) not in done
    assert {("knn", 0.5), ("linear", 1.0)} <= done


def test_regions_are_measured_by_the_pooled_pixels(encoders: Path, tmp_path: Path) -> None:
    folder, generator = tmp_path / "data" / "glas", np.random.default_rng(1)
    folder.mkdir(parents=True)
    rows = ["name,patient ID,grade (GlaS)"]
    for number in range(6):
        mask = np.zeros((80, 90), np.uint8)
        mask[20 : 40 + 5 * number, 30:70] = number + 1
        pixels = np.where(mask > 0, 90, 200)[..., None] + generator.integers(0, 40, (80, 90, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"train_{number}.bmp")
        Image.fromarray(mask).save(folder / f"train_{number}_anno.bmp")
        rows.append(f"train_{number},{number},{['benign', 'malignant'][number % 2]}")
    (folder / "Grade.csv").write_text("\n".join(rows) + "\n")
    assert choose_tasks(tmp_path / "data", None) == ("glas", "glas-glands")
    protocol = replace(
        PROTOCOL, tasks=("glas-glands",), probes=("segment-frozen",), fractions=(1.0,)
    )
    out = tmp_path / "out"
    said: list[str] = []
    for _ in range(2):
        measure_pretraining(
            find_candidates(encoders), tmp_path / "data", out, protocol, said.append
        )
    assert len([line for line in said if "seed" in line]) == 3 * 2  # the second time, nothing
    text = write_report(out, resamples=100)
    assert "| random, resnet10t | 100% |" in text
    scores = pd.read_csv(out / "report" / "scores.csv")
    mine = scores[(scores["objective"] == "random") & (scores["measure"] == "mean_iou")]
    found = read_parts(out, "regions")
    found = found[found["objective"] == "random"]
    pooled = np.stack(list(found["confusion"])).sum(0).reshape(2, 2)
    truth, given = np.repeat([0, 0, 1, 1], pooled.ravel()), np.repeat([0, 1, 0, 1], pooled.ravel())
    oracle = jaccard_score(truth, given, average="macro")
    assert mine["value"].item() == pytest.approx(oracle, abs=1e-5)


def test_names_and_folders_that_do_not_fit_are_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        find_candidates(tmp_path)
    write_model(tmp_path / "mine", "mean-colour")
    with pytest.raises(ModelError, match="is not named <objective>-mean-colour"):
        find_candidates(tmp_path)
    for name in ("a-mean-colour-1", "a-mean-colour", "a-mean-colour-0"):
        write_model(tmp_path / "same" / name, "mean-colour")
    message = "a-mean-colour and a-mean-colour-0 are both seed 0 of a-mean-colour"
    with pytest.raises(ModelError, match=message):
        find_candidates(tmp_path / "same")
    assert choose_tasks(data, None) == ("crc-val-sample", "monuseg-nuclei")
    with pytest.raises(LabelledDataError, match="no task is called gls"):
        choose_tasks(data, ["gls"])
    with pytest.raises(LabelledDataError, match="holds none of the folders bach, breakhis"):
        choose_tasks(tmp_path, None)
    with pytest.raises(NoResultsError, match="none of predictions, overlaps, regions"):
        write_report(tmp_path, resamples=100)
