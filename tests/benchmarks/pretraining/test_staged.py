"""The same weights, with embeddings made of every stage."""

from pathlib import Path

import numpy as np

from benchmarks.pretraining.candidates import find_candidates
from benchmarks.pretraining.random_blocks import write_random
from benchmarks.pretraining.staged import write_staged
from distill.seen import SEEN_NAME, Seen, read_seen
from wsi.plan import TileSpec

SPEC = TileSpec(size_px=64, mpp=0.5)


def test_weights_stay_and_the_embedding_is_longer(tmp_path: Path) -> None:
    write_random(tmp_path / "last" / "mine-resnet10t-2", "resnet10t", SPEC, features="last")
    (last,) = find_candidates(tmp_path / "last")
    (last.folder / "checkpoint.pt").write_bytes(b"large")
    write_staged(last, tmp_path / "staged" / last.name)
    (staged,) = find_candidates(tmp_path / "staged")
    assert (staged.name, staged.card.encoder.sha256) == (last.name, last.card.encoder.sha256)
    assert staged.card.encoder.identifier == "resnet10t-random-live-stages"
    assert read_seen(staged.folder / SEEN_NAME) == Seen()
    assert not (staged.folder / "checkpoint.pt").exists()
    pixels = np.random.default_rng(0).integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    expected = last.load().embed(pixels)
    np.testing.assert_allclose(staged.load().embed(pixels)[:, -512:], expected, atol=1e-5)
