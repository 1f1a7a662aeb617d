"""Every encoder × task × probe × share of the labels × seed; what is there already is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pretraining.candidates import Candidate
from benchmarks.pretraining.costs import write_costs
from benchmarks.pretraining.decoding import measure_nuclei, measure_regions
from benchmarks.pretraining.parts import Unit, is_done, key_of, write_part
from benchmarks.pretraining.protocol import FOLDS, Protocol, Rows, Say, name_of, timed, units_of
from benchmarks.pretraining.seen import note_seen
from benchmarks.pretraining.tasks import CLASSIFICATION, REGIONS, SEGMENTATION, Task
from distill.downstream.dataset import LabelledImages
from distill.downstream.embedding import cached_embeddings, encoder_digest, view_of
from distill.downstream.few_shot import SHOTS, draw_episodes, nearest_prototype
from distill.downstream.finetune import FineTuning, Shown, fine_tune
from distill.downstream.knn import nearest_neighbours
from distill.downstream.linear import linear_probe
from distill.downstream.probe import Answer, Embedded
from distill.downstream.splits import Fold, folds, take_fraction
from distill.encoders import Encoder
from distill.errors import LabelledDataError

PROTOCOL = 3  # raised when the same settings would give other predictions
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


def choose_tasks(data: Path, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks asked for, or every one whose folder is below `data`.

    Raises
    ------
    LabelledDataError
        If a name is unknown, or no folder is there.
    """
    known: dict[str, Task[Any]] = {**CLASSIFICATION, **SEGMENTATION, **REGIONS}
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise LabelledDataError(
            f"no task is called {', '.join(unknown)}: one of {', '.join(known)}"
        )
    chosen = tuple(wanted or (name for name, task in known.items() if task.is_in(data)))
    if not chosen:
        folders = sorted({task.folder for task in known.values()})
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
            pixels = map(dataset.images.read, range(len(dataset)))
            note_seen(out, candidates, name, pixels, say)
            for candidate in candidates:
                _classify(candidate, dataset, out, protocol, say)
        elif name in REGIONS:
            regions = REGIONS[name].load(data / REGIONS[name].folder)
            cases = {image.case for image in regions.images}
            say(f"{name}: {len(regions.images)} images of {len(cases)} cases")
            note_seen(out, candidates, name, (i.pixels for i in regions.images), say)
            for candidate in candidates:
                measure_regions(candidate, regions, out, protocol, say)
        else:
            images = SEGMENTATION[name].load(data / SEGMENTATION[name].folder)
            say(f"{name}: {len(images)} images of {len({i.case for i in images})} cases")
            note_seen(out, candidates, name, (i.pixels for i in images), say)
            for candidate in candidates:
                measure_nuclei(candidate, name, images, out, protocol, say)


def _classify(
    candidate: Candidate, dataset: LabelledImages, out: Path, protocol: Protocol, say: Say
) -> None:
    encoder = candidate.load()
    view = view_of(encoder, magnify=protocol.magnify)
    weights = encoder_digest(encoder)
    shown = Shown(dataset, view)
    wanted = [p for p in protocol.probes if p in ON_EMBEDDINGS or p == "finetune"]
    units = list(units_of(candidate, dataset.name, wanted, protocol))
    if "few-shot" in protocol.probes:
        all_labels = replace(protocol, fractions=(1.0,))  # an episode chooses its few itself
        units += units_of(candidate, dataset.name, list(FEW_SHOT), all_labels)
    for unit in units:
        if unit.probe == "finetune" and not any(True for _ in encoder.module.parameters()):
            continue  # nothing to train: the report says so
        budget = asdict(_finetuning(protocol)) if unit.probe == "finetune" else {}
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
            rows, seconds = timed(partial(_finetuned, unit, encoder, shown, protocol))
        else:
            embed = partial(cached_embeddings, dataset, encoder, view, cache)
            embedded, seconds = timed(partial(embed, device=protocol.device))
            if seconds > 1:  # otherwise it was there
                say(f"{candidate.name} {dataset.name}: embedded in {seconds:.0f} s")
            few = unit.probe in FEW_SHOT
            probe = partial(_few_shot if few else _on_embeddings, unit, embedded, dataset)
            rows, seconds = timed(probe)
            if not rows:
                where = f"{candidate.name} {dataset.name} {unit.probe}"
                say(f"{where}: a class has too few images to learn from")
                continue
        write_part(path, "predictions", rows, key=key, seconds=seconds)
        say(f"{name_of(unit)}: {seconds:.1f} s")


def _on_embeddings(unit: Unit, embedded: NDArray[np.float32], dataset: LabelledImages) -> Rows:
    rows: Rows = []
    for fold in folds(dataset, seed=unit.seed, count=FOLDS):
        learn = take_fraction(
            fold.train, dataset.targets, dataset.owners, unit.fraction, seed=unit.seed
        )
        train = known_of(embedded, dataset, learn)
        answer = ON_EMBEDDINGS[unit.probe](train, embedded[fold.test], seed=unit.seed)
        rows += _answers(unit, fold, answer, dataset)
    return rows


def _few_shot(unit: Unit, embedded: NDArray[np.float32], dataset: LabelledImages) -> Rows:
    """Rows of all episodes; the number of an episode stands in the column of folds."""
    shots, classify = FEW_SHOT[unit.probe]
    divided = folds(dataset, seed=unit.seed, count=FOLDS)
    rows: Rows = []
    for episode in draw_episodes(dataset, divided, shots=shots, seed=unit.seed):
        train = known_of(embedded, dataset, episode.support)
        answer = classify(train, embedded[episode.queries], seed=unit.seed)
        asked = Fold(number=episode.number, train=episode.support, test=episode.queries)
        rows += _answers(unit, asked, answer, dataset)
    return rows


def known_of(
    embedded: NDArray[np.float32], dataset: LabelledImages, learn: NDArray[np.int64]
) -> Embedded:
    """What a probe learns from: the embeddings of these images, with their labels."""
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
    answer = fine_tune(encoder, shown, learn, fold.test, _finetuning(protocol), seed=unit.seed)
    return _answers(unit, fold, answer, dataset)


def _finetuning(protocol: Protocol) -> FineTuning:
    return replace(protocol.finetuning, device=protocol.device, bfloat16=protocol.bfloat16)


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
