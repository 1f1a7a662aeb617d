"""The probes that train a decoder: what is done is done for one encoder at one resolution."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pretraining.candidates import Candidate, find_candidates
from benchmarks.pretraining.decoding import measure_nuclei
from benchmarks.pretraining.protocol import Protocol
from distill.teachers.labelled import Labelled
from pipelines.model import save_untrained
from wsi.plan import TileSpec

PROTOCOL = Protocol(
    tasks=("made-up",),
    probes=("segment-frozen",),
    fractions=(1.0,),
    seeds=1,
    segmenting_steps=1,
)


@pytest.fixture
def images() -> list[Labelled]:
    instances = np.zeros((70, 70), np.int32)
    instances[20:40, 30:50] = 1
    pixels = np.where(instances[..., None] > 0, 60, 220).repeat(3, 2).astype(np.uint8)
    return [
        Labelled(pixels=pixels, instances=instances, name=f"{n}", case=f"{n}", mpp=0.5)
        for n in range(5)
    ]


def candidate(folder: Path, architecture: str, *, mpp: float = 0.5) -> Candidate:
    spec = TileSpec(size_px=224, mpp=mpp)
    save_untrained(folder / f"random-{architecture}", architecture, spec)
    return find_candidates(folder)[0]


def test_the_same_weights_at_another_resolution_are_measured_anew(
    tmp_path: Path, images: list[Labelled]
) -> None:
    made = []
    for mpp in (0.5, 0.25, 0.25):
        encoder = candidate(tmp_path / f"at-{mpp}", "resnet10t", mpp=mpp)
        said: list[str] = []
        measure_nuclei(encoder, "made-up", images, tmp_path / "out", PROTOCOL, said.append)
        made.append(len(said))
    assert made == [1, 1, 0]
