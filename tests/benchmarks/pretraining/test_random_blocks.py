"""Random encoders whose blocks add something."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pretraining.candidates import find_candidates
from benchmarks.pretraining.random_blocks import write_random
from distill.encoders import create_encoder
from distill.errors import ModelError
from distill.seen import SEEN_NAME, Seen, read_seen
from wsi.plan import TileSpec

SPEC = TileSpec(size_px=64, mpp=0.5)


def test_the_blocks_add_something_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    write_random(tmp_path / "random-live-resnet10t", "resnet10t", SPEC)
    (found,) = find_candidates(tmp_path)
    assert (found.objective, found.architecture) == ("random-live", "resnet10t")
    assert read_seen(found.folder / SEEN_NAME) == Seen()
    live, plain = found.load(), create_encoder("resnet10t", spec=SPEC, features="stages")
    pixels = np.random.default_rng(0).integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    assert np.abs(live.embed(pixels) - plain.embed(pixels)).max() > 1e-3
    weights = plain.module.state_dict()
    changed = {k for k, v in live.module.state_dict().items() if not v.equal(weights[k])}
    assert len(changed) == 4  # one a block
    assert all(not weights[key].any() for key in changed)


def test_a_network_without_such_blocks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no normalisation of csat begins with 0"):
        write_random(tmp_path / "random-live-csat", "csat", SPEC)
    assert not list(tmp_path.iterdir())
