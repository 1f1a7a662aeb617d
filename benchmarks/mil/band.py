"""What an uncertain band lets pass: simulated tuning slides, and how often the band errs on others.

python -m benchmarks.mil.band [--error 0.05] [--draws 1000] [--seed 0]

One slide a patient. *Calibrated* verdicts are right with the logistic of their margin; *blind*
ones are right in nine of ten whatever the margin, so that no band helps. Compared with the rule in
use is the count of conformal risk control (Angelopoulos et al., ICLR 2024), which keeps as many
slides as it can. That the error be monotone in the margin, which its guarantee needs, is not so.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.markdown import table_row
from pipelines.mil.evaluation.band import band_width

SIZES = (40, 100, 300, 1000)
OTHERS = 20_000  # slides on which a band is judged
BLIND = 0.9  # share of blind verdicts that are right
HEADS = (
    "verdicts", "tuning slides", "rule", "bands that decide", "err too often", "wrong of decided",
)  # fmt: skip

Floats = NDArray[np.float64]
Right = NDArray[np.bool_]
Rule = Callable[[Floats, Right, float], float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, and print a table with a row for every kind of verdict, size and rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--error", type=float, default=0.05, help="asked for, 0-1")
    parser.add_argument("--draws", type=int, default=1000, help="sets of tuning slides")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(table_row(HEADS), table_row(["---", "--:", "---", "--:", "--:", "--:"]), sep="\n")
    for is_blind in (False, True):
        for size in given.sizes:
            for name, rule in (("in use", in_use), ("as many as it can", as_many)):
                generator = np.random.default_rng(given.seed)
                others = verdicts(OTHERS, generator, is_blind=is_blind)
                found = []
                for _ in range(given.draws):
                    width = rule(*verdicts(size, generator, is_blind=is_blind), given.error)
                    found.append(judged(width, *others))
                kind = "blind" if is_blind else "calibrated"
                print(table_row([kind, f"{size}", name, *summary(found, given.error)]), flush=True)


def verdicts(count: int, generator: np.random.Generator, *, is_blind: bool) -> tuple[Floats, Right]:
    """Margins and whether verdicts are right, (count,) each."""
    margins = generator.exponential(2.5, count)
    chance = BLIND if is_blind else expit(margins)
    return margins, generator.random(count) < chance


def in_use(margins: Floats, right: Right, error: float) -> float:
    """The width of `raypath mil evaluate`."""
    return band_width(margins, right, np.arange(len(margins)), error)


def as_many(margins: Floats, right: Right, error: float) -> float:
    """The least width with which (wrong + 1) / (kept + 1) is at most the error."""
    order = np.argsort(-margins)
    wrong = np.cumsum(~right[order])
    kept = np.flatnonzero(wrong + 1 <= error * (np.arange(len(order)) + 2))
    return float(margins[order[kept[-1]]]) if len(kept) else float("inf")


def judged(width: float, margins: Floats, right: Right) -> tuple[int, int]:
    """How many of other slides a band decides, and how many of these wrongly."""
    kept = margins >= width
    return int(kept.sum()), int((kept & ~right).sum())


def summary(found: Sequence[tuple[int, int]], error: float) -> list[str]:
    """Share of bands that decide anything, and that err more often than asked; wrong, pooled."""
    kept, wrong = np.array(found).T
    pooled = f"{wrong.sum() / kept.sum():.3f}" if kept.any() else "—"
    return [f"{(kept > 0).mean():.0%}", f"{(wrong > error * kept).mean():.0%}", pooled]


if __name__ == "__main__":
    main()
