"""A training of heads as it is asked for."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.mil.training import HeadSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MilJob:
    """What is trained on what.

    Attributes
    ----------
    features, labels, out
        Folder of embeddings, table of labels, folder for the results.
    positive
        The class looked for; see `pipelines.mil.cohort.read_cohort` for None.
    settings
        Of each head.
    folds, split
        See `pipelines.mil.cohort.read_cohort`.
    seeds
        How many heads are trained on each fold: seeds 0, 1, ... of weights and order. The
        division of the slides depends on `split_seed` alone.
    model
        Folder of the model that made the embeddings; then each fold's folder is a model to run.
    licence
        Of the labelled slides; it goes into the card.
    tiles_of
        The further model of a run whose embeddings are meant; empty for the first.
    resume
        Whether to go on with the training in `out`, if there is one.
    """

    features: Path
    labels: Path
    out: Path
    positive: str | None
    settings: HeadSettings
    folds: int | None = None
    split: str | None = None
    seeds: int = 1
    split_seed: int = 0
    skip_missing: bool = False
    model: Path | None = None
    licence: str = "not stated"
    tiles_of: str = ""
    resume: bool = False
