"""The evaluation's folder: page, pictures, numbers, verdicts and what was frozen."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distill.card import write_toml
from pipelines.errors import UsageError
from pipelines.mil.evaluation.calibration import Reliability
from pipelines.mil.evaluation.cards import frozen_card, model_name
from pipelines.mil.evaluation.curves import Curve
from pipelines.mil.evaluation.estimates import Estimate
from pipelines.mil.evaluation.evaluate import Evaluation
from pipelines.mil.evaluation.operating_point import Frozen
from pipelines.mil.evaluation.page import CAPTIONS, PAGE_NAME, about, verdict, write_page
from pipelines.mil.evaluation.plots import draw_all
from pipelines.runfolder import NOTICE
from wsi.atomic import replacing

NUMBERS_NAME = "evaluation.json"
VERDICTS_NAME = "verdicts.parquet"
POINTS_NAME = "operating_points"


def check_out(out: Path) -> None:
    """Refuse a folder that holds anything but an evaluation.

    Raises
    ------
    UsageError
        If it does, since writing there would remove it.
    """
    own = {
        PAGE_NAME,
        NUMBERS_NAME,
        VERDICTS_NAME,
        POINTS_NAME,
        *(f"{name}.png" for name in CAPTIONS),
    }
    others = sorted(p.name for p in out.iterdir() if p.name not in own) if out.is_dir() else []
    if out.is_file() or others:
        raise UsageError(
            f"--out {out} holds {', '.join(others[:3]) or 'a file'}; name a new folder"
        )


def write_evaluation(out: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Write everything into the folder `out`, whole or not at all; returns the numbers."""
    import pyarrow as pa
    from pyarrow import parquet

    check_out(out)
    numbers = as_numbers(evaluation)
    scored = evaluation.scored
    with replacing(out) as folder:
        folder.mkdir()
        (folder / NUMBERS_NAME).write_text(json.dumps(numbers, indent=1))
        rows = [verdict(scored, row) for row in range(len(scored.right))]
        parquet.write_table(pa.Table.from_pylist(rows), folder / VERDICTS_NAME)
        for model in evaluation.frozen:
            write_toml(
                folder / POINTS_NAME / f"{model_name(model)}.toml",
                frozen_card(evaluation, model),
            )
        pictures = draw_all(evaluation, folder)
        write_page(folder / PAGE_NAME, evaluation, pictures)
    return numbers


def as_numbers(e: Evaluation) -> dict[str, Any]:
    """Everything measured, as JSON holds it; what is not a finite number is null."""
    net_benefit = e.net_benefit and {"model": e.net_benefit[0], "all": e.net_benefit[1]}
    numbers = {
        "notice": NOTICE,
        "classes": e.scored.test.classes,
        "positive": e.positive,
        "settings": asdict(e.settings) | {"criterion": str(e.settings.criterion)},
        "test": about(e),
        "measures": {estimate.name: estimate for estimate in e.measures},
        "class_measures": {estimate.name: estimate for estimate in e.class_measures},
        "confusion": e.confusion,
        "calibration": {
            "before": e.calibration.before,
            "after": e.calibration.after,
            "ece_by_chance": e.calibration.by_chance,
            "reliability_before": e.calibration.curve_before,
            "reliability_after": e.calibration.curve_after,
        },
        "certain": e.certain,
        "frozen": e.frozen,
        "curves": {
            "roc": e.roc,
            "precision_recall": e.precision_recall,
            "net_benefit": net_benefit,
            "error_by_coverage": e.coverage,
        },
        "subgroups": e.subgroups,
    }
    return {name: _plain(value) for name, value in numbers.items()}


def _plain(value: Any) -> Any:
    """`value` in JSON's own types; a list of estimates becomes a mapping by name."""
    if isinstance(value, Estimate):
        return {
            "value": _plain(value.interval.value),
            "low": _plain(value.interval.low),
            "high": _plain(value.interval.high),
            "method": value.method,
            "by_seed": _plain(value.by_seed),
            "seed_sd": _plain(value.seed_sd),
        }
    if isinstance(value, Frozen):
        own = {name: _plain(of) for name, of in asdict(value).items() if name != "positive"}
        return own | {"threshold_prob": _plain(value.threshold_prob), "band": _plain(value.band)}
    if isinstance(value, Curve | Reliability):
        return _plain(asdict(value))
    if isinstance(value, list | tuple) and value and isinstance(value[0], Estimate):
        return {estimate.name: _plain(estimate) for estimate in value}
    if isinstance(value, dict):
        return {str(name): _plain(of) for name, of in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value.item() if isinstance(value, np.generic) else value
