"""Every encoder × task × probe × share of the labels × seed; what is there already is kept."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.pretraining.candidates import Candidate
from benchmarks.pretraining.costs import write_costs
from benchmarks.pretraining.parts import Unit, is_done, key_of, write_part
from benchmarks.pretraining.tasks import CLASSIFICATION, SEGMENTATION
from distill.downstream.dataset import LabelledImages
from distill.downstream.embedding import cached_embeddings, encoder_digest, view_of
from distill.downstream.few_shot import SHOTS, draw_episodes, nearest_prototype
from distill.downstream.finetune import FineTuning, Shown, fine_tune
from distill.downstream.knn import nearest_neighbours
from distill.downstream.linear import linear_probe
from distill.downstream.nuclei_probe import Segmenting, segment
from distill.downstream.probe import Answer, Embedded
from distill.downstream.splits import Fold, divide, folds, take_fraction
from distill.encoders import Encoder, PooledFeatures
from distill.errors import LabelledDataError
from distill.teachers.labelled import Labelled

PROTOCOL = 1  # raised when the same settings would give other predictions
SEGMENTING_PROTOCOL = 2  # the same of the segmentation probes
FOLDS = 5
PROBES = ("knn", "linear", "few-shot", "finetune", "segment-frozen", "segment-finetune")
ON_EMBEDDINGS: Mapping[str, Callable[..., Answer]] = {
    "knn": nearest_neighbours,
    "linear": linear_probe,
}
# Each a probe of its own in the results: classifier, and images of each class.
FEW_SHOT = {
    f"few-shot-{shots}-{name}": (shots, classify)
    for shots in SHOTS
    for name, classify in (("prototype", nearest_prototype), ("linear", linear_probe))
}
SEGMENTING = {
    "segment-frozen": Segmenting(mode="frozen"),
    "segment-finetune": Segmenting(mode="finetune", learning_rate=1e-3),
}

T = TypeVar("T")
Say = Callable[[str], None]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is measured.

    Attributes
    ----------
    tasks, probes, fractions
        Names of tasks and probes, and shares of the labels.
    seeds
        How many. With kNN and the linear probe, each divides the patients anew and predicts every
        fold; fine-tuning and segmentation, which are dear, predict fold number `seed` of one
        division, so that five seeds predict every sample once.
    magnify
        See `distill.downstream.view.View`.
    finetuning
        Budget of fine-tuning.
    segmenting_steps
        Steps of the segmentation probes.
    device
        Where networks run.
    """

    tasks: tuple[str, ...]
    probes: tuple[str, ...] = PROBES
    fractions: tuple[float, ...] = (0.05, 0.25, 1.0)
    seeds: int = 5
    magnify: float = 1.0
    finetuning: FineTuning = field(default_factory=FineTuning)
    segmenting_steps: int = 300
    device: str = "cpu"


def choose_tasks(data: Path, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks asked for, or every one whose folder is below `data`.

    Raises
    ------
    LabelledDataError
        If a name is unknown, or no folder is there.
    """
    known = {name: task.folder for name, task in CLASSIFICATION.items()}
    known |= {name: task.folder for name, task in SEGMENTATION.items()}
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise LabelledDataError(
            f"no task is called {', '.join(unknown)}: one of {', '.join(known)}"
        )
    chosen = tuple(wanted or (name for name, folder in known.items() if (data / folder).is_dir()))
    if not chosen:
        folders = sorted(set(known.values()))
        raise LabelledDataError(f"{data} holds none of the folders {', '.join(folders)}")
    return chosen


def measure_pretraining(
    candidates: Sequence[Candidate], data: Path, out: Path, protocol: Protocol, say: Say
) -> None:
    """Run what is not there yet; parts are written below `out`, embeddings below ``out/cache``.

    Raises
    ------
    LabelledDataError
        If a task's folder is not laid out as published.
    ModelError
        If an encoder's weights do not fit its card.
    """
    write_costs(out, candidates)
    for name in protocol.tasks:
        if name in CLASSIFICATION:
            task = CLASSIFICATION[name]
            dataset = task.load(data / task.folder)
            say(f"{name}: {len(dataset)} images of {len(set(dataset.owners))} patients")
            for candidate in candidates:
                _classify(candidate, dataset, out, protocol, say)
        else:
            images = SEGMENTATION[name].load(data / SEGMENTATION[name].folder)
            say(f"{name}: {len(images)} images of {len({i.case for i in images})} cases")
            for candidate in candidates:
                _segment(candidate, name, images, out, protocol, say)


def _classify(
    candidate: Candidate, dataset: LabelledImages, out: Path, protocol: Protocol, say: Say
) -> None:
    encoder = candidate.load()
    view = view_of(encoder, magnify=protocol.magnify)
    weights = encoder_digest(encoder)
    shown = Shown(dataset, view)
    wanted = [p for p in protocol.probes if p in ON_EMBEDDINGS or p == "finetune"]
    units = list(_units(candidate, dataset.name, wanted, protocol))
    if "few-shot" in protocol.probes:
        all_labels = replace(protocol, fractions=(1.0,))  # an episode chooses its few itself
        units += _units(candidate, dataset.name, list(FEW_SHOT), all_labels)
    for unit in units:
        if unit.probe == "finetune" and not any(True for _ in encoder.module.parameters()):
            continue  # nothing to train: the report says so
        budget = asdict(protocol.finetuning) if unit.probe == "finetune" else {}
        key = key_of(
            protocol=PROTOCOL,
            encoder=weights,
            data=dataset.digest,
            view=repr(view),
            budget=budget | {"device": ""},  # the same predictions wherever they are made
        )
        path = unit.path(out, "predictions")
        if is_done(path, key):
            continue
        cache = out / "cache"
        if unit.probe == "finetune":
            rows, seconds = _timed(partial(_finetuned, unit, encoder, shown, protocol))
        else:
            embed = partial(cached_embeddings, dataset, encoder, view, cache)
            embedded, seconds = _timed(partial(embed, device=protocol.device))
            if seconds > 1:  # otherwise it was there
                say(f"{candidate.name} {dataset.name}: embedded in {seconds:.0f} s")
            few = unit.probe in FEW_SHOT
            probe = partial(_few_shot if few else _on_embeddings, unit, embedded, dataset)
            rows, seconds = _timed(probe)
            if not rows:
                where = f"{candidate.name} {dataset.name} {unit.probe}"
                say(f"{where}: a class has too few images to learn from")
                continue
        write_part(path, "predictions", rows, key=key, seconds=seconds)
        say(f"{_name(unit)}: {seconds:.1f} s")


def _on_embeddings(unit: Unit, embedded: NDArray[np.float32], dataset: LabelledImages) -> Rows:
    rows: Rows = []
    for fold in folds(dataset, seed=unit.seed, count=FOLDS):
        learn = take_fraction(
            fold.train, dataset.targets, dataset.owners, unit.fraction, seed=unit.seed
        )
        train = _known(embedded, dataset, learn)
        answer = ON_EMBEDDINGS[unit.probe](train, embedded[fold.test], seed=unit.seed)
        rows += _answers(unit, fold, answer, dataset)
    return rows


def _few_shot(unit: Unit, embedded: NDArray[np.float32], dataset: LabelledImages) -> Rows:
    """Rows of all episodes; the number of an episode stands in the column of folds."""
    shots, classify = FEW_SHOT[unit.probe]
    divided = folds(dataset, seed=unit.seed, count=FOLDS)
    rows: Rows = []
    for episode in draw_episodes(dataset, divided, shots=shots, seed=unit.seed):
        train = _known(embedded, dataset, episode.support)
        answer = classify(train, embedded[episode.queries], seed=unit.seed)
        asked = Fold(number=episode.number, train=episode.support, test=episode.queries)
        rows += _answers(unit, asked, answer, dataset)
    return rows


def _known(
    embedded: NDArray[np.float32], dataset: LabelledImages, learn: NDArray[np.int64]
) -> Embedded:
    return Embedded(
        embeddings=embedded[learn],
        targets=dataset.targets[learn],
        owners=dataset.owners[learn],
        n_classes=len(dataset.classes),
    )


def _finetuned(unit: Unit, encoder: Encoder, shown: Shown, protocol: Protocol) -> Rows:
    dataset = shown.dataset
    divided = folds(dataset, seed=0, count=FOLDS)
    fold = divided[unit.seed % len(divided)]
    learn = take_fraction(
        fold.train, dataset.targets, dataset.owners, unit.fraction, seed=unit.seed
    )
    settings = replace(protocol.finetuning, device=protocol.device)
    answer = fine_tune(encoder, shown, learn, fold.test, settings, seed=unit.seed)
    return _answers(unit, fold, answer, dataset)


def _answers(unit: Unit, fold: Fold, answer: Answer, dataset: LabelledImages) -> Rows:
    classes = list(dataset.classes)
    return [
        unit.columns()
        | {
            "fold": fold.number,
            "setting": answer.setting,
            "sample_id": dataset.sample_ids[index],
            "patient_id": None if dataset.patient_ids is None else dataset.patient_ids[index],
            "target": classes[dataset.targets[index]],
            "predicted": classes[int(prob.argmax())],
            "classes": classes,
            "prob": prob.tolist(),
        }
        for index, prob in zip(fold.test.tolist(), answer.probs, strict=True)
    ]


def _segment(
    candidate: Candidate,
    task: str,
    images: list[Labelled],
    out: Path,
    protocol: Protocol,
    say: Say,
) -> None:
    encoder = candidate.load()
    if not isinstance(encoder.module, PooledFeatures):
        return  # no feature maps: the report says so
    weights = encoder_digest(encoder)
    pixels = key_of(images=[(i.name, i.case, i.mpp, _digest(i)) for i in images])
    wanted = [probe for probe in protocol.probes if probe in SEGMENTING]
    for unit in _units(candidate, task, wanted, protocol):
        settings = replace(
            SEGMENTING[unit.probe], steps=protocol.segmenting_steps, device=protocol.device
        )
        key = key_of(
            protocol=SEGMENTING_PROTOCOL,
            encoder=weights,
            data=pixels,
            settings=asdict(settings) | {"device": ""},
        )
        path = unit.path(out, "overlaps")
        if is_done(path, key):
            continue
        rows, seconds = _timed(partial(_segmented, unit, encoder, images, settings))
        write_part(path, "overlaps", rows, key=key, seconds=seconds)
        say(f"{_name(unit)}: {seconds:.1f} s")


def _segmented(unit: Unit, encoder: Encoder, images: list[Labelled], settings: Segmenting) -> Rows:
    owners = np.array([image.case for image in images])
    one_class = np.zeros(len(images), np.int64)
    divided = list(divide(one_class, owners, FOLDS, 0, unit.task))
    number = unit.seed % len(divided)
    train, test = divided[number]
    learn = take_fraction(train, one_class, owners, unit.fraction, seed=unit.seed)
    asked = [images[index] for index in test]
    overlaps = segment(encoder, [images[i] for i in learn], asked, settings, seed=unit.seed)
    return [
        unit.columns()
        | {
            "fold": number,
            "setting": f"lr={settings.learning_rate:g}",
            "sample_id": image.name,
            "patient_id": image.case,
            "predicted_px": overlap.predicted,
            "actual_px": overlap.actual,
            "both_px": overlap.both,
            "aji": overlap.aji,
        }
        for image, overlap in zip(asked, overlaps, strict=True)
    ]


def _units(
    candidate: Candidate, task: str, probes: Sequence[str], protocol: Protocol
) -> Iterator[Unit]:
    for probe in probes:
        for fraction in protocol.fractions:
            for seed in range(protocol.seeds):
                yield Unit(
                    encoder=candidate.name,
                    objective=candidate.objective,
                    architecture=candidate.architecture,
                    encoder_seed=candidate.seed,
                    task=task,
                    probe=probe,
                    fraction=fraction,
                    seed=seed,
                )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _digest(image: Labelled) -> str:
    return hashlib.sha256(image.pixels.tobytes() + image.instances.tobytes()).hexdigest()


def _name(unit: Unit) -> str:
    return f"{unit.encoder} {unit.task} {unit.probe} {unit.fraction:.0%} seed {unit.seed}"
