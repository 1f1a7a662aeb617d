"""What is measured, cut into units."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmarks.pretraining.candidates import Candidate
from benchmarks.pretraining.parts import Unit, percent
from distill.downstream.finetune import FineTuning

FOLDS = 5
PROBES = ("knn", "linear", "few-shot", "finetune", "segment-frozen", "segment-finetune")

T = TypeVar("T")
Say = Callable[[str], None]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is measured.

    Attributes
    ----------
    tasks, probes, fractions
        Names of tasks and probes, and shares of the labels.
    seeds
        How many. With kNN and the linear probe, each divides the patients anew and predicts every
        fold; fine-tuning and segmentation, which are dear, predict fold number `seed` of one
        division, so that five seeds predict every sample once.
    magnify
        See `distill.downstream.view.View`.
    finetuning
        Budget of fine-tuning.
    segmenting_steps
        Steps of the segmentation probes.
    device
        Where networks run.
    bfloat16
        Whether the probes that train a network compute in half precision.
    """

    tasks: tuple[str, ...]
    probes: tuple[str, ...] = PROBES
    fractions: tuple[float, ...] = (0.05, 0.25, 1.0)
    seeds: int = 5
    magnify: float = 1.0
    finetuning: FineTuning = field(default_factory=FineTuning)
    segmenting_steps: int = 300
    device: str = "cpu"
    bfloat16: bool = False


def units_of(
    candidate: Candidate, task: str, probes: Sequence[str], protocol: Protocol
) -> Iterator[Unit]:
    """Every unit of some probes of an encoder on a task."""
    for probe in probes:
        for fraction in protocol.fractions:
            for seed in range(protocol.seeds):
                yield Unit(
                    encoder=candidate.name,
                    objective=candidate.objective,
                    architecture=candidate.architecture,
                    encoder_seed=candidate.seed,
                    task=task,
                    probe=probe,
                    fraction=fraction,
                    seed=seed,
                )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Do it, and say how many seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def name_of(unit: Unit) -> str:
    """A unit for people."""
    labels = f"{percent(unit.fraction)}%"
    return f"{unit.encoder} {unit.task} {unit.probe} {labels} seed {unit.seed}"
