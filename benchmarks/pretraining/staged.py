"""The same encoders once more, with embeddings made of every stage's features.

    python -m benchmarks.pretraining.staged ENCODERS -o STAGED

Which features an embedding averages is a line of a model's card: weights stay as they are, and
nothing is trained again to compare the two.
"""

import argparse
from pathlib import Path
from shutil import copytree, ignore_patterns

from benchmarks.pretraining.candidates import Candidate, find_candidates
from distill.card import write_card
from distill.encoders import create_encoder


def main() -> None:
    """Write a model's folder for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoders", type=Path, help="as for 'raypath benchmark pretraining'")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    for candidate in find_candidates(options.encoders):
        write_staged(candidate, options.out / candidate.name)


def write_staged(candidate: Candidate, out: Path) -> None:
    """Copy an encoder's folder, with a card whose embedding is made of all stages.

    Raises
    ------
    ModelError
        If its network has none.
    """
    was, spec = candidate.card.encoder, candidate.card.tile.spec
    staged = create_encoder(was.architecture, spec=spec, features="stages")
    identifier = f"{was.identifier.removesuffix('-stages')}-stages"
    changed = {"features": "stages", "dim": staged.dim, "identifier": identifier}
    copytree(candidate.folder, out, ignore=ignore_patterns("checkpoint.pt"))
    encoder = was.model_copy(update=changed)
    write_card(out, candidate.card.model_copy(update={"encoder": encoder}))


if __name__ == "__main__":
    main()
