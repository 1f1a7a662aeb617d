"""What `raypath mil train` keeps while it trains, so that a killed one can go on.

OUT/.training/           gone once everything is written
job.json                 what decides the result: settings, slides, division, code
fold-0-seed-0.pt         a head that is trained, after a whole epoch
fold-0-seed-0.json       a head that is finished: its losses, and what it says of unseen slides
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.code_version import code_version
from pipelines.mil.cohort import Cohort
from pipelines.mil.job import MilJob
from pipelines.mil.predictions import Prediction
from pipelines.training.resuming import remember
from wsi.atomic import remove, replacing

KEPT_NAME = ".training"
JOB_NAME = "job.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trained head as ``train.json`` tells of it, and its predictions."""

    about: dict[str, Any]
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The folder of what is kept, and the cohort it is of."""

    folder: Path
    cohort: Cohort

    @classmethod
    def begin(cls, job: MilJob, cohort: Cohort, *, model_sha256: str | None) -> "Kept":
        """Start anew, or go on where `job.resume` says so.

        Raises
        ------
        UsageError
            If it is to go on with another training than the folder holds.
        """
        folder = job.out / KEPT_NAME
        if not job.resume:
            remove(folder)
        remember(folder / JOB_NAME, _deciding(job, cohort, model_sha256), resume=job.resume)
        return cls(folder=folder, cohort=cohort)

    def checkpoint(self, name: str) -> Path:
        """Where a head is kept while it is trained."""
        return self.folder / f"{name}.pt"

    def finished(self, name: str) -> Finished | None:
        """What is kept of a finished head; None if it has to be trained."""
        try:
            content = json.loads(self._record(name).read_text())
        except FileNotFoundError:
            return None
        slides = {slide.slide_id: slide for slide in self.cohort.slides}
        predictions = [
            Prediction(
                slide=slides[said.pop("slide_id")],
                classes=tuple(said.pop("classes")),
                logits=tuple(said.pop("logits")),
                **said,
            )
            for said in content["predictions"]
        ]
        return Finished(about=content["about"], predictions=predictions)

    def finish(self, name: str, finished: Finished) -> None:
        """Keep a head's record, after its folder is written."""
        said = [
            {
                "slide_id": p.slide.slide_id,
                "fold": p.fold,
                "seed": p.seed,
                "split": p.split,
                "classes": p.classes,
                "logits": p.logits,
            }
            for p in finished.predictions
        ]
        with replacing(self._record(name)) as tmp:
            tmp.write_text(json.dumps({"about": finished.about, "predictions": said}))
        remove(self.checkpoint(name))

    def remove(self) -> None:
        """Forget everything: the results are written."""
        remove(self.folder)

    def _record(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _deciding(job: MilJob, cohort: Cohort, model_sha256: str | None) -> dict[str, Any]:
    """Everything that decides the result; paths do not, but for the name that goes into cards."""
    return {
        "labels": job.labels.name,
        "positive": cohort.positive,
        "seeds": job.seeds,
        "settings": asdict(job.settings),
        "licence": job.licence,
        "model": model_sha256,
        "slides": {
            slide.slide_id: _short([asdict(slide), cohort.features[slide.slide_id].ordered_digest])
            for slide in cohort.slides
        },
        "division": {f"fold {d.fold}": _short(d.sides) for d in cohort.divisions},
        "code": code_version(),
        "torch": version("torch"),
    }


def _short(content: Sequence[Any]) -> str:
    """A digest to tell apart what is too long to be shown."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
