"""`receipt.json`: proof of what a step was made from, so that it is done again only when needed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pipelines.code_version import code_version
from wsi.atomic import digest, remove, replacing

RECEIPT_NAME = "receipt.json"
OWN_DIGEST = "sha256"  # key of the digest over everything else in the file


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
        `outputs` (names in the folder) are the same. `work` returns facts for later runs.
        """
        started = time.perf_counter()
        key = {
            "input": self.source,
            "parameters": _as_stored(parameters),
            "code_version": code_version(),
        }
        receipts = self._read()
        receipt = receipts.get(step)
        if receipt is not None and all(receipt.get(k) == v for k, v in key.items()):
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

        None where there is none; the parameters are for the caller to judge.
        """
        receipt = self._read().get(step)
        if receipt is None:
            return None
        if (receipt.get("input"), receipt.get("code_version")) != (self.source, code_version()):
            return None
        is_as_left = all(self._digest(name) == was for name, was in receipt["outputs"].items())
        return receipt if is_as_left else None

    def _digest(self, name: str) -> str | None:
        path = self.folder / name
        return digest(path) if path.exists() else None

    def made_from(self, step: str) -> str | None:
        """Digest of the slide that a step was last done on, by whatever code; None if never."""
        receipt = self._read().get(step)
        return receipt and receipt.get("input")

    def forget_others(self, base: Mapping[str, Any], *, keep: Iterable[str] = ()) -> None:
        """Remove what steps left of another slide, or at other `base` parameters, but for `keep`.

        Until it is done again, for good where a step fails, an old heatmap would lie over the new.
        """
        receipts, wanted = self._read(), _as_stored(base)
        others = {step for step, of in receipts.items() if not self._is_made_of(of, wanted)}
        if others:
            self._drop(receipts, others | _made_of_outputs(receipts, wanted), set(keep))
            self._write(receipts)

    def forget_stale(self, base: Mapping[str, Any]) -> set[str]:
        """Remove what steps that were not asked for now left of another slide or tissue.

        What they made of this slide stays, as long as it is as they left it: two runs with other
        networks add to each other. `base` are the parameters of all steps but those that work on
        what others left, of which none stays where another step goes. Gives the names removed.
        """
        receipts, wanted = self._read(), _as_stored(base)
        ours = {name for step in self.seconds for name in receipts[step]["outputs"]}
        others = {step: receipts[step] for step in receipts.keys() - self.seconds.keys()}
        stale = {step for step, of in others.items() if not self._is_of(of, wanted)}
        if not stale:
            return set()
        derived = _made_of_outputs(others, wanted)
        removed = self._drop(receipts, stale if stale <= derived else stale | derived, ours)
        self._write(receipts)
        return removed

    def _is_of(self, receipt: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
        """Whether a step was done on this slide with these parameters, and nothing since."""
        return self._is_made_of(receipt, base) and all(
            self._digest(name) == was for name, was in receipt["outputs"].items()
        )

    def _is_made_of(self, receipt: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
        given = receipt.get("parameters", {})
        return receipt.get("input") == self.source and all(
            given.get(name, value) == value for name, value in base.items()
        )

    def forget(self, *, keep: Iterable[str] = ()) -> None:
        """Remove every receipt, and what the steps wrote but for the outputs in `keep`."""
        receipts = self._read()
        self._drop(receipts, list(receipts), set(keep))
        remove(self.folder / RECEIPT_NAME)

    def _drop(self, receipts: dict[str, Any], steps: Iterable[str], keep: set[str]) -> set[str]:
        names = {name for step in steps for name in receipts.pop(step)["outputs"]} - keep
        removed = {name for name in names if (self.folder / name).exists()}
        for name in removed:
            remove(self.folder / name)
        return removed

    def _write(self, receipts: dict[str, Any]) -> None:
        _write_receipts(self.folder, receipts)

    def _read(self) -> dict[str, Any]:
        try:
            return read_receipts(self.folder)
        except (OSError, ValueError):
            return {}  # a missing or torn receipt only costs the work again


def _made_of_outputs(receipts: Mapping[str, Any], base: Mapping[str, Any]) -> set[str]:
    """Steps that do not know all of `base`: they were done on what other steps wrote."""
    return {s for s, of in receipts.items() if not base.keys() <= of.get("parameters", {}).keys()}


def read_receipts(folder: Path) -> dict[str, Any]:
    """The receipts in a folder by step, just as they were written.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ValueError
        If a byte of the file is another than was written, or an output is not in `folder`, which
        may come from elsewhere: outputs are removed.
    """
    path = folder / RECEIPT_NAME
    text = path.read_text(encoding="utf-8")
    receipts = json.loads(text)
    if not isinstance(receipts, dict) or text != _as_text(
        {step: receipt for step, receipt in receipts.items() if step != OWN_DIGEST}
    ):
        raise ValueError(f"{path} is not as it was written")
    del receipts[OWN_DIGEST]
    for step, receipt in receipts.items():
        outputs = receipt.get("outputs") if isinstance(receipt, dict) else None
        if not isinstance(outputs, dict) or not all(_is_inside(name) for name in outputs):
            raise ValueError(f"{path}: {step} names no outputs, or one that is not in its folder")
    return receipts


def _is_inside(name: str) -> bool:
    path = PurePath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write a receipt for files of a run that no step of a slide wrote."""
    outputs = {name: digest(folder / name) for name in names}
    _write_receipts(folder, {"run": {"code_version": code_version(), "outputs": outputs}})


def renew_seal(folder: Path, name: str) -> bool:
    """Take a sealed file of a run as it is now, because it was written anew on purpose.

    The other files' digests stay, so that what has become of them is still found. Whether there
    is such a seal, as it was written; without one nothing is done.
    """
    try:
        receipt = read_receipts(folder)["run"]
        outputs = receipt["outputs"] | {name: digest(folder / name)}
    except (OSError, ValueError, LookupError):
        return False
    _write_receipts(folder, {"run": receipt | {"outputs": outputs}})
    return True


def _write_receipts(folder: Path, receipts: Mapping[str, Any]) -> None:
    with replacing(folder / RECEIPT_NAME) as tmp:
        tmp.write_text(_as_text(receipts), encoding="utf-8")


def _as_text(receipts: Mapping[str, Any]) -> str:
    """The file's text, whose last value is a digest of the others.

    Steps are in the order of their names: one that is done again does not change its place.
    """
    ordered = dict(sorted(receipts.items()))
    own = hashlib.sha256(json.dumps(ordered).encode()).hexdigest()
    return json.dumps({**ordered, OWN_DIGEST: own}, indent=1)


def _as_stored(parameters: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(parameters, default=str))
