"""Which slides a head learns from, is tuned on and tested on; and an audit that nothing leaks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.downstream.splits import Indices, divide, validation
from pipelines.cohort.patients import patients_astride
from pipelines.errors import SplitError
from pipelines.mil.labels import Labelled

TRAIN, TUNE, TEST = "train", "tune", "test"
SIDES = {TRAIN: TRAIN, TUNE: TUNE, "val": TUNE, "validation": TUNE, TEST: TEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """A fold: for every slide of the cohort, in its order, ``train``, ``tune`` or ``test``."""

    fold: int
    sides: tuple[str, ...]


def divide_by_patient(slides: Sequence[Labelled], *, count: int, seed: int) -> list[Division]:
    """Make `count` folds, stratified by class, each patient in one; part of the rest tunes.

    Raises
    ------
    LabelledDataError
        If there are fewer patients, or slides of a class, than folds.
    SplitError
        If what is not tested is too little to tune on a part of it.
    """
    targets, owners = _numbers(slides), _owners(slides)
    return [
        _with_tuning(slides, fold, rest=learn, test=test, seed=seed)
        for fold, (learn, test) in enumerate(divide(targets, owners, count, seed, "labels"))
    ]


def divide_as_given(slides: Sequence[Labelled], *, seed: int) -> Division:
    """The split that the labels give; where it names no tuning slides, a part of train tunes.

    Raises
    ------
    SplitError
        If a value is unknown, there is no training or no test slide, or none can be tuned on.
    """
    unknown = sorted({slide.split or "" for slide in slides} - set(SIDES))
    if unknown:
        raise SplitError(f"splits {unknown} are not among {', '.join(SIDES)}")
    sides = np.array([SIDES[slide.split or ""] for slide in slides])
    for wanted in (TRAIN, TEST):
        if wanted not in sides:
            raise SplitError(f"the labels' split has no slide in {wanted!r}")
    if TUNE in sides:
        return Division(fold=0, sides=tuple(sides.tolist()))
    rest, test = np.flatnonzero(sides == TRAIN), np.flatnonzero(sides == TEST)
    return _with_tuning(slides, 0, rest=rest, test=test, seed=seed)


def _with_tuning(
    slides: Sequence[Labelled], fold: int, *, rest: Indices, test: Indices, seed: int
) -> Division:
    """Set aside about a quarter of the patients that are not tested."""
    apart = validation(_numbers(slides)[rest], _owners(slides)[rest], seed=seed)
    if apart is None:
        raise SplitError(
            f"fold {fold}: {len(rest)} slides are too few, of too few patients, to tune on some "
            "of them: ask for more folds, or give a split"
        )
    sides = np.full(len(slides), TRAIN, dtype="<U5")
    sides[rest[apart[1]]], sides[test] = TUNE, TEST
    return Division(fold=fold, sides=tuple(sides.tolist()))


def audit(
    slides: Sequence[Labelled],
    divisions: Iterable[Division],
    embeddings: Mapping[str, str],
    contents: Mapping[str, str] | None = None,
) -> None:
    """Refuse divisions that test on what was learnt or tuned on.

    Parameters
    ----------
    embeddings, contents
        Digests of each slide's embeddings, and of its own content, empty where it is not known:
        two ids with one digest are one slide. The same scan embedded in two ways, with another
        stride, tissue or precision, has only its content in common.

    Raises
    ------
    SplitError
        Naming every patient, and every slide with several ids, that stands on several sides.
    """
    same = {"embeddings": embeddings, "content": contents or {}}
    problems: dict[str, None] = {}  # each once, in order
    for division in divisions:
        owners = (slide.patient_id for slide in slides)
        for patient, several in patients_astride(zip(owners, division.sides, strict=True)):
            problems[f"{patient} is in {', '.join(several)}"] = None
        for what, digests in same.items():
            for ids, sides in _alike(slides, division, digests):
                if len(sides) > 1:
                    problems[
                        f"slides {', '.join(ids)} have the same {what} and are in "
                        f"{', '.join(sorted(sides))}: keep one of them, or give them one patient_id"
                    ] = None
    if problems:
        raise SplitError(f"the split leaks: {'; '.join(problems)}")


def _alike(
    slides: Sequence[Labelled], division: Division, digests: Mapping[str, str]
) -> Iterable[tuple[list[str], set[str]]]:
    """Ids and sides of the slides that have a digest in common."""
    found: dict[str, tuple[list[str], set[str]]] = defaultdict(lambda: ([], set()))
    for slide, side in zip(slides, division.sides, strict=True):
        if digest := digests.get(slide.slide_id):
            ids, sides = found[digest]
            ids.append(slide.slide_id)
            sides.add(side)
    return found.values()


def _numbers(slides: Sequence[Labelled]) -> Indices:
    return np.unique([slide.target for slide in slides], return_inverse=True)[1].astype(np.int64)


def _owners(slides: Sequence[Labelled]) -> NDArray[np.str_]:
    return np.array([slide.patient_id for slide in slides])
