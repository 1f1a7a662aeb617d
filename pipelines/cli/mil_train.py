"""`raypath mil train`: heads on the embeddings of a labelled cohort, by patient-wise folds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.bar import progress_bar
from pipelines.cli.options import Device
from pipelines.cli.training import LEAST_RATE, Resume

if TYPE_CHECKING:
    from pipelines.mil.cohort import Cohort


def train(
    features: Annotated[
        Path,
        typer.Option(help="Folder of embeddings: of 'raypath run', TRIDENT, CLAM or STAMP."),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            help="CSV: slide_id, label; if known patient_id or case_id, split, site, scanner."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", file_okay=False, help="Folder for the results.")
    ] = Path("heads"),
    head: Annotated[
        str,
        typer.Option(
            help="mean, max, gated-abmil, clam-sb, clam-mb, dsmil, transmil, dtfd or acmil."
        ),
    ] = "gated-abmil",
    tiles_of: Annotated[
        str,
        typer.Option(
            help="A further model of the run, by name (run --also); not given, its first."
        ),
    ] = "",
    positive: Annotated[
        str | None,
        typer.Option(
            help="The class that is looked for. Default: the last of two; with more classes, none."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Folds by patient; not given, the labels' split, and without one 5."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Column of the labels with train, tune and test.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Heads a fold, each with its own seed.")] = 1,
    split_seed: Annotated[int, typer.Option(help="Of the folds and the tuning slides.")] = 0,
    size: Annotated[
        list[str] | None,
        typer.Option(help="A size of the head, such as hidden_dim=512; repeat it for several."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Most passes over the slides.")] = 40,
    patience: Annotated[
        int, typer.Option(min=1, help="Passes that do not help on the tuning slides, then stop.")
    ] = 10,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=LEAST_RATE, help="Of AdamW; not given, the head's own."),
    ] = None,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = 1e-2,
    most_tiles: Annotated[
        int | None,
        typer.Option(min=1, help="Of a slide in a training step, drawn anew; not given, all."),
    ] = None,
    device: Device = "cpu",
    model: Annotated[
        Path | None,
        typer.Option(help="Model that made the embeddings: each fold becomes one for 'run'."),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out slides without embeddings.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Of the slides; it goes into the card.")
    ] = "not stated",
    resume: Resume = False,
) -> None:
    """Train slide-level heads and predict every slide that each has not learnt from.

    Patients never stand on two sides of a fold, nor does a slide under two names; such a split
    is refused. Part of the training slides tunes: it stops the training and, for a positive
    class, chooses the threshold. predictions.parquet is what 'raypath mil evaluate' reads.
    """
    from functools import partial

    from pipelines.mil.job import MilJob
    from pipelines.mil.run import read_job, train_mil
    from pipelines.mil.training import HeadSettings

    job = MilJob(
        features=features,
        labels=labels,
        out=out,
        positive=positive,
        settings=HeadSettings(
            kind=head,
            sizes=_sizes(size or []),
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            most_tiles=most_tiles,
            device=device,
        ),
        folds=folds,
        split=split,
        seeds=seeds,
        split_seed=split_seed,
        skip_missing=skip_missing,
        model=model,
        licence=licence,
        tiles_of=tiles_of,
        resume=resume,
    )
    cohort = read_job(job)
    typer.echo(_whose(cohort, labels.name), err=True)
    typer.echo(_looked_for(cohort), err=True)
    if cohort.preprocess:
        steps = ",".join(cohort.preprocess)
        typer.echo(
            f"The tiles were changed before they were embedded ({steps}): "
            "run these models with the same --preprocess",
            err=True,
        )
    with progress_bar("heads", len(cohort.divisions) * seeds) as advance:
        summary = train_mil(job, cohort, report=advance, say=partial(typer.echo, err=True))
    _tell(summary, out)


def _sizes(given: list[str]) -> dict[str, int]:
    """Turn ``name=number`` into a table."""
    from pipelines.errors import UsageError

    sizes = {}
    for text in given:
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise UsageError(f"--size {text}: wanted a name and a number, such as hidden_dim=512")
        sizes[name] = int(number)
    return sizes


def _whose(cohort: "Cohort", labels: str) -> str:
    """A line about who the patients are, before anything is trained on them."""
    if cohort.patient_column:
        return f"Patients: {cohort.patients}, by column {cohort.patient_column} of {labels}"
    return (
        f"Warning: patients unknown: each slide counts as one, so those of a patient may be learnt "
        f"from and tested; name them in a column patient_id or case_id of {labels}"
    )


def _looked_for(cohort: "Cohort") -> str:
    """A line about what the verdicts will be."""
    if cohort.positive:
        return f"Positive class: {cohort.positive}"
    listed = ", ".join(cohort.classes)
    return f"Positive class: none; the verdict is the most probable of {listed}"


def _tell(summary: dict[str, Any], out: Path) -> None:
    """Lines about what entered, what did not, and where the results are."""
    from pipelines.mil.predictions import PREDICTIONS_NAME

    counts = summary["counts"]
    whose = f"{counts['patients']} patients" if counts["patients"] else "patients unknown"
    classes = ", ".join(f"{n} {target}" for target, n in counts["slides_of_class"].items())
    lines = [
        f"{counts['slides']} slides ({classes}), {whose}, {counts['tiles']} tiles",
        f"left out: {counts['tiles_invalid']} unreadable tiles, {counts['tiles_excluded']} of poor "
        f"quality, {counts['tiles_not_finite']} whose embedding is not finite; "
        f"{len(counts['slides_without_features'])} slides without embeddings",
        f"peak memory {summary['peak_memory_bytes'] / 2**20:.0f} MiB, "
        f"{summary['seconds']:.0f} s, {len(summary['heads'])} heads",
        f"The predictions:  {out / PREDICTIONS_NAME}",
    ]
    for line in lines:
        typer.echo(line, err=True)
