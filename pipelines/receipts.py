"""`receipt.json`: proof of what a step was made from, so that it is done again only when needed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import distill
import pipelines
import wsi
from wsi.atomic import digest, replacing

RECEIPT_NAME = "receipt.json"


@cache
def code_version() -> str:
    """The package's version and a digest of the sources that make results."""
    total = hashlib.sha256()
    for package in (wsi, distill, pipelines):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            total.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return f"{version('raypath')}+{total.hexdigest()[:12]}"


@dataclass(slots=True, kw_only=True)
class Receipts:
    """The receipts of one slide's folder.

    Attributes
    ----------
    folder
        The slide's folder in the run.
    source
        SHA-256 of the slide's file.
    seconds
        Time each step took in this process.
    reused
        Steps that were not done again.
    """

    folder: Path
    source: str
    seconds: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    def do(
        self,
        step: str,
        parameters: Mapping[str, Any],
        outputs: tuple[str, ...],
        work: Callable[[], Mapping[str, Any]],
    ) -> dict[str, Any]:
        """Do a step unless its receipt says that it is done; returns its facts.

        A receipt counts when input digest, parameters, code version and the digests of all
        `outputs` (names in the folder) are the same. `work` returns facts to remember, which a
        later run gets without the work.
        """
        started = time.perf_counter()
        key = {
            "input": self.source,
            "parameters": _as_stored(parameters),
            "code_version": code_version(),
        }
        receipts = self._read()
        receipt = receipts.get(step)
        if isinstance(receipt, dict) and all(receipt.get(k) == v for k, v in key.items()):
            found = {name: self._digest(name) for name in outputs}
            if found == receipt.get("outputs") and "facts" in receipt:
                self.reused.append(step)
                self.seconds[step] = round(time.perf_counter() - started, 3)
                return dict(receipt["facts"])
        facts = dict(work())
        receipts[step] = key | {
            "facts": facts,
            "outputs": {name: self._digest(name) for name in outputs},
        }
        self._write(receipts)
        self.seconds[step] = round(time.perf_counter() - started, 3)
        return facts

    def holds(self, step: str, parameters: Mapping[str, Any]) -> bool:
        """Whether `do` would not do the step again."""
        receipt = self.standing(step)
        return receipt is not None and receipt.get("parameters") == _as_stored(parameters)

    def outputs(self, steps: Iterable[str]) -> dict[str, Any]:
        """Digests of what `steps` left, as their receipts say, without looking again."""
        receipts = self._read()
        return {step: receipts[step]["outputs"] for step in steps}

    def renew(self, step: str) -> None:
        """Take what a step wrote as it is now, because a later step added to it on purpose."""
        receipts = self._read()
        outputs = {name: self._digest(name) for name in receipts[step]["outputs"]}
        receipts[step]["outputs"] = outputs
        self._write(receipts)

    def standing(self, step: str) -> dict[str, Any] | None:
        """The receipt of a step done on this slide by this code, whose outputs are as it left them.

        None where there is none. What the step's parameters were is for the caller to judge.
        """
        receipt = self._read().get(step)
        if not isinstance(receipt, dict) or not isinstance(receipt.get("outputs"), dict):
            return None
        if (receipt.get("input"), receipt.get("code_version")) != (self.source, code_version()):
            return None
        is_as_left = all(self._digest(name) == was for name, was in receipt["outputs"].items())
        return receipt if is_as_left else None

    def _digest(self, name: str) -> str | None:
        path = self.folder / name
        return digest(path) if path.exists() else None

    def _write(self, receipts: dict[str, Any]) -> None:
        with replacing(self.folder / RECEIPT_NAME) as tmp:
            tmp.write_text(json.dumps(receipts, indent=1))

    def _read(self) -> dict[str, Any]:
        try:
            receipts = json.loads((self.folder / RECEIPT_NAME).read_text())
        except (OSError, ValueError):
            return {}  # a missing or torn receipt only costs the work again
        return receipts if isinstance(receipts, dict) else {}


def _as_stored(parameters: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(parameters, default=str))
