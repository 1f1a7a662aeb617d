"""The probes that train a decoder: nuclei, and regions."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pretraining.candidates import Candidate
from benchmarks.pretraining.parts import Kind, Unit, is_done, key_of, write_part
from benchmarks.pretraining.protocol import FOLDS, Protocol, Rows, Say, name_of, timed, units_of
from distill.downstream.decoder_probe import Segmenting, check_decodable
from distill.downstream.embedding import encoder_digest
from distill.downstream.nuclei_probe import segment
from distill.downstream.region_probe import segment_regions
from distill.downstream.regions import RegionImage, RegionSet
from distill.downstream.splits import Fold, divide, take_fraction
from distill.encoders import Encoder
from distill.errors import ModelError
from distill.teachers.labelled import Labelled

PROTOCOL = 4  # raised when the same settings would give other predictions
SEGMENTING = {
    "segment-frozen": Segmenting(mode="frozen"),
    "segment-finetune": Segmenting(mode="finetune", learning_rate=1e-3),
}


def measure_nuclei(
    candidate: Candidate,
    task: str,
    images: list[Labelled],
    out: Path,
    protocol: Protocol,
    say: Say,
) -> None:
    """Run the probes that find nuclei, where they are not there yet."""
    digest = key_of(
        images=[(i.name, i.case, i.mpp, _digest(i.pixels, i.instances)) for i in images]
    )

    def rows(unit: Unit, encoder: Encoder, settings: Segmenting) -> Rows:
        fold = _case_fold(unit, [image.case for image in images])
        asked = [images[index] for index in fold.test]
        known = [images[index] for index in fold.train]
        overlaps = segment(encoder, known, asked, settings, seed=unit.seed)
        return [
            _row(unit, fold, settings, image)
            | {
                "predicted_px": overlap.predicted,
                "actual_px": overlap.actual,
                "both_px": overlap.both,
                "aji": overlap.aji,
            }
            for image, overlap in zip(asked, overlaps, strict=True)
        ]

    _decode(candidate, task, "overlaps", digest, rows, out, protocol, say)


def measure_regions(
    candidate: Candidate, regions: RegionSet, out: Path, protocol: Protocol, say: Say
) -> None:
    """Run the probes that give every pixel a class, where they are not there yet."""
    images = regions.images
    digest = key_of(
        classes=regions.classes,
        images=[(i.name, i.case, i.mpp, _digest(i.pixels, i.regions)) for i in images],
    )

    def rows(unit: Unit, encoder: Encoder, settings: Segmenting) -> Rows:
        fold = _case_fold(unit, [image.case for image in images])
        asked = [images[index] for index in fold.test]
        known = [images[index] for index in fold.train]
        count = len(regions.classes)
        confusions = segment_regions(
            encoder, known, asked, settings, n_classes=count, seed=unit.seed
        )
        return [
            _row(unit, fold, settings, image)
            | {"classes": list(regions.classes), "confusion": confusion.ravel().tolist()}
            for image, confusion in zip(asked, confusions, strict=True)
        ]

    _decode(candidate, regions.name, "regions", digest, rows, out, protocol, say)


def _decode(
    candidate: Candidate,
    task: str,
    kind: Kind,
    data: str,
    rows_of: Callable[[Unit, Encoder, Segmenting], Rows],
    out: Path,
    protocol: Protocol,
    say: Say,
) -> None:
    """Run the probes that train a decoder; `data` is the digest of the images and their labels."""
    wanted = [probe for probe in protocol.probes if probe in SEGMENTING]
    if not wanted:
        return
    encoder = candidate.load()
    try:
        check_decodable(encoder, Segmenting().crop_px)
    except ModelError as error:
        say(f"{candidate.name} {task}: no decoder is trained: {error}")
        return
    weights = encoder_digest(encoder)
    for unit in units_of(candidate, task, wanted, protocol):
        settings = replace(
            SEGMENTING[unit.probe],
            steps=protocol.segmenting_steps,
            device=protocol.device,
            bfloat16=protocol.bfloat16,
        )
        key = key_of(
            protocol=PROTOCOL,
            encoder=weights,
            mpp=encoder.spec.mpp,  # that images are brought to
            data=data,
            settings=asdict(settings) | {"device": ""},
        )
        path = unit.path(out, kind)
        if is_done(path, key):
            continue
        rows, seconds = timed(partial(rows_of, unit, encoder, settings))
        write_part(path, kind, rows, key=key, seconds=seconds)
        say(f"{name_of(unit)}: {seconds:.1f} s")


def _case_fold(unit: Unit, cases: Sequence[str]) -> Fold:
    """The fold of one division by case that a unit predicts, with its share to learn from."""
    owners, one_class = np.array(cases), np.zeros(len(cases), np.int64)
    divided = list(divide(one_class, owners, FOLDS, 0, unit.task))
    number = unit.seed % len(divided)
    train, test = divided[number]
    learn = take_fraction(train, one_class, owners, unit.fraction, seed=unit.seed)
    return Fold(number=number, train=learn, test=test)


def _row(
    unit: Unit, fold: Fold, settings: Segmenting, image: Labelled | RegionImage
) -> dict[str, Any]:
    return unit.columns() | {
        "fold": fold.number,
        "setting": f"lr={settings.learning_rate:g}",
        "sample_id": image.name,
        "patient_id": image.case,
    }


def _digest(pixels: NDArray[np.uint8], labels: NDArray[np.integer]) -> str:
    return hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
