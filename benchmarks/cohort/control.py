"""A control for every comparison: an encoder that sees nothing but the mean colour of a tile."""

from pathlib import Path

from benchmarks.pretraining.candidates import Candidate, find_candidates
from distill.card import CARD_NAME, TileCard
from pipelines.model import save_untrained

ARCHITECTURE = "mean-colour"


def mean_colour(folder: Path, tile: TileCard) -> Candidate:
    """The control for encoders that look at `tile`; its model is written below `folder`."""
    model = folder / f"control-{ARCHITECTURE}"
    if not (model / CARD_NAME).exists():
        save_untrained(model, ARCHITECTURE, tile.spec)
    (candidate,) = find_candidates(folder)
    return candidate
