"""A control for every comparison: an encoder that sees nothing but the mean colour of a tile."""

from pathlib import Path

from benchmarks.pretraining.candidates import Candidate, find_candidates
from distill.card import CARD_NAME, ModelCard, TileCard, TrainingCard, write_card
from distill.checkpoint import save_encoder
from distill.encoders import create_encoder

ARCHITECTURE = "mean-colour"


def mean_colour(folder: Path, tile: TileCard) -> Candidate:
    """The control for encoders that look at `tile`; its model is written below `folder`."""
    model = folder / f"control-{ARCHITECTURE}"
    if not (model / CARD_NAME).exists():
        encoder = create_encoder(ARCHITECTURE, spec=tile.spec)
        card = save_encoder(encoder, model, architecture=ARCHITECTURE)
        training = TrainingCard(data="none", data_licence="none", method="none")
        write_card(model, ModelCard(encoder=card, tile=tile, training=training))
    (candidate,) = find_candidates(folder)
    return candidate
