"""Where a training is: all that is needed to go on as if it had not been interrupted."""

from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Self

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from distill.errors import ModelError
from wsi.atomic import replacing


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """A training after `step` steps.

    Attributes
    ----------
    model, optimiser
        What is trained, and by what.
    average
        Exponential moving average of the weights, and of normalisation's statistics, if wanted.
    step, seconds
        Steps done, and the time they took.
    history
        Loss of every step.
    checks
        What was measured on the way, one row a check.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: ModelEmaV3 | None = None
    step: int = 0
    seconds: float = 0.0
    history: list[float] = field(default_factory=list)
    checks: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        model: nn.Module,
        learning_rate: float,
        weight_decay: float,
        *,
        average_decay: float | None = None,
    ) -> Self:
        """Before the first step, with AdamW; averaging begins short, so that it forgets."""
        optimiser = torch.optim.AdamW(  # fused: one pass over the weights a step
            model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        average = None
        if average_decay is not None:
            average = ModelEmaV3(model, decay=average_decay, use_warmup=True, warmup_power=0.75)
        return cls(model=model, optimiser=optimiser, average=average)

    @property
    def best_model(self) -> nn.Module:
        """The averaged network if there is one, otherwise the trained one."""
        return self.average.module if self.average else self.model

    def save(self, path: Path) -> None:
        """Write a checkpoint that is there whole or not at all."""
        content = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.module.state_dict() if self.average else None,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "checks": self.checks,
            "random": torch.get_rng_state(),
        }
        with replacing(path) as tmp:
            torch.save(content, tmp)

    def load(self, path: Path) -> None:
        """Go to where a checkpoint was written; it is read without executing code.

        Raises
        ------
        ModelError
            If it is of another network or training.
        """
        try:
            # To be gone on with where there is another device, or none but the CPU.
            content = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(content["model"])
            self.optimiser.load_state_dict(content["optimiser"])
            if self.average:
                self.average.module.load_state_dict(content["average"])
        except (RuntimeError, KeyError, ValueError, TypeError, UnpicklingError) as error:
            raise ModelError(f"{path} does not continue this training: {error}") from error
        if content.get("average") and not self.average:
            raise ModelError(f"{path} does not continue this training: its weights are averaged")
        self.step, self.seconds = content["step"], content["seconds"]
        self.history, self.checks = content["history"], content["checks"]
        torch.set_rng_state(content["random"])
