"""What can be wrong with what was asked for; the command line answers these with exit code 2."""

from pathlib import Path
from typing import Self

from wsi.errors import RayPathError


class UsageError(RayPathError, ValueError):
    """The request cannot be carried out as it stands; nothing was done."""

    kind = "usage"


class DamagedError(UsageError):
    """A file that a run keeps of itself does not hold what a run writes."""

    kind = "damaged"

    @classmethod
    def of(cls, path: Path, what: str) -> Self:
        """The error of the file at `path`; `what` is wrong with it, and where."""
        return cls(
            f"{path} is damaged ({what}), as files are after a machine lost power: give the same "
            "command that made the run again, it writes the file anew and keeps what is finished"
        )


class ManifestError(UsageError):
    """The manifest contradicts itself; the message lists every problem found."""

    kind = "manifest"


class ConfigError(UsageError):
    """A configuration key is unknown or its value is out of range."""

    kind = "config"


class SplitError(UsageError):
    """A split of the slides leaks, or leaves a side empty."""

    kind = "split"


class PredictionsError(UsageError):
    """Stored predictions are incomplete, contradict themselves, or cannot carry an evaluation."""

    kind = "predictions"


class FeaturesError(UsageError):
    """Embeddings are missing, of several encoders, or in no layout that is known."""

    kind = "features"


class TrainingError(UsageError):
    """Training went astray; its settings do not suit the data."""

    kind = "training"
