"""What a head takes for slides of many tiles: time and memory, each in a process of its own.

python -m benchmarks.mil.size [--heads gated-abmil transmil] [--tiles 1000 10000 100000]

Embeddings are noise in half precision, as they are stored. A training step is a forward pass, the
gradients and AdamW's update. Memory is the most the process held, Python and torch included, which
are the whole of it where a bag is small.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.measure import Contender, Result, Work, measure_in_turns
from pipelines.mil.heads.registry import HEADS

LARGE = (1000, 10_000, 100_000)
FEW = 1000  # tiles that come first and are not counted: a process is slow at its first


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turns, and print a table with a row for every head and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    some = ("mean", "gated-abmil", "transmil")
    parser.add_argument("--heads", nargs="+", choices=tuple(HEADS), default=some)
    parser.add_argument("--tiles", nargs="+", type=int, default=LARGE)
    parser.add_argument("--dim", type=int, default=512, help="numbers of an embedding")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    rows = [(head, tiles) for head in given.heads for tiles in given.tiles]
    contenders = [
        Contender(
            name=f"{head}, {tiles} tiles, {work.__name__.removeprefix('prepare_')}",
            prepare=partial(work, head, tiles, given.dim, given.threads),
            role="ours",
        )
        for head, tiles in rows
        for work in (prepare_prediction, prepare_step)
    ]
    results = measure_in_turns(contenders, runs=given.runs, say=partial(print, flush=True))
    print(as_markdown(rows, results))


def prepare_prediction(kind: str, tiles: int, dim: int, threads: int, _scratch: Path) -> Work:
    """Predict one slide, its attention included."""
    import torch

    from pipelines.mil.bags import bag_logits
    from pipelines.mil.heads.registry import create_head

    torch.set_num_threads(threads)
    head = create_head(kind, dim, 2, {}).eval()
    bag_logits(head, _noise(min(tiles, FEW), dim))
    return partial(bag_logits, head, _noise(tiles, dim))


def prepare_step(kind: str, tiles: int, dim: int, threads: int, _scratch: Path) -> Work:
    """Learn from one slide."""
    import torch

    from pipelines.mil.bags import as_batch
    from pipelines.mil.heads.registry import create_head

    torch.set_num_threads(threads)
    head = create_head(kind, dim, 2, {}).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=head.learning_rate, fused=True)

    def step(embeddings: NDArray[np.float16]) -> None:
        loss = head.loss(*as_batch(head, embeddings), torch.tensor([1]), torch.ones(2))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    step(_noise(min(tiles, FEW), dim))
    return partial(step, _noise(tiles, dim))


def as_markdown(rows: Sequence[tuple[str, int]], results: Sequence[Result]) -> str:
    """A row for a prediction's and a step's results: median CPU seconds (range) and memory."""
    lines = [
        "| head | tiles | prediction, s | MiB | training step, s | MiB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for (head, tiles), prediction, step in zip(rows, results[::2], results[1::2], strict=True):
        cells = [*_cells(prediction), *_cells(step)]
        lines.append(f"| {head} | {tiles:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(result: Result) -> tuple[str, str]:
    seconds = result.cpu_seconds
    shown: Callable[[float], str] = "{:.2f}".format
    spread = f" ({shown(min(seconds))}-{shown(max(seconds))})" if len(seconds) > 1 else ""
    return shown(float(np.median(seconds))) + spread, f"{result.peak_bytes / 2**20:.0f}"


def _noise(tiles: int, dim: int) -> NDArray[np.float16]:
    """(tiles, dim), made in parts so that making it is not the most that is held."""
    random = np.random.default_rng(0)
    noise = np.empty((tiles, dim), np.float16)
    for start in range(0, tiles, FEW):
        part = noise[start : start + FEW]
        part[:] = random.standard_normal(part.shape, dtype=np.float32)
    return noise


if __name__ == "__main__":
    main()
