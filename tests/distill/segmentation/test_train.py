"""Training a segmenter in small: learned, resumed, taught by itself, saved, measured."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.errors import LabelledDataError, ModelError
from distill.segmentation.card import read_segmenter_card
from distill.segmentation.evaluate import cases_seen, evaluate_segmenter
from distill.segmentation.images import UNKNOWN, ClassImage, ClassImages
from distill.segmentation.pseudo import SelfTeaching, label_confident
from distill.segmentation.scores import summarise_images
from distill.segmentation.segmenter import WEIGHTS_NAME, load_segmenter
from distill.segmentation.settings import SegmenterSettings
from distill.segmentation.train import TrainedSegmenter, train_segmenter
from distill.teachers.watch import CHECKPOINT_NAME, LOSS_NAME, METRICS_NAME
from distill.train import Schedule
from tests.distill.segmentation.made import CLASSES, image_of

SETTINGS = SegmenterSettings(
    encoder="resnet10t",
    schedule=Schedule(steps=60, learning_rate=3e-3),
    mpp=0.5,
    validation=0.4,
    crop_px=64,
    batch_size=4,
    average_decay=0.9,
    checks=1,
    workers=0,
)
FEW = replace(SETTINGS, schedule=Schedule(steps=4), checks=10**6)


@pytest.fixture(scope="module")
def data() -> ClassImages:
    """Ten images of five patients."""
    images = [image_of(seed, case=f"patient {seed // 2}") for seed in range(10)]
    return ClassImages(classes=CLASSES, images=images)


def trained(
    data: ClassImages, folder: Path, settings: SegmenterSettings, **more: object
) -> TrainedSegmenter:
    return train_segmenter(
        {"made": data},
        folder,
        settings,
        licence="CC0",
        **({"report": lambda line: None} | more),  # type: ignore[arg-type]
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def learned(data: ClassImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned")
    trained(data, folder, SETTINGS)
    return folder


def test_it_learns_what_is_dark(learned: Path, data: ClassImages) -> None:
    segmenter = load_segmenter(learned)
    unseen = ClassImages(classes=CLASSES, images=[image_of(seed) for seed in (100, 101)])
    scores = evaluate_segmenter(segmenter, unseen)
    summary = summarise_images(scores, CLASSES)
    assert summary.miou.value > 0.8
    assert summary.object_f1["gland"].value > 0.6
    at_weights = load_segmenter(learned / WEIGHTS_NAME).segment(unseen.images[0].pixels)
    np.testing.assert_array_equal(at_weights, segmenter.segment(unseen.images[0].pixels))
    # The same tissue scanned twice as fine is brought to the segmenter's resolution.
    fine = np.repeat(np.repeat(unseen.images[0].pixels, 2, axis=0), 2, axis=1)
    found = segmenter.segment(fine, mpp=0.25)
    assert found.shape == fine.shape[:2]
    assert (found[::2, ::2] == at_weights).mean() > 0.97
    other = ClassImages(classes=("background", "fat"), images=data.images)
    with pytest.raises(LabelledDataError, match="names and order must be the same"):
        evaluate_segmenter(segmenter, other)


def test_patients_stay_on_one_side_and_are_remembered(learned: Path) -> None:
    rows = rows_of(learned / "split.csv")
    sides = {(row["case"], row["split"]) for row in rows}
    assert len(rows) == 10
    assert len(sides) == 5
    assert {side for _, side in sides} == {"train", "held out"}
    assert cases_seen(learned, ["patient 1", "somebody"]) == {"patient 1"}
    assert cases_seen(learned / WEIGHTS_NAME, ["patient 1"]) == {"patient 1"}


def test_the_card_says_what_it_is(learned: Path) -> None:
    card = read_segmenter_card(learned)
    assert (card.architecture, card.decoder, card.classes) == (SETTINGS.encoder, "unet", CLASSES)
    assert card.training.data_licence == "CC0"
    assert "60 steps" in card.training.method
    assert card.training.measures["held_out_images"] == 4
    measured = [float(row["miou"]) for row in rows_of(learned / METRICS_NAME)]
    assert card.training.measures["held_out_miou"] == pytest.approx(max(measured), abs=1e-4)
    (learned / WEIGHTS_NAME).touch()
    text = (learned / "segmenter.toml").read_text()
    wrong = learned.parent / "wrong"
    wrong.mkdir()
    (wrong / WEIGHTS_NAME).write_bytes((learned / WEIGHTS_NAME).read_bytes() + b" ")
    (wrong / "segmenter.toml").write_text(text)
    with pytest.raises(ModelError, match="its card says"):
        load_segmenter(wrong)
    (wrong / "segmenter.toml").write_text(text.replace('"segmentation"', '"tissue"'))
    with pytest.raises(ModelError, match="written by another step"):
        load_segmenter(wrong)


def test_a_killed_training_ends_as_an_undisturbed_one(
    data: ClassImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("step 2"):
            raise Killed

    monkeypatch.setattr("distill.teachers.watch.CHECKING", 0)
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    trained(data, tmp_path / "straight", FEW)
    assert torch.equal(torch.rand(2), expected)  # the caller's random numbers are his
    with pytest.raises(Killed):
        trained(data, tmp_path / "killed", FEW, report=kill)
    assert (tmp_path / "killed" / CHECKPOINT_NAME).is_file()
    trained(data, tmp_path / "killed", FEW, resume=True)
    straight, killed = (
        np.loadtxt(tmp_path / folder / LOSS_NAME, delimiter=",", skiprows=1)
        for folder in ("straight", "killed")
    )
    np.testing.assert_allclose(killed, straight, rtol=1e-5)
    assert len(straight) == 4


def test_a_training_that_ended_early_is_not_gone_on_with(
    data: ClassImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.teachers.watch.CHECKING", 0)
    impatient = replace(FEW, patience=0)
    assert trained(data, tmp_path, impatient).steps == 1
    first = (tmp_path / WEIGHTS_NAME).read_bytes()
    assert trained(data, tmp_path, impatient, resume=True).steps == 1
    assert (tmp_path / WEIGHTS_NAME).read_bytes() == first


def test_only_confident_pixels_are_taken() -> None:
    image = ClassImage(
        pixels=np.zeros((2, 2, 3), np.uint8),
        classes=np.full((2, 2), UNKNOWN, np.int32),
        name="x",
        case="x",
    )
    first = np.array([[0.95, 0.5], [0.05, 0.2]], np.float32)
    sure, unsure = np.stack([first, 1 - first]), np.full((2, 2, 2), 0.5, np.float32)
    answers = iter([sure, unsure])
    taken = label_confident([image, image], lambda _: next(answers), CLASSES, 0.9)
    assert [of.classes.tolist() for of in taken.images] == [[[0, UNKNOWN], [1, UNKNOWN]]]
    assert taken.n_images == 2
    assert taken.share == pytest.approx(2 / 8)
    assert taken.of_class == {"background": 0.5, "gland": 0.5}
    assert "1 of 2 images, 25.0% of their pixels" in taken.describe()


def without_labels(image: ClassImage) -> ClassImage:
    unknown = np.full(image.classes.shape, UNKNOWN, np.int32)
    return replace(image, classes=unknown, objects=None)


def test_it_is_not_judged_by_what_it_labelled_itself(data: ClassImages, tmp_path: Path) -> None:
    """Held-out patients, and held-out images under other names and at other resolutions."""
    trained(data, tmp_path / "alone", FEW)
    alone = rows_of(tmp_path / "alone" / "split.csv")
    held = {row["case"] for row in alone if row["split"] == "held out"}
    (learned_from, judged_by) = (
        [image for image in data.images if (image.case in held) == wanted]
        for wanted in (False, True)
    )
    more = [
        image_of(50, case="another"),
        image_of(51, case=judged_by[0].case),  # another image of a held-out patient
        replace(judged_by[0], name="copy", case="nobody knows", mpp=0.25),
        replace(judged_by[1], name="copy 2", case="nobody knows"),
        learned_from[0],
    ]
    teaching = SelfTeaching(images=[without_labels(image) for image in more], confidence=0.5)
    said: list[str] = []
    settings = replace(FEW, mpp=0.35)  # pixels are compared before they are resampled
    for resume in (False, True):
        trained(
            data,
            tmp_path / "taught",
            settings,
            teaching=teaching,
            resume=resume,
            report=said.append,
        )
        rows = rows_of(tmp_path / "taught" / "split.csv")
        assert rows[: len(alone)] == alone
        assert [(row["case"], row["split"]) for row in rows[len(alone) :]] == [
            ("another", "pseudo-labelled"),
            (learned_from[0].case, "pseudo-labelled"),
        ]
    assert sum("3 of 5 images" in line and "left out" in line for line in said) == 2
    assert sum("round 1: 2 of 2 images" in line for line in said) == 2
    assert "1 rounds on 2 images" in read_segmenter_card(tmp_path / "taught").training.method
    assert cases_seen(tmp_path / "taught", ["another", "nobody knows"]) == {"another"}
    only_held = replace(teaching, images=teaching.images[1:4])
    with pytest.raises(LabelledDataError, match="none of the 3 images to label"):
        trained(data, tmp_path / "none", FEW, teaching=only_held)


def test_it_teaches_itself_in_rounds(data: ClassImages, tmp_path: Path) -> None:
    unlabelled = [without_labels(image_of(seed)) for seed in range(50, 54)]
    teaching = SelfTeaching(images=unlabelled, rounds=2, confidence=0.7)
    said: list[str] = []
    settings = replace(SETTINGS, schedule=Schedule(steps=60, learning_rate=3e-3))
    result = trained(data, tmp_path, settings, teaching=teaching, report=said.append)
    rows = rows_of(tmp_path / "rounds.csv")
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["share_of_pixels"]) == 0
    assert 0 < float(rows[1]["share_of_pixels"]) <= 1
    assert float(rows[1]["taken_gland"]) + float(rows[1]["taken_background"]) == pytest.approx(1)
    assert sum("of 4 images" in line for line in said) == 2
    merits = [float(row["held_out_miou"]) for row in rows]
    assert result.best == int(np.argmax(merits))
    assert result.held_out.miou.value == pytest.approx(max(merits))
    assert (tmp_path / "round-2" / LOSS_NAME).is_file()
    card = read_segmenter_card(tmp_path)
    assert "2 rounds on 4 images it labelled itself (confidence 0.7)" in card.training.method
