"""Training a teacher in small: split by case, kept, resumed, saved, loaded, measured."""

import csv
import math
import re
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.card import TrainingCard
from distill.device import device_of
from distill.errors import LabelledDataError, ModelError
from distill.metrics import Scores, score
from distill.seen import TEACHER_SEEN_NAME, list_images, read_seen
from distill.targets import nuclei_maps
from distill.teachers.card import CARD_NAME, TeacherCard, read_teacher_card
from distill.teachers.evaluate import evaluate_teacher
from distill.teachers.labelled import UNKNOWN, Labelled
from distill.teachers.postprocess import Thresholds
from distill.teachers.predict import predict_maps
from distill.teachers.split import Fold, Sources, split_by_case
from distill.teachers.teacher import (
    WEIGHTS_NAME,
    build_net,
    load_teacher,
    save_teacher,
)
from distill.teachers.train import TeacherSettings, TrainedTeacher, train_teacher
from distill.teachers.tune import Maps, merit, score_all, tune
from distill.teachers.watch import CHECKPOINT_NAME, HELD_OUT_NAME, LOSS_NAME, METRICS_NAME
from distill.train import Schedule
from wsi.testing import nuclei_crops

TRAINING = TrainingCard(data="made up", data_licence="Apache-2.0", method="none")


def images_of(cases: str, *, complete: bool = True) -> list[Labelled]:
    """Images of 4 x 4 pixels, one a letter; the letter is the case."""
    instances = np.full((4, 4), 1 if complete else UNKNOWN, np.int32)
    pixels = np.zeros((4, 4, 3), np.uint8)
    return [
        Labelled(pixels=pixels, instances=instances, name=f"{case}{i}", case=case)
        for i, case in enumerate(cases)
    ]


@pytest.fixture(scope="module")
def tissue() -> list[Labelled]:
    pixels, instances = nuclei_crops(count=8, size_px=96, seed=0)
    return [
        Labelled(pixels=p, instances=i.astype(np.int32), name=f"crop{n}", case=f"case{n}")
        for n, (p, i) in enumerate(zip(pixels, instances, strict=True))
    ]


SETTINGS = TeacherSettings(
    encoder="mobilenetv3_small_050",
    schedule=Schedule(steps=6),
    validation=0.25,
    crop_px=64,
    batch_size=2,
    checks=3,
    workers=0,
)


def trained(images: list[Labelled], folder: Path, settings: TeacherSettings) -> TrainedTeacher:
    return train_teacher(
        {"made": images}, folder, settings, licence="Apache-2.0", report=lambda _: None
    )


@given(
    cases=st.text("abcdefgh", min_size=4, max_size=20),
    validation=st.floats(0.2, 0.6),
    seed=st.integers(0, 9),
)
def test_no_case_is_on_both_sides(cases: str, validation: float, seed: int) -> None:
    sources = {"one": images_of(cases), "two": images_of("xyzw" + cases, complete=True)}
    split = split_by_case(sources, validation=validation, seed=seed)
    held = {image.case for images in split.held_out.values() for image in images}
    assert held
    assert held.isdisjoint(image.case for image in split.train)
    assert {i.case for i in split.train} | held == set("xyzw" + cases)


def test_only_complete_truth_is_held_out() -> None:
    sources = {"one": images_of("abcd") + images_of("aefg", complete=False)}
    for seed in range(5):
        split = split_by_case(sources, validation=0.5, seed=seed)
        assert all(image.complete for image in split.held_out["one"])
        assert len(split.held_out["one"]) == 2
        assert {"e", "f", "g"} <= {image.case for image in split.train}


@pytest.mark.parametrize("validation", [0.1, 1.0])
def test_a_split_without_one_side_is_refused(validation: float) -> None:
    with pytest.raises(LabelledDataError, match=r"by source: \{'one': 2\}; .*share of"):
        split_by_case({"one": images_of("ab")}, validation=validation, seed=0)


@given(
    cases=st.lists(st.sampled_from("abcdefgh"), min_size=5, unique=True),
    folds=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_folds_hold_every_case_of_every_source_out_once(
    cases: list[str], folds: int, seed: int
) -> None:
    one = images_of("".join(cases) * 2) + images_of("q", complete=False)
    sources = {"one": one, "two": images_of("vwxyzvwabc")}
    held: dict[str, list[str]] = {"one": [], "two": []}
    for number in range(folds):
        fold = Fold(number=number, of=folds)
        split = split_by_case(sources, validation=fold, seed=seed)
        assert split == split_by_case(sources, validation=fold, seed=seed)
        of_fold = {i.case for images in split.held_out.values() for i in images}
        assert of_fold.isdisjoint(image.case for image in split.train)
        for source, images in split.held_out.items():
            held[source] += [image.name for image in images]
    for source, images in sources.items():
        assert sorted(held[source]) == sorted(i.name for i in images if i.complete)


def test_a_source_of_fewer_cases_than_folds_is_named() -> None:
    """One without any completely labelled case is only ever learned from."""
    sources = {"most": images_of("abcde"), "few": images_of("xyzx"), "two": images_of("vw")}
    with pytest.raises(LabelledDataError, match=r"few \(3\), two \(2\).*fewer than 5 folds"):
        split_by_case(sources, validation=Fold(number=0, of=5), seed=0)
    masks = {"most": images_of("abcde"), "masks": images_of("xyz", complete=False)}
    split = split_by_case(masks, validation=Fold(number=4, of=5), seed=0)
    assert list(split.held_out) == ["most"]
    assert {"x", "y", "z"} < {image.case for image in split.train}
    with pytest.raises(LabelledDataError, match=r"\{'masks': 0\}; .*fold 0 of 5"):
        split_by_case({"masks": masks["masks"]}, validation=Fold(number=0, of=5), seed=0)


def test_tuning_finds_what_the_maps_need(tissue: list[Labelled]) -> None:
    """Maps that are right but unsure: the default threshold finds nothing."""
    maps = {"made": [nuclei_maps(image.instances) * [[[0.42]], [[1]], [[1]]] for image in tissue]}
    held_out = {"made": tissue}
    assert merit(score_all(held_out, maps, Thresholds())) == 0
    tuned = tune(held_out, maps)
    assert tuned.nuclei < 0.42
    assert merit(score_all(held_out, maps, tuned)) > 0.7


def test_a_source_without_nuclei_decides_nothing_unless_some_are_found() -> None:
    def scores(aji: float) -> Scores:
        return Scores(dice=aji, aji=aji, aji_plus=aji, dq=aji, sq=aji, pq=aji)

    nothing, half = scores(math.nan), scores(0.5)
    assert merit({"made": [half, nothing], "empty": [nothing]}) == 0.5
    assert merit({"made": [half], "empty": [nothing, scores(0)]}) == 0.25
    assert merit({"empty": [nothing]}) == 0


def test_thresholds_are_chosen_on_the_view_that_slides_use(
    tissue: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged maps are surer than single ones: other thresholds would suit them."""
    tuned: list[Maps] = []

    def noting(held_out: Sources, maps: Maps) -> Thresholds:
        tuned.append(maps)
        return tune(held_out, maps)

    monkeypatch.setattr("distill.teachers.train.tune", noting)
    trained(tissue, tmp_path, SETTINGS)
    split = split_by_case({"made": tissue}, validation=SETTINGS.validation, seed=SETTINGS.seed)
    net = load_teacher(tmp_path).net
    (maps,) = tuned
    for image, of_image in zip(split.held_out["made"], maps["made"], strict=True):
        np.testing.assert_allclose(of_image, predict_maps(net, image.pixels), atol=1e-6)


def test_training_leaves_a_teacher_that_can_be_used(tissue: list[Labelled], tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    result = trained(tissue, tmp_path, SETTINGS)
    assert torch.equal(torch.rand(2), expected)  # the caller's random numbers are his
    assert result.steps == 6
    with (tmp_path / LOSS_NAME).open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 6
    with (tmp_path / METRICS_NAME).open() as file:
        checks = list(csv.DictReader(file))
    assert checks[-1]["step"] == "6"
    assert {"made_aji", "made_dice", "merit", "loss"} <= checks[0].keys()
    with (tmp_path / HELD_OUT_NAME).open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["source"], row["image"][4:]) for row in rows} <= {
        ("made", row["case"][4:]) for row in rows
    }
    assert len(rows) == 2
    assert set(result.averaged["made"]) == set(result.held_out["made"])
    card = read_teacher_card(tmp_path)
    dice = result.averaged["made"]["dice"].mean
    assert card.training.measures["made_held_out_8_views_dice"] == pytest.approx(dice, abs=1e-4)
    aji = np.nanmean([float(row["aji"]) for row in rows])
    assert result.held_out["made"]["aji"].mean == pytest.approx(aji, nan_ok=True)

    assert read_seen(tmp_path / TEACHER_SEEN_NAME) == list_images(i.pixels for i in tissue)
    card = read_teacher_card(tmp_path)
    assert isinstance(card, TeacherCard)
    assert card.training.measures["training_seconds"] > 0

    teacher = load_teacher(tmp_path)
    found = teacher.segment(tissue[0].pixels)
    assert found.shape == (96, 96)
    np.testing.assert_array_equal(
        load_teacher(tmp_path / WEIGHTS_NAME).segment(tissue[0].pixels), found
    )
    scores = evaluate_teacher(teacher, tissue[:2] + images_of("q", complete=False), turns=1)
    assert [image.name for image, _ in scores] == ["crop0", "crop1"]
    assert scores[0][1] == pytest.approx(score(tissue[0].instances, found), nan_ok=True)


def test_a_killed_training_ends_as_an_undisturbed_one(
    tissue: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("step 4"):
            raise Killed

    settings = replace(SETTINGS, checks=10**6)  # one after every step
    monkeypatch.setattr("distill.teachers.watch.CHECKING", 0)
    trained(tissue, tmp_path / "straight", settings)
    with pytest.raises(Killed):
        train_teacher(
            {"made": tissue}, tmp_path / "killed", settings, licence="Apache-2.0", report=kill
        )
    assert (tmp_path / "killed" / CHECKPOINT_NAME).is_file()
    assert not (tmp_path / "killed" / CARD_NAME).exists()
    said: list[str] = []
    train_teacher(
        {"made": tissue},
        tmp_path / "killed",
        settings,
        licence="Apache-2.0",
        resume=True,
        report=said.append,
    )
    assert said[0] == "going on after step 4"
    straight, killed = (
        np.loadtxt(tmp_path / folder / LOSS_NAME, delimiter=",", skiprows=1)
        for folder in ("straight", "killed")
    )
    np.testing.assert_allclose(killed, straight, rtol=1e-5)


def test_a_device_that_is_not_here_is_said(
    tissue: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match=r"compute on cuda:1, and no GPU is visible.*--device"):
        trained(tissue, tmp_path / "t", replace(SETTINGS, device="cuda:1"))
    assert not (tmp_path / "t").exists()
    with pytest.raises(ModelError, match="compute on cuda, and no GPU is visible"):
        load_teacher(tmp_path, device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_teacher_trains_on_a_gpu_and_is_gone_on_with_on_the_cpu(
    tissue: list[Labelled], tmp_path: Path
) -> None:
    assert trained(tissue, tmp_path, replace(SETTINGS, device="cuda")).steps == 6
    here, there = load_teacher(tmp_path), load_teacher(tmp_path, device="cuda")
    assert device_of(there.net).type == "cuda"
    scores = [evaluate_teacher(teacher, tissue[:2]) for teacher in (here, there)]
    for (_, of_here), (_, of_there) in zip(*scores, strict=True):
        assert astuple(of_there) == pytest.approx(astuple(of_here), abs=0.05, nan_ok=True)
    longer = replace(SETTINGS, schedule=Schedule(steps=8))
    said: list[str] = []
    train_teacher(
        {"made": tissue}, tmp_path, longer, licence="none", resume=True, report=said.append
    )
    assert said[0] == "going on after step 6"


def test_clumps_are_divided_in_what_is_learned_from_alone(
    tissue: list[Labelled], tmp_path: Path
) -> None:
    trained(tissue, tmp_path / "first", SETTINGS)
    clumped = [
        replace(i, instances=np.where(i.instances > 0, UNKNOWN, 0).astype(np.int32), name=f"c{n}")
        for n, i in enumerate(tissue[:3])
    ]
    said: list[str] = []
    losses = []
    for folder, clumps_by in (("as it is", None), ("divided", load_teacher(tmp_path / "first"))):
        train_teacher(
            {"made": tissue, "clumps": [*clumped, *images_of("yz")]},
            tmp_path / folder,
            SETTINGS,
            licence="Apache-2.0",
            clumps_by=clumps_by,
            report=said.append,
        )
        losses.append((tmp_path / folder / LOSS_NAME).read_text())
    assert losses[0] != losses[1]
    (told,) = (line for line in said if line.startswith("clumps divided"))
    assert re.match(r"clumps divided in [123] of \d+ images", told)
    sha256 = load_teacher(tmp_path / "first").sha256
    assert f"clumps divided by teacher {sha256[:12]}" in (tmp_path / folder / CARD_NAME).read_text()


def test_training_stops_when_nothing_gets_better(
    tissue: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.teachers.watch.CHECKING", 0)
    monkeypatch.setattr("distill.teachers.watch.merit", lambda _: 0.25)
    settings = replace(SETTINGS, schedule=Schedule(steps=50), checks=50, patience=3)
    assert trained(tissue, tmp_path, settings).steps == 4


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    for seed, folder in enumerate(("one", "other")):
        save_teacher(
            build_net("resnet10t", seed=seed),
            tmp_path / folder,
            architecture="resnet10t",
            mpp=0.25,
            thresholds=Thresholds(),
            training=TRAINING,
        )
    (tmp_path / "one" / WEIGHTS_NAME).replace(tmp_path / "other" / WEIGHTS_NAME)
    with pytest.raises(ModelError, match="its card says"):
        load_teacher(tmp_path / "other")
    with pytest.raises(ModelError, match="weights are missing"):
        load_teacher(tmp_path / "one")
    with pytest.raises(ModelError, match="'raypath teacher train' makes one"):
        load_teacher(tmp_path)


def test_a_teacher_of_other_widths_is_loaded_as_it_was(tmp_path: Path) -> None:
    net = build_net("resnet10t", widths=(32, 16, 16, 8)).eval()
    save_teacher(
        net,
        tmp_path,
        architecture="resnet10t",
        mpp=0.25,
        thresholds=Thresholds(),
        training=TRAINING,
    )
    image = torch.zeros(1, 3, 64, 64)
    assert torch.equal(load_teacher(tmp_path).net(image), net(image))
