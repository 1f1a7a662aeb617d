"""`raypath mil evaluate`: what stored predictions of slides are worth."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="predictions.parquet, or the folder that mil train wrote.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for page, pictures, numbers.")],
    positive: Annotated[
        str | None,
        typer.Option(
            help="The class a positive verdict means. Default: the last of two; with more "
            "classes, none."
        ),
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Restate PPV and NPV for this share of positive slides.")
    ] = None,
    operating_point: Annotated[
        str,
        typer.Option(
            help="How tuning slides choose it: youden, sensitivity=0.95 or specificity=0.9."
        ),
    ] = "youden",
    certain_error: Annotated[
        float,
        typer.Option(help="Share of patients decided outside the uncertain band who may be wrong."),
    ] = 0.05,
    by: Annotated[
        list[str] | None, typer.Option(help="Column to make subgroups of; repeat for several.")
    ] = None,
    ordered: Annotated[
        str | None,
        typer.Option(
            help="Classes that are grades, from the lowest on, with commas: adds quadratic kappa."
        ),
    ] = None,
    freeze: Annotated[
        bool,
        typer.Option(
            "--freeze",
            help="Write temperatures and operating points into the models beside the predictions.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="All numbers as one JSON object.")
    ] = False,
) -> None:
    """Measure predictions of slides as a clinical study would, with intervals over patients.

    Temperature, operating point and uncertain band are chosen on split "tune" and applied
    unchanged to split "test".
    """
    import json

    from distill.card import write_toml
    from pipelines.mil.evaluation.cards import frozen_cards
    from pipelines.mil.evaluation.criterion import parse_criterion
    from pipelines.mil.evaluation.evaluate import Settings
    from pipelines.mil.evaluation.evaluate import evaluate as measure
    from pipelines.mil.evaluation.names import TITLES
    from pipelines.mil.evaluation.output import check_out, write_evaluation
    from pipelines.mil.evaluation.page import PAGE_NAME, number, span, tested
    from pipelines.mil.evaluation.predictions import read_predictions

    settings = Settings(
        positive=positive,
        prevalence=prevalence,
        criterion=parse_criterion(operating_point),
        certain_error=certain_error,
        by=tuple(by or ()),
        ordered=tuple(name.strip() for name in ordered.split(",")) if ordered else (),
    )
    check_out(out)
    found = measure(read_predictions(predictions), settings)
    models = predictions if predictions.is_dir() else predictions.parent
    cards = frozen_cards(found, models) if freeze else {}
    numbers = write_evaluation(out, found)
    for path, card in cards.items():
        write_toml(path, card)
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    estimates = [
        *found.measures,
        *found.class_measures,
        *found.calibration.after,
        *found.certain[:2],
    ]
    typer.echo(f"Test: {tested(found)}")
    width = max(len(TITLES[estimate.name]) for estimate in estimates)
    typer.echo(f"{'':{width}}  {'value':>6}  95 % interval")
    for estimate in estimates:
        value = number(estimate.interval.value)
        typer.echo(f"{TITLES[estimate.name]:<{width}}  {value:>6}  {span(estimate)}")
    if cards:
        what = "Temperatures and operating points" if found.positive else "Temperatures"
        typer.echo(f"{what} written into {len(cards)} models in {models}", err=True)
    typer.echo(f"The page:  {out / PAGE_NAME}", err=True)
