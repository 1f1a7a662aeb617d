"""`evaluation.html`: tables, pictures and how they were made, in one file that loads nothing."""

import base64
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from pipelines.mil.evaluation.band import CONFIDENCE, patients_needed
from pipelines.mil.evaluation.curves import Curve
from pipelines.mil.evaluation.estimates import Estimate
from pipelines.mil.evaluation.evaluate import Evaluation
from pipelines.mil.evaluation.names import TITLES
from pipelines.mil.evaluation.scored import Scored
from pipelines.runfolder import NOTICE

PAGE_NAME = "evaluation.html"
LISTED = 12  # surest wrong slides on the page
TABLED = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # coverages
CAPTIONS = {
    "roc": "Band: 95 % bootstrap of patients.",
    "precision_recall": "Precision falls where positive slides are rarer than here.",
    "reliability": "Bars: 95 % bootstrap of patients. On the diagonal, probabilities come true.",
    "decision": "Above both other lines, acting on the model does more good than harm.",
    "coverage": "Slides that the model is least sure of are left to a person, from right to left.",
    "confusion": "Number of slides, and share of the row.",
    "subgroups": "Dotted: all slides. Bars: 95 % intervals.",
}


def write_page(path: Path, evaluation: Evaluation, pictures: list[str]) -> None:
    """Write the page; the PNGs named in `pictures` lie beside it and are put into it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["span"] = span
    environment.filters["seeds"] = _seeds
    test = evaluation.scored.test
    page = environment.get_template(PAGE_NAME).render(
        e=evaluation,
        notice=NOTICE,
        titles=TITLES,
        about=about(evaluation),
        tested=tested(evaluation),
        plain=list(_in_plain_words(evaluation)),
        n_seeds=len(np.unique(test.seeds)),
        pictures=[
            (name, CAPTIONS[name], base64.b64encode((path.parent / f"{name}.png").read_bytes()))
            for name in pictures
        ],
        confidence=CONFIDENCE,
        coverages=_coverage_rows(evaluation.coverage),
        wrong=_surest_wrong(evaluation.scored),
    )
    path.write_text(page, encoding="utf-8")


def about(evaluation: Evaluation) -> dict[str, Any]:
    """How much was tested, in numbers; patients are None where they are not known."""
    test = evaluation.scored.test
    slides, first = np.unique(test.slide_ids, return_index=True)
    targets = test.targets[first]
    return {
        "slides": len(slides),
        "patients": test.patients,
        "by_class": {name: int((targets == c).sum()) for c, name in enumerate(test.classes)},
        "folds": len(np.unique(test.folds)),
        "seeds": len(np.unique(test.seeds)),
        "models": len(evaluation.frozen),
    }


def tested(evaluation: Evaluation) -> str:
    """The slides of the test, and whose they are."""
    found = about(evaluation)
    if found["patients"] is None:
        return f"{found['slides']} slides, patients unknown: each slide counts as one"
    return f"{found['slides']} slides of {found['patients']} patients"


def number(value: float) -> str:
    """Three decimals, or a dash where there is no number."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def span(estimate: Estimate) -> str:
    """The interval of an estimate."""
    low, high = estimate.interval.low, estimate.interval.high
    return f"{low:.3f} – {high:.3f}" if math.isfinite(low) else "–"


def _seeds(estimate: Estimate) -> str:
    """The least and the greatest value of a seed."""
    values = [value for value in estimate.by_seed if math.isfinite(value)]
    return f"{min(values):.3f} – {max(values):.3f}" if values else "–"


def _in_plain_words(e: Evaluation) -> list[str]:
    found = {m.name: m for m in e.measures}
    said = []
    if e.positive is not None:
        others = f"slides that are not {e.positive}"
        said.append(
            f"Of 100 {e.positive} slides {_of_100(found['sensitivity'])} are found; "
            f"of 100 {others} {_of_100(found['specificity'])} are rightly passed."
        )
        if e.settings.prevalence is not None:
            said.append(
                f"Where {100 * e.settings.prevalence:.3g} % of the slides are {e.positive}, "
                f"of 100 slides called {e.positive} {_of_100(found['ppv_at_prevalence'])} are, "
                f"and of 100 not called {_of_100(found['npv_at_prevalence'])} are not."
            )
    absent = [name for name, count in about(e)["by_class"].items() if count == 0]
    if absent:
        said.append(
            f"No test slide is of {', '.join(absent)}: what is said of all classes is of the "
            "others alone."
        )
    certain = {m.name: m for m in e.certain}
    if certain["coverage"].interval.value == 0:
        error = e.settings.certain_error
        many = f"at least {patients_needed(error)}" if error else "endlessly many"
        said.append(
            "The tuning slides are too few, or some of the surest are judged wrong, to call any "
            f"verdict certain at an error of {100 * error:.3g} %: that takes {many} patients for "
            "each model, and their surest slides judged right. All slides are left to be read "
            "again; a larger --certain-error takes fewer."
        )
        return said
    said.append(
        f"Of 100 slides the model decides {_of_100(certain['coverage'])} and leaves the others to "
        f"be read again; of 100 decided ones {_of_100(certain['error'])} are wrong."
    )
    return said


def _of_100(estimate: Estimate) -> str:
    bounds = estimate.interval
    if not math.isfinite(bounds.value):
        return "an unknown number"
    if not math.isfinite(bounds.low):
        return f"{100 * bounds.value:.0f}"
    return f"{100 * bounds.value:.0f} ({100 * bounds.low:.0f} to {100 * bounds.high:.0f})"


def _coverage_rows(curve: Curve) -> list[tuple[float, float, float, float]]:
    at = [int(np.argmin(np.abs(curve.x - coverage))) for coverage in TABLED]
    return [(curve.x[i], curve.y[i], curve.low[i], curve.high[i]) for i in at]


def _surest_wrong(scored: Scored) -> list[dict[str, Any]]:
    """The wrong verdicts that the model is surest of: what to look at first."""
    wrong = np.flatnonzero(~scored.right)
    chosen = wrong[np.argsort(-scored.margin[wrong], kind="stable")[:LISTED]]
    return [verdict(scored, int(row)) for row in chosen]


def verdict(scored: Scored, row: int) -> dict[str, Any]:
    """One row of the test for people and programs."""
    test = scored.test
    shown = scored.positive if scored.positive is not None else int(scored.predicted[row])
    return {
        "slide_id": str(test.slide_ids[row]),
        "patient_id": str(test.patient_ids[row]),
        "fold": int(test.folds[row]),
        "seed": int(test.seeds[row]),
        "target": test.classes[int(test.targets[row])],
        "verdict": verdict_name(scored, row),
        "prob_of": test.classes[shown],
        "prob": float(scored.probs[row, shown]),
        "is_right": bool(scored.right[row]),
        "is_certain": bool(scored.is_certain[row]),
    }


def verdict_name(scored: Scored, row: int) -> str:
    """The class a slide is called; "not <class>" where several others remain."""
    classes = scored.test.classes
    if scored.predicted[row] >= 0:
        return classes[int(scored.predicted[row])]
    return classes[1 - scored.index] if len(classes) == 2 else f"not {classes[scored.index]}"
