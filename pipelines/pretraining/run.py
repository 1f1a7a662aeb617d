"""One pretraining: tiles and an objective in, a model's folder out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard
from distill.checkpoint import save_weights
from distill.curves import write_curves
from distill.encoders import create_backbone, encoder_of
from distill.nuclei_net import OUTPUT_STRIDE, NucleiNet
from distill.objectives.objective import Maps, Objective, match_views, predict_nuclei
from distill.pretrain import Progress, pretrain
from distill.respond import teacher_of
from distill.responses import Origin, Responses, Shard, write_responses
from distill.targets import nuclei_maps, reduce_maps
from distill.tileset import TileSet
from distill.train import Schedule
from pipelines.errors import UsageError
from pipelines.model import save_model
from pipelines.pretraining.teacher import TeacherNetwork
from wsi.plan import TileSpec

NETWORK_WEIGHTS = "network.safetensors"  # encoder and decoder, of what predicts nuclei


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """What is trained, how, and on what.

    Attributes
    ----------
    crop_px
        Edge of what the network sees of a tile.
    data, licence
        What the tiles are, for the model's card.
    """

    objective: str
    architecture: str
    steps: int
    batch_size: int = 32
    crop_px: int = 224
    learning_rate: float = 1e-3
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = False
    data: str = "not stated"
    licence: str = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMaps:
    """Labels as maps: what a teacher without error would answer."""

    maps: NDArray[np.float32]

    def read(self, index: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B, 3, S/2, S/2) maps."""
        return np.take(self.maps, index, axis=0)


def respond(
    tiles: TileSet,
    teacher: TeacherNetwork,
    folder: Path,
    *,
    report: Callable[[Shard], None] | None = None,
) -> tuple[Responses, dict[str, float]]:
    """The teacher's responses, from `folder` where they are; and what they cost."""
    scale = tiles.spec.mpp / teacher.mpp
    origin = Origin(
        teacher_sha256=teacher.sha256,
        tile_px=tiles.spec.size_px,
        context_px=tiles.context_px,
        scale=round(scale, 3),
    )
    started = time.perf_counter()
    answer = teacher_of(teacher.net, scale=origin.scale)
    written = write_responses(folder, origin, answer, tiles.seen, report=report)
    cost = {
        "responses_computed": written.computed,
        "response_seconds": time.perf_counter() - started,
        "response_bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
    }
    return Responses(folder, origin, origin.keys(tiles.seen)), cost


def run_pretraining(
    tiles: TileSet,
    out: Path,
    settings: PretrainSettings,
    *,
    maps: Maps | None = None,
    method: str = "",
    cost: dict[str, float] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> ModelCard:
    """Pretrain an encoder and write its folder, usable by `raypath run --model`.

    Parameters
    ----------
    maps
        For ``"rckd"``, the teacher's responses to `tiles`.
    method, cost
        For the card: more about how, and measures beside those of the training.
    """
    backbone = create_backbone(settings.architecture, seed=settings.seed)
    training, measures = "not trained: random weights", dict(cost or {})
    objective = None
    if settings.objective != "random":
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)  # for the weights of decoder or projector
            objective = _make(backbone, tiles, settings, maps)
        objective.model.to(settings.device).to(memory_format=torch.channels_last)
        progress = _train(objective, tiles, settings, report)
        measures |= progress.measures | {
            "training_seconds": sum(progress.step_s),
            "tiles": len(tiles),
        }
        training = (
            f"{settings.objective}: {settings.steps} steps of {settings.batch_size} tiles, crops "
            f"of {settings.crop_px} px, learning rate {settings.learning_rate:g}, "
            f"seed {settings.seed}{', bfloat16' if settings.bfloat16 else ''}{method}"
        )
        out.mkdir(parents=True, exist_ok=True)
        title = f"{settings.architecture}, {settings.objective}"
        write_curves(out, progress.losses, progress.checks, title=title)
        objective.model.to("cpu")
    encoder = encoder_of(
        backbone,
        identifier=f"{settings.architecture}-{settings.objective}-{settings.seed}",
        spec=TileSpec(size_px=settings.crop_px, mpp=tiles.spec.mpp),
        licence=settings.licence,
    )
    card = ModelCard(
        encoder=EncoderCard(
            architecture=settings.architecture,
            identifier=encoder.identifier,
            dim=encoder.dim,
            mean=encoder.mean,
            std=encoder.std,
            licence=encoder.licence,
        ),
        tile=TileCard(size_px=encoder.spec.size_px, mpp=encoder.spec.mpp),
        training=TrainingCard(
            data=settings.data,
            data_licence=settings.licence,
            method=training,
            measures={name: float(f"{value:.4g}") for name, value in measures.items()},
        ),
    )
    save_model(out, card, encoder)
    if objective and isinstance(objective.model, NucleiNet):
        save_weights(objective.model, out / NETWORK_WEIGHTS)
    return card


def _make(
    backbone: nn.Module, tiles: TileSet, settings: PretrainSettings, maps: Maps | None
) -> Objective:
    if settings.crop_px > tiles.spec.size_px or settings.crop_px % 32:
        raise UsageError(
            f"--crop {settings.crop_px}: a multiple of 32 up to the tiles' "
            f"{tiles.spec.size_px} px is wanted"
        )
    if settings.objective in ("barlow", "moco"):
        return match_views(backbone, tiles, method=settings.objective, crop_px=settings.crop_px)
    if settings.objective == "supervised-nuclei":
        maps = _label_maps(tiles)
    if maps is None:
        raise UsageError(f"{settings.objective} needs a teacher: give --teacher")
    return predict_nuclei(backbone, tiles, maps, crop_px=settings.crop_px)


def _label_maps(tiles: TileSet) -> LabelMaps:
    if tiles.instances is None:
        raise UsageError("supervised-nuclei needs tiles with labels of nuclei")
    margin = tiles.context_px // OUTPUT_STRIDE
    end = tiles.instances.shape[1] // OUTPUT_STRIDE - margin
    maps = [reduce_maps(nuclei_maps(labels), OUTPUT_STRIDE) for labels in tiles.instances]
    return LabelMaps(maps=np.stack(maps)[:, :, margin:end, margin:end])


def _train(
    objective: Objective,
    tiles: TileSet,
    settings: PretrainSettings,
    report: Callable[[Progress], None] | None,
) -> Progress:
    kept, held_out = tiles.split(settings.seed)
    if not 2 <= settings.batch_size <= len(kept):
        raise UsageError(
            f"--batch {settings.batch_size}: 2 to {len(kept)} is wanted, the tiles left to train "
            "on; give more --tiles"
        )
    return pretrain(
        objective,
        kept,
        held_out,
        Schedule(steps=settings.steps, learning_rate=settings.learning_rate),
        batch_size=settings.batch_size,
        seed=settings.seed,
        bfloat16=settings.bfloat16,
        report=report,
    )
