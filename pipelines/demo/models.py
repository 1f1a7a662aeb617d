"""The demo's networks: a nuclei teacher, the student it teaches, and a head on the student."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from distill.card import ModelCard, TileCard, TrainingCard
from distill.checkpoint import describe_encoder, save_weights
from distill.encoders import Encoder, create_backbone
from distill.label_maps import label_maps
from distill.objectives.objective import Maps, predict_nuclei
from distill.objectives.response_loss import ResponseLoss
from distill.origin import Origin
from distill.pretrain import pretrain
from distill.respond import teacher_of
from distill.responses import Responses, write_responses
from distill.tileset import TileSet
from distill.train import Schedule
from pipelines.cohort.manifest import Entry
from pipelines.mil.bags import Bag
from pipelines.mil.features import open_features
from pipelines.mil.training import TrainedHead, train_head
from pipelines.pretraining.sampling import place_in_slides
from pipelines.pretraining.tiles import read_places
from pipelines.runfolder import SLIDES_NAME, TILES_NAME
from wsi.atomic import remove
from wsi.plan import TileSpec
from wsi.testing import nuclei_crops

SPEC = TileSpec(size_px=128, mpp=0.5)
TEACHER_PX = 256  # edge of the labelled crops
TEACHER = "regnetx_002"
STUDENT = "regnetx_002"
BATCH = 16
CHECKS = 2  # of each training; the demo shows the last
POSITIVE = "tumour"
LICENCE = "Apache-2.0 (made-up pixels, no patient's data)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network of the demo, its encoder, and what it came to on the tiles held out."""

    net: nn.Module
    backbone: nn.Module
    held_out: dict[str, float]


def train_teacher(*, crops: int, steps: int, seed: int) -> Trained:
    """Train on labelled crops of made-up tissue."""
    # Other specimens than the cohort's: their seeds start far away.
    pixels, nuclei = nuclei_crops(count=crops, size_px=TEACHER_PX, seed=seed + 1000, mpp=SPEC.mpp)
    tiles = TileSet(
        seen=pixels,
        sources=np.arange(len(pixels)),
        spec=TileSpec(size_px=TEACHER_PX, mpp=SPEC.mpp),
        instances=nuclei,
    )
    labels, alone = label_maps(tiles), ResponseLoss(appearance=False)
    return _learn_nuclei(TEACHER, tiles, labels, steps, seed, alone)


def pretrain_student(
    entries: Sequence[Entry],
    teacher: nn.Module,
    folder: Path,
    *,
    tiles: int,
    steps: int,
    seed: int,
) -> Trained:
    """Pretrain on what `teacher` says of that many tiles of slides; `folder` keeps what it said."""
    places = place_in_slides(entries, spec=SPEC, count=tiles, seed=seed)
    unlabelled = read_places(places)
    sha256 = save_weights(teacher, folder / "teacher.safetensors")
    origin = Origin(teacher_sha256=sha256, tile_px=SPEC.size_px, mpp=SPEC.mpp)
    responses = folder / "responses"
    remove(responses)  # of an earlier demo's teacher
    write_responses(responses, origin, teacher_of(teacher), unlabelled.seen)
    maps = Responses(responses, origin, origin.keys(unlabelled.seen))
    return _learn_nuclei(STUDENT, unlabelled, maps, steps, seed, ResponseLoss())


def _learn_nuclei(
    architecture: str, tiles: TileSet, maps: Maps, steps: int, seed: int, loss: ResponseLoss
) -> Trained:
    backbone = create_backbone(architecture, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the decoder's weights
        objective = predict_nuclei(backbone, tiles, maps, crop_px=SPEC.size_px, loss=loss)
    objective.model.to(memory_format=torch.channels_last)
    kept, held_out = tiles.split(seed)
    progress = pretrain(
        objective,
        kept,
        held_out,
        Schedule(steps=steps),
        batch_size=min(BATCH, len(kept)),
        seed=seed,
        checks=CHECKS,
    )
    return Trained(net=objective.model, backbone=backbone, held_out=progress.checks[steps])


def train_on_slides(entries: Sequence[Entry], out: Path, *, seed: int) -> TrainedHead:
    """Train a MIL head on the slides of `train` and `tune` that are in the run's folder `out`."""
    bags = []
    for entry in entries:
        path = out / SLIDES_NAME / entry.ref.slide_id / TILES_NAME
        if entry.split in ("train", "tune") and path.is_file():
            bags.append(
                Bag(
                    slide_id=entry.ref.slide_id,
                    patient_id=entry.patient_id or entry.ref.slide_id,
                    target=entry.label or "",
                    split=entry.split,
                    read=open_features(path).read,
                )
            )
    return train_head(bags, positive=POSITIVE, seed=seed)


def student_card(encoder: Encoder, student: Trained) -> ModelCard:
    """What the demo's model says of itself."""
    return ModelCard(
        encoder=describe_encoder(encoder, architecture=STUDENT),
        tile=TileCard(size_px=SPEC.size_px, mpp=SPEC.mpp),
        training=TrainingCard(
            data="raypath demo: made-up slides, of no use on real tissue",
            data_licence=LICENCE,
            method=f"RCKD-style, teacher {TEACHER} trained on made-up nuclei",
            measures={f"student_{k}_against_teacher": v for k, v in student.held_out.items()},
        ),
    )
