"""A labelled cohort, read and checked before anything is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipelines.errors import FeaturesError, SplitError, UsageError
from pipelines.mil.bag_memory import BagMemory
from pipelines.mil.bags import Bag
from pipelines.mil.division import (
    TEST,
    TRAIN,
    TUNE,
    Division,
    audit,
    divide_as_given,
    divide_by_patient,
)
from pipelines.mil.features import Features, find_features, open_features
from pipelines.mil.labels import Labelled, read_labels

FOLDS = 5
SHOWN = 5  # names in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Slides with label and embeddings, and how they are divided.

    Attributes
    ----------
    slides, features
        In the order of the labels; embeddings by slide.
    divisions
        One a fold, audited.
    positive
        The class that is looked for, and an operating point chosen for; None with grades.
    patient_column
        Of the labels. None where they name no patients: each slide counts as one of its own.
    without_features, without_tiles
        Labelled slides that have no file of embeddings, or none that is finite; left out.
    unlabelled
        How many files of embeddings have no label.
    memory
        Keeps embeddings from epoch to epoch, and from fold to fold.
    """

    slides: tuple[Labelled, ...]
    features: Mapping[str, Features]
    divisions: tuple[Division, ...]
    positive: str | None
    patient_column: str | None
    without_features: tuple[str, ...]
    without_tiles: tuple[str, ...]
    unlabelled: int
    memory: BagMemory = field(default_factory=BagMemory)

    @property
    def patients(self) -> int | None:
        """How many there are; None where they are not known."""
        owners = {slide.patient_id for slide in self.slides}
        return len(owners) if self.patient_column else None

    @property
    def preprocess(self) -> tuple[str, ...]:
        """Names of the steps that changed all tiles before they were embedded."""
        return next(iter(self.features.values())).preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the slides, in alphabetical order."""
        return tuple(sorted({slide.target for slide in self.slides}))

    def bags(self, division: Division) -> list[Bag]:
        """The slides as a head sees them, in their order; nothing is read yet."""
        return [
            Bag(
                slide_id=slide.slide_id,
                patient_id=slide.patient_id,
                target=slide.target,
                split=side,
                read=partial(self.memory.read, self.features[slide.slide_id]),
            )
            for slide, side in zip(self.slides, division.sides, strict=True)
        ]


def read_cohort(
    folder: Path,
    labels: Path,
    *,
    positive: str | None,
    folds: int | None = None,
    split: str | None = None,
    seed: int = 0,
    skip_missing: bool = False,
    tiles_of: str = "",
) -> Cohort:
    """Read labels, look through the embeddings, divide the slides and audit the division.

    Parameters
    ----------
    positive
        A class that training and tuning slides of every fold must have. None: the last of two
        in alphabetical order, and with more classes none.
    folds
        How many, by patient. None: the labels' column `split` or ``split``, and without it five.
    skip_missing
        Leave out labelled slides without embeddings; otherwise they are an error.
    tiles_of
        See `find_features`.

    Raises
    ------
    ManifestError, FeaturesError, SplitError, LabelledDataError, UsageError
        If something is missing or contradicts itself, or the division leaks.
    """
    if folds is not None and split is not None:
        raise UsageError("--folds and --split contradict each other: give one")
    table = read_labels(labels, split=split)
    paths = find_features(folder, tiles_of=tiles_of)
    known = [slide for slide in table.rows if slide.slide_id in paths]
    without = tuple(slide.slide_id for slide in table.rows if slide.slide_id not in paths)
    features = {slide.slide_id: open_features(paths[slide.slide_id]) for slide in known}
    empty = tuple(slide_id for slide_id, of in features.items() if of.tiles == 0)
    slides = tuple(slide for slide in known if slide.slide_id not in empty)
    if not slides or ((without or empty) and not skip_missing):
        raise FeaturesError(
            f"{len(without)} labelled slides have no embeddings in {folder} "
            f"({_listed(without)}), {len(empty)} have none that is finite ({_listed(empty)}); "
            f"files there are {_listed(list(paths))}. Leave them out with --skip-missing"
        )
    _check_encoder([features[slide.slide_id] for slide in slides])
    positive = _positive(slides, positive)
    if folds is None and table.has_split:
        divisions = [divide_as_given(slides, seed=seed)]
    else:
        divisions = divide_by_patient(slides, count=folds or FOLDS, seed=seed)
    audit(
        slides,
        divisions,
        {slide_id: of.digest for slide_id, of in features.items()},
        {slide_id: of.slide_digest for slide_id, of in features.items()},
    )
    for division in divisions:
        _check_sides(slides, division, positive)
    return Cohort(
        slides=slides,
        features=features,
        divisions=tuple(divisions),
        positive=positive,
        patient_column=table.patient_column,
        without_features=without,
        without_tiles=empty,
        unlabelled=len(paths) - len(known),
    )


def _check_encoder(features: Sequence[Features]) -> None:
    """One encoder made all embeddings, of tiles of one kind, as far as the files tell."""
    made_by = Counter((of.encoder, of.encoder_sha256[:12], of.dim) for of in features)
    if len(made_by) > 1:
        listed = "; ".join(
            f"{count} slides by {name or 'an unnamed one'} {sha256}, length {dim}"
            for (name, sha256, dim), count in made_by.items()
        )
        raise FeaturesError(f"embeddings of several encoders: {listed}")
    told = [of for of in features if of.spec is not None]
    kinds = Counter((str(of.spec), ", ".join(of.preprocess)) for of in told)
    if len(kinds) > 1:
        listed = "; ".join(
            f"{count} slides of {spec}, changed by {steps or 'nothing'}"
            for (spec, steps), count in kinds.items()
        )
        raise FeaturesError(f"embeddings of tiles of several kinds: {listed}")


def _positive(slides: Sequence[Labelled], asked: str | None) -> str | None:
    """The class that is looked for, as an evaluation of the predictions takes it, too."""
    classes = Counter(slide.target for slide in slides)
    listed = ", ".join(f"{target} ({count})" for target, count in sorted(classes.items()))
    if len(classes) < 2:
        raise UsageError(f"all slides are of one class, {listed}: two at least are needed")
    if asked not in (None, *classes):
        raise UsageError(f"--positive {asked}: it is none of the slides' classes, {listed}")
    return max(classes) if asked is None and len(classes) == 2 else asked


def _check_sides(slides: Sequence[Labelled], division: Division, positive: str | None) -> None:
    """Every class is learnt, and what is chosen on tuning slides has both kinds of them."""
    targets: dict[str, set[str]] = {TRAIN: set(), TUNE: set(), TEST: set()}
    for slide, side in zip(slides, division.sides, strict=True):
        targets[side].add(slide.target)
    unlearnt = (targets[TUNE] | targets[TEST]) - targets[TRAIN]
    if unlearnt:
        raise SplitError(f"fold {division.fold}: no training slide is {', '.join(unlearnt)}")
    if positive not in (None, *targets[TUNE]) or len(targets[TUNE]) < 2:
        raise SplitError(
            f"fold {division.fold}: the tuning slides are all {', '.join(targets[TUNE])}; "
            f"{positive or 'one class'} and another are needed to choose on. Take fewer folds or "
            "another --split-seed, or give a split"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more
