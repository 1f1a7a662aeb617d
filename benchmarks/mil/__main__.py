"""MIL heads, and a forest, on Musk1, Elephant, Fox, Tiger and nuclei of colon cancer.

python -m benchmarks.mil OUT --data DATA [--heads mean gated-abmil] [--repeats 2] [--resume]

OUT gets ``predictions.csv``, ``scores.csv`` with a row for every set, head and fold, and
``tables.md`` of the folds that all heads have, after every head. The first fold of all sets and
heads is done before the second, so that a run may be ended at any time; --resume goes on. These
sets show that a head is right, not that it is better: they are small, and a forest on pooled
instances does as well.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from benchmarks.mil.bags import FOLDS, REPEATS, SETS, load
from benchmarks.mil.predict import FOREST, SIZES, Protocol, predict
from benchmarks.mil.tables import as_markdown, in_common, piece, read_said, scores, write_rows
from benchmarks.slides import DATA
from pipelines.code_version import code_version
from pipelines.mil.heads.registry import HEADS
from pipelines.training.resuming import remember
from wsi.atomic import remove, replacing
from wsi.errors import RayPathError

PREDICTIONS_NAME, SCORES_NAME, TABLES_NAME = "predictions.csv", "scores.csv", "tables.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write after every head of every fold of every set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    heads = (*HEADS, FOREST)
    parser.add_argument("--heads", nargs="+", choices=heads, default=heads)
    parser.add_argument("--repeats", type=int, choices=range(1, REPEATS + 1), default=REPEATS)
    parser.add_argument("--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS)
    parser.add_argument("--epochs", type=int, default=Protocol().epochs)
    parser.add_argument("--patience", type=int, default=Protocol().patience)
    parser.add_argument("--resume", action="store_true", help="go on with what OUT holds")
    try:
        _measure(parser.parse_args(arguments))
    except RayPathError as error:
        parser.error(str(error))


def _measure(given: argparse.Namespace) -> None:
    predictions = given.out / PREDICTIONS_NAME
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.resume:
        remove(predictions)
    protocol = Protocol(epochs=given.epochs, patience=given.patience)
    job = asdict(protocol) | {"sizes": SIZES, "code": code_version()}
    remember(given.out / "job.json", job, resume=given.resume)
    said = read_said(predictions)
    done = {piece(row) for row in said}
    load_once = cache(partial(load, given.data))
    for name, head, repeat, fold in _wanted(given):
        if (name, head, repeat, fold) in done:
            continue
        started = time.process_time()
        said += predict(load_once(name), head, protocol, repeat=repeat, fold=fold)
        seconds = time.process_time() - started
        write_rows(predictions, said)
        measured = scores(said)
        write_rows(given.out / SCORES_NAME, measured)
        with replacing(given.out / TABLES_NAME) as tmp:
            tmp.write_text(as_markdown(in_common(measured)) + "\n")
        print(
            f"{name}, {head}, repeat {repeat}, fold {fold}: accuracy "
            f"{measured[-1].accuracy:.3f}, AUROC {measured[-1].auroc:.3f}, {seconds:.1f} s of CPU",
            flush=True,
        )
    print(as_markdown(in_common(scores(said))))


def _wanted(given: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    for repeat in range(given.repeats):
        for fold in range(given.folds):
            for name in given.sets:
                for head in given.heads:
                    yield name, head, repeat, fold


if __name__ == "__main__":
    main()
