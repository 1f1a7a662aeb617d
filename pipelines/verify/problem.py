"""What is found wrong with a run's files."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as the run left it, or as it should be.

    Attributes
    ----------
    file
        What it is about, by its name in the slide's or the run's folder.
    kind
        ``"missing"``, ``"changed"`` (its digest is another than the receipt's), ``"unreadable"``,
        ``"wrong"`` (it holds what cannot be), ``"contradiction"`` (the record says otherwise).
    message
        For a person.
    """

    file: str
    kind: str
    message: str

    def describe(self) -> str:
        """One line."""
        return f"{self.file}: {self.kind}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found of a slide; `name` is its id, or empty for what is about the whole run.

    `bytes_read` counts the files of the receipts.
    """

    name: str
    problems: tuple[Problem, ...] = ()
    bytes_read: int = 0

    @property
    def verdict(self) -> str:
        """``"ok"`` or ``"failed"``."""
        return "failed" if self.problems else "ok"

    @property
    def work(self) -> float:
        """Megabytes read."""
        return self.bytes_read / 1e6

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"verdict": self.verdict}

    def describe(self) -> str:
        """A line, or one for each problem."""
        name = self.name or "the run"
        if not self.problems:
            return f"{name}: ok, {self.work:.1f} MB"
        return "\n".join(f"{name}: {problem.describe()}" for problem in self.problems)
