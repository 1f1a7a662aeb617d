"""The probes that train a decoder: what is done is done for one encoder at one resolution."""

import re
from dataclasses import replace
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


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("mean-colour", "mean-colour has no feature maps to decode"),
        ("deit_tiny_patch16_224", "does not take tiles of 128 px: .*224"),
        ("swin_tiny_patch4_window7_224", "does not take tiles of 128 px: .*224"),
        ("vit_small_patch14_dinov2", "VisionTransformer has tokens of 14 px: .* of 16 or 32 px"),
    ],
)
def test_what_no_decoder_can_be_trained_on_is_passed_over(
    tmp_path: Path, images: list[Labelled], architecture: str, says: str
) -> None:
    encoder, said = candidate(tmp_path / "encoders", architecture), list[str]()
    measure_nuclei(encoder, "made-up", images, tmp_path / "out", PROTOCOL, said.append)
    assert len(said) == 1
    assert re.match(f"random-{architecture} made-up: no decoder is trained: .*{says}", said[0])
    assert not (tmp_path / "out").exists()
    others = replace(PROTOCOL, probes=("knn",))
    measure_nuclei(encoder, "made-up", images, tmp_path / "out", others, said.append)
    assert len(said) == 1  # none was asked for
