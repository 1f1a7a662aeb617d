"""`raypath mil train` from files to predictions, and what it refuses before it trains."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from distill.card import HeadFile, ModelCard, TileCard, TrainingCard, read_toml
from distill.checkpoint import load_weights, save_encoder
from distill.encoders import create_backbone, encoder_of
from distill.errors import ModelError
from pipelines.cli.main import cli
from pipelines.errors import FeaturesError, SplitError, UsageError
from pipelines.mil.bags import bag_logits
from pipelines.mil.features import open_features
from pipelines.mil.heads.registry import create_head
from pipelines.mil.job import MilJob
from pipelines.mil.run import read_job, train_mil
from pipelines.mil.training import HeadSettings
from pipelines.model import load_model, save_model
from wsi.plan import TileSpec

Make = Callable[..., Any]


def job_of(files: Any, out: Path, **changes: Any) -> MilJob:
    """A quick job on the cohort."""
    wanted = {
        "features": files.features,
        "labels": files.labels,
        "out": out,
        "positive": "tumour",
        "settings": HeadSettings(epochs=2, sizes={"hidden_dim": 16, "attention_dim": 8}),
        "folds": 3,
    }
    return MilJob(**(wanted | changes))


def rewrite(path: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """Change the rows of a table of labels; None drops one."""
    with path.open(newline="") as file:
        rows = [new for row in csv.DictReader(file) if (new := change(row)) is not None]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_every_slide_is_predicted_by_heads_that_have_not_learnt_from_it(
    make_cohort: Make, tmp_path: Path
) -> None:
    files, out = make_cohort(), tmp_path / "out"
    settings = HeadSettings(epochs=20, sizes={"hidden_dim": 16, "attention_dim": 8})
    job = job_of(files, out, folds=2, seeds=2, settings=settings)
    lines: list[tuple[int, str]] = []
    summary = train_mil(job, read_job(job), report=lambda done, line: lines.append((done, line)))
    table = pq.read_table(out / "predictions.parquet").to_pandas()
    assert list(table.columns) == [
        "slide_id", "patient_id", "fold", "seed", "split", "target", "classes", "logits", "site",
    ]  # fmt: skip
    assert set(table["split"]) == {"tune", "test"}
    tested = table[table["split"] == "test"]
    assert Counter(zip(tested["slide_id"], tested["seed"], strict=True)) == {
        (f"s{n}", seed): 1 for n in range(32) for seed in (0, 1)
    }
    with (out / "split.csv").open(newline="") as file:
        sides = {(r["slide_id"], int(r["fold"])): r for r in csv.DictReader(file)}
    for row in table.to_dict("records"):
        assert sides[row["slide_id"], row["fold"]]["split"] == row["split"]
        assert list(row["classes"]) == ["normal", "tumour"]
        assert row["site"] == f"site{int(row['slide_id'][1:]) % 3}"
    scores = [logits[1] - logits[0] for logits in tested["logits"]]
    assert roc_auc_score(tested["target"] == "tumour", scores) > 0.85
    assert [done for done, _ in lines] == [1, 2, 3, 4]
    assert len(summary["heads"]) == 4
    assert summary["counts"]["patients"] == 16
    assert summary["counts"]["slides_of_class"] == {"normal": 16, "tumour": 16}
    assert json.loads((out / "train.json").read_text())["counts"] == summary["counts"]
    assert summary["peak_memory_bytes"] > 10**7


@pytest.mark.parametrize("same", [True, False])
def test_with_the_encoder_a_fold_is_a_model_to_run(
    make_cohort: Make, tmp_path: Path, same: bool
) -> None:
    files = make_cohort(24)
    encoder = encoder_of(
        create_backbone("resnet10t", seed=0),
        identifier="resnet10t-test",
        spec=TileSpec(size_px=32, mpp=0.5),
        licence="CC0",
    )
    training = TrainingCard(data="noise", data_licence="CC0", method="none")
    tile = TileCard(size_px=32, mpp=0.5)
    (tmp_path / "m").mkdir()
    described = save_encoder(encoder, tmp_path / "m", architecture="resnet10t")
    card = ModelCard(encoder=described, tile=tile, training=training)
    save_model(tmp_path / "m", card, encoder)
    for path in files.features.glob("*.h5"):
        with h5py.File(path, "a") as file:
            wide = np.repeat(file["features"][:], encoder.dim // 8, axis=1)
            del file["features"]
            file["features"] = wide
            file["features"].attrs["encoder_sha256"] = described.sha256 if same else "ab" * 32
    job = job_of(files, tmp_path / "out", folds=2, model=tmp_path / "m", licence="CC-BY-4.0")
    if not same:
        with pytest.raises(ModelError, match="the embeddings are by an unnamed one, abababababab"):
            train_mil(job, read_job(job))
        return
    train_mil(job, read_job(job))
    model = load_model(tmp_path / "out" / "fold-1-seed-0")
    assert model.head_card.classes == ("normal", "tumour")
    assert model.card.training.data_licence == "CC0; head: CC-BY-4.0"
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    row = table[table["fold"] == 1].iloc[0]
    assert model.head is not None
    logits = bag_logits(model.head, open_features(files.features / f"{row['slide_id']}.h5").read())
    assert logits == pytest.approx(row["logits"], rel=1e-4)


def test_a_stored_head_says_what_is_in_the_predictions(make_cohort: Make, tmp_path: Path) -> None:
    files, out = make_cohort(), tmp_path / "out"
    settings = HeadSettings(kind="clam-mb", epochs=2, sizes={"hidden_dim": 16})
    job = job_of(files, out, settings=settings)
    train_mil(job, read_job(job))
    table = pq.read_table(out / "predictions.parquet").to_pandas()
    for fold in range(3):
        folder = out / f"fold-{fold}-seed-0"
        card = read_toml(folder / "head.toml", HeadFile, made_by="")
        assert card.head.kind == "clam-mb"
        assert card.head.sizes == {"hidden_dim": 16, "attention_dim": 64}
        head = create_head(card.head.kind, card.dim, len(card.head.classes), card.head.sizes)
        load_weights(head, folder / card.head.weights, sha256=card.head.sha256)
        row = table[(table["fold"] == fold) & (table["split"] == "test")].iloc[0]
        features = open_features(files.features / f"{row['slide_id']}.h5")
        assert bag_logits(head.eval(), features.read()) == pytest.approx(row["logits"], rel=1e-5)


def test_the_same_job_gives_the_same_predictions(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    tables = []
    for name in ("one", "two"):
        job = job_of(files, tmp_path / name)
        train_mil(job, read_job(job))
        tables.append(pq.read_table(tmp_path / name / "predictions.parquet"))
    assert tables[0].equals(tables[1])


def test_a_split_in_the_labels_is_kept(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    words = {0: "train", 1: "train", 2: "val", 3: "test"}
    rewrite(files.labels, lambda r: r | {"split": words[int(r["patient_id"][1:]) // 4]})
    job = job_of(files, tmp_path / "out", folds=None)
    cohort = read_job(job)
    assert [d.sides for d in cohort.divisions] == [("train",) * 16 + ("tune",) * 8 + ("test",) * 8]
    train_mil(job, cohort)
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    assert len(table) == 16
    assert len(read_job(job_of(files, tmp_path / "o", folds=4)).divisions) == 4
    with pytest.raises(UsageError, match="--folds and --split contradict"):
        read_job(job_of(files, tmp_path / "o", split="split"))


def test_tiles_that_are_not_finite_are_counted_and_left_out(
    make_cohort: Make, tmp_path: Path
) -> None:
    files = make_cohort()
    for name in ("s3", "s4"):
        with h5py.File(files.features / f"{name}.h5", "a") as file:
            file["features"][:2] = np.nan
    job = job_of(files, tmp_path / "out", settings=HeadSettings(kind="mean", epochs=1))
    cohort = read_job(job)
    summary = train_mil(job, cohort)
    assert summary["counts"]["tiles_not_finite"] == 4
    assert summary["counts"]["tiles"] == sum(
        len(b.read()) for b in cohort.bags(cohort.divisions[0])
    )
    logits = pq.read_table(tmp_path / "out" / "predictions.parquet")["logits"].to_pylist()
    assert np.isfinite(logits).all()


def test_the_same_slide_under_two_names_is_refused(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    shutil.copyfile(files.features / "s0.h5", files.features / "s4.h5")  # patients p0 and p2
    split_of = {0: "train", 1: "train", 2: "test", 3: "tune"}
    rewrite(files.labels, lambda r: r | {"split": split_of[int(r["patient_id"][1:]) % 4]})
    with pytest.raises(SplitError, match=r"leaks: slides s0, s4 have the same embeddings and are"):
        read_job(job_of(files, tmp_path / "out", folds=None))


def test_one_scan_embedded_twice_is_refused(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    for name in ("s0", "s4"):  # patients p0 and p2, other tiles
        with h5py.File(files.features / f"{name}.h5", "a") as file:
            file["coords"].attrs["slide_digest"] = "ab" * 32
    split_of = {0: "train", 1: "train", 2: "test", 3: "tune"}
    rewrite(files.labels, lambda r: r | {"split": split_of[int(r["patient_id"][1:]) % 4]})
    with pytest.raises(SplitError, match=r"leaks: slides s0, s4 have the same content and are"):
        read_job(job_of(files, tmp_path / "out", folds=None))


def test_cases_under_another_name_stand_on_one_side(make_cohort: Make, tmp_path: Path) -> None:
    files, out = make_cohort(60), tmp_path / "out"

    def rename(row: dict[str, str]) -> dict[str, str]:
        slide_id = row["slide_id"]
        return {
            "slide_id": slide_id,
            "case_id": f"c{int(slide_id[1:]) % 20}",
            "label": row["label"],
        }

    rewrite(files.labels, rename)
    words = ["--features", files.features, "--labels", files.labels, "-o", out, "--head", "mean"]
    words += ["--positive", "tumour", "--folds", 3, "--epochs", 1]
    result = CliRunner().invoke(cli, ["mil", "train", *map(str, words)], catch_exceptions=False)
    assert "Patients: 20, by column case_id of labels.csv" in result.output
    sides: dict[tuple[str, str], set[str]] = {}
    with (out / "split.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sides.setdefault((row["fold"], row["patient_id"]), set()).add(row["split"])
    assert len(sides) == 60  # 20 cases in each of three folds
    assert all(len(of_case) == 1 for of_case in sides.values())
    about = json.loads((out / "train.json").read_text())["counts"]
    assert (about["patients"], about["patient_column"]) == (20, "case_id")


def test_unknown_patients_are_warned_of(make_cohort: Make, tmp_path: Path) -> None:
    files, out = make_cohort(), tmp_path / "out"
    rewrite(files.labels, lambda r: {"slide_id": r["slide_id"], "label": r["label"]})
    words = ["--features", files.features, "--labels", files.labels, "-o", out, "--head", "mean"]
    words += ["--positive", "tumour", "--folds", 2, "--epochs", 1]
    result = CliRunner().invoke(cli, ["mil", "train", *map(str, words)], catch_exceptions=False)
    assert "Warning: patients unknown: each slide counts as one" in result.output
    about = json.loads((out / "train.json").read_text())["counts"]
    assert (about["patients"], about["patient_column"]) == (None, None)


def test_a_given_split_with_a_patient_astride_is_refused(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    rewrite(files.labels, lambda r: r | {"mine": "test" if int(r["slide_id"][1:]) % 5 else "train"})
    with pytest.raises(SplitError, match="the split leaks: patient 'p0' is in"):
        read_job(job_of(files, tmp_path / "out", folds=None, split="mine"))


def test_slides_without_embeddings_are_left_out_only_when_asked(
    make_cohort: Make, tmp_path: Path
) -> None:
    files = make_cohort()
    (files.features / "s5.h5").unlink()
    with h5py.File(files.features / "s6.h5", "a") as file:
        file["features"][:] = np.nan
    rewrite(files.labels, lambda r: None if r["slide_id"] == "s7" else r)
    with pytest.raises(FeaturesError, match=r"1 labelled .* \(s5\), 1 have none .* \(s6\).*--skip"):
        read_job(job_of(files, tmp_path / "out"))
    cohort = read_job(job_of(files, tmp_path / "out", skip_missing=True))
    assert (cohort.without_features, cohort.without_tiles, cohort.unlabelled) == (
        ("s5",),
        ("s6",),
        1,
    )
    assert len(cohort.slides) == 29


def test_embeddings_of_two_encoders_are_refused(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    with h5py.File(files.features / "s5.h5", "a") as file:
        file["features"].attrs["encoder"] = "uni_v1"
    with pytest.raises(FeaturesError, match=r"31 slides by an unnamed one.*; 1 slides by uni_v1"):
        read_job(job_of(files, tmp_path / "out"))


def test_a_positive_class_that_no_slide_has_is_refused(make_cohort: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--positive tumor: .* normal \(16\), tumour \(16\)"):
        read_job(job_of(make_cohort(), tmp_path / "out", positive="tumor"))


def test_the_last_of_two_classes_is_the_positive_one(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    assert read_job(job_of(files, tmp_path / "out", positive=None)).positive == "tumour"
    assert read_job(job_of(files, tmp_path / "out", positive="normal")).positive == "normal"
    rewrite(files.labels, lambda r: r | {"label": "normal"})
    with pytest.raises(UsageError, match=r"of one class, normal \(32\): two at least"):
        read_job(job_of(files, tmp_path / "out", positive=None))


def test_a_class_that_is_not_learnt_is_refused(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    words = ("train", "train", "tune", "test")

    def change(row: dict[str, str]) -> dict[str, str]:
        split = words[int(row["patient_id"][1:]) // 4]
        return row | {"split": split} | ({"label": "odd"} if row["slide_id"] == "s31" else {})

    rewrite(files.labels, change)
    with pytest.raises(SplitError, match="fold 0: no training slide is odd"):
        read_job(job_of(files, tmp_path / "out", folds=None))


def test_a_finished_training_is_not_written_over(make_cohort: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a finished training"):
        read_job(job_of(make_cohort(), tmp_path / "out"))


def test_a_head_that_is_unknown_is_refused_before_training(
    make_cohort: Make, tmp_path: Path
) -> None:
    job = job_of(make_cohort(), tmp_path / "out", settings=HeadSettings(kind="abmil"))
    with pytest.raises(ModelError, match="no head is called 'abmil'"):
        train_mil(job, read_job(job))
    assert not (tmp_path / "out" / "predictions.parquet").exists()


def test_the_command(make_cohort: Make, tmp_path: Path) -> None:
    files, out = make_cohort(), tmp_path / "out"
    arguments = ["--features", str(files.features), "--labels", str(files.labels), "-o", str(out)]
    arguments += ["--positive", "tumour", "--folds", "2", "--head", "dtfd", "--epochs", "2"]
    arguments += ["--size", "hidden_dim=16", "--size", "groups=2", "--most-tiles", "10"]
    result = CliRunner().invoke(cli, ["mil", "train", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert "32 slides (16 normal, 16 tumour), 16 patients" in result.output
    assert "peak memory" in result.output
    settings = json.loads((out / "train.json").read_text())["settings"]["settings"]
    assert settings["sizes"] == {"hidden_dim": 16, "groups": 2}
    assert (out / "fold-1-seed-0" / "head.toml").is_file()


def test_a_size_is_a_name_and_a_number(make_cohort: Make, tmp_path: Path) -> None:
    files = make_cohort()
    arguments = ["--features", str(files.features), "--labels", str(files.labels)]
    arguments += ["-o", str(tmp_path / "out"), "--size", "hidden_dim"]
    with pytest.raises(UsageError, match="--size hidden_dim: wanted a name and a number"):
        CliRunner().invoke(cli, ["mil", "train", *arguments], catch_exceptions=False)
