"""One pretraining: tiles and an objective in, a model's folder out."""

from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill import group
from distill.card import ModelCard, TileCard, TrainingCard
from distill.checkpoint import NETWORK_WEIGHTS, describe_encoder, save_weights
from distill.curves import write_curves
from distill.encoders import create_backbone, encoder_of
from distill.label_maps import LabelMaps, label_maps
from distill.nuclei_net import NucleiNet
from distill.objectives.objective import Objective, match_views, predict_nuclei
from distill.pooling import pooled
from distill.pretrain import check_batch, pretrain
from distill.progress import Progress
from distill.responses import Responses
from distill.seen import SEEN_NAME, Seen, write_seen
from distill.student_net import StudentNet
from distill.tileset import TileSet, share_of
from distill.train import Schedule
from distill.trial import tried
from pipelines.errors import UsageError
from pipelines.locks.folder import held
from pipelines.model import save_model
from pipelines.pretraining.job import JOB_NAME, PretrainJob, PretrainSettings
from pipelines.pretraining.seen import seen_in
from pipelines.pretraining.sources import Say
from pipelines.pretraining.tiles import read_tileset
from pipelines.pretraining.watching import Report, watching
from pipelines.training.resuming import remember
from wsi.atomic import remove
from wsi.plan import TileSpec

CHECKPOINT_NAME = "checkpoint.pt"


def run_pretraining(
    job: PretrainJob,
    *,
    cost: dict[str, float] | None = None,
    report: Report | None = None,
    say: Say = lambda _: None,
) -> None:
    """Pretrain an encoder and write its folder, usable by `raypath run --model`.

    Of several processes that train together (`distill.group`), each runs this with the same job,
    and the first one writes.

    Parameters
    ----------
    cost
        For the card: measures beside those of the training.
    say
        Called with a line for each slide that is left out, which has no tissue, and when it has
        to be waited for the folder, see `held`.

    Raises
    ------
    HeldError
        If another process works in the folder.
    """
    settings = job.settings
    tiles = read_tileset(job.sources, job.mpps, job.request, say=say)
    parts = None if settings.objective == "random" else _divide(tiles, settings)
    job.out.mkdir(parents=True, exist_ok=True)
    with held(job.out, say=say) if group.rank() == 0 else nullcontext():
        backbone = create_backbone(settings.architecture, seed=settings.seed)
        training, measures = "not trained: random weights", dict(cost or {})
        objective = None
        if parts:
            with torch.random.fork_rng():
                torch.manual_seed(settings.seed)  # for the weights of decoder or projector
                objective = _make(backbone, tiles, len(parts[0]), job)
            objective.model.to(settings.device).to(memory_format=torch.channels_last)
            progress = _train(objective, tiles, *parts, job, report)
            measures |= progress.measures | {"tiles": len(tiles)}
            training = _describe(job)
            objective.model.to("cpu")
        if group.rank() == 0:
            _write(job, backbone, len(tiles), training, measures)
            write_seen(job.out / SEEN_NAME, _seen(job))
            if objective and (net := _nuclei_net(objective.model)):
                save_weights(net, job.out / NETWORK_WEIGHTS, half=job.settings.half)


def _divide(
    tiles: TileSet, settings: PretrainSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the tiles to train on and to measure on; they have to be enough for a batch."""
    kept, held_out = tiles.split(settings.seed)
    kept = share_of(kept, settings.share, settings.seed)
    check_batch(settings.batch_size, len(kept))
    return kept, held_out


def check_network(settings: PretrainSettings) -> None:
    """Whether the network takes what it will be trained on, and makes embeddings in the end.

    To be asked before anything is computed: a teacher's responses and a training take hours.

    Raises
    ------
    ModelError
        If there is no such network, or it does not.
    """
    name = settings.architecture
    backbone = create_backbone(name)
    encoder = pooled(backbone, settings.features)
    tried(encoder, settings.embed_px or settings.crop_px, name=name)
    if settings.objective in ("rckd", "supervised-nuclei"):
        tried(StudentNet(backbone), settings.crop_px, name=name)
    elif settings.objective != "random":
        tried(encoder, settings.crop_px, name=name)


def _seen(job: PretrainJob) -> Seen:
    """What the encoder and its teacher saw."""
    if job.settings.objective == "random":
        return Seen()
    return seen_in(job.sources, labelled=job.request.labelled) | (job.teacher_seen or Seen())


def _nuclei_net(model: nn.Module) -> NucleiNet | None:
    """What of a trained model finds nuclei, if it does."""
    model = model.nuclei if isinstance(model, StudentNet) else model
    return model if isinstance(model, NucleiNet) else None


def _make(backbone: nn.Module, tiles: TileSet, count: int, job: PretrainJob) -> Objective:
    settings = job.settings
    colour, crop_px = settings.colour, settings.crop_px
    if settings.objective in ("barlow", "moco"):
        method = settings.objective
        return match_views(
            backbone, tiles, method=method, crop_px=crop_px, count=count, colour=colour
        )
    if settings.objective == "supervised-nuclei":
        maps: Responses | LabelMaps = label_maps(tiles)
    elif job.responses is None or job.origin is None:
        raise UsageError(f"{settings.objective} needs a teacher: give --teacher")
    else:
        maps = Responses(job.responses, job.origin, job.origin.keys(tiles.seen))
    return predict_nuclei(backbone, tiles, maps, crop_px=crop_px, loss=settings.loss, colour=colour)


def _train(
    objective: Objective,
    tiles: TileSet,
    kept: NDArray[np.int64],
    held_out: NDArray[np.int64],
    job: PretrainJob,
    report: Report | None,
) -> Progress:
    settings = job.settings
    if group.rank() == 0:
        if not job.resume:
            remove(job.out / CHECKPOINT_NAME)  # with which a later training would go on
        seen = {"tiles": {"count": len(tiles), "sha256": tiles.digest()[:12]}}
        remember(job.out / JOB_NAME, job.as_attributes() | seen, resume=job.resume)
    title = f"{settings.architecture}, {settings.objective}"
    with watching(job.out, title=title, tensorboard=job.tensorboard, report=report) as follow:
        progress = pretrain(
            objective,
            kept,
            held_out,
            Schedule(steps=settings.steps, learning_rate=settings.learning_rate),
            batch_size=settings.batch_size,
            accumulate=settings.accumulate,
            average_decay=settings.averages,
            seed=settings.seed,
            bfloat16=settings.bfloat16,
            checkpoint=job.out / CHECKPOINT_NAME,
            resume=job.resume,
            report=follow,
        )
    if group.rank() == 0:  # once more: a training that was killed after its last step has none
        write_curves(job.out, progress.losses, progress.checks, title=title)
    return progress


def _describe(job: PretrainJob) -> str:
    settings = job.settings
    words = [
        f"{settings.objective}: {settings.steps} steps of {settings.batch_size} tiles",
        f"crops of {settings.crop_px} px",
        f"colour varied by {settings.colour:g}",
        f"learning rate {settings.learning_rate:g}",
        f"seed {settings.seed}",
    ]
    if settings.accumulate > 1:
        words[0] += f" times {settings.accumulate}"
    if settings.averages:
        words.append(f"weights averaged by {settings.averages:g}")
    if settings.share < 1:
        words.append(f"{100 * settings.share:g}% of the tiles")
    if settings.objective in ("rckd", "supervised-nuclei"):
        words.append(settings.loss.describe())
    if settings.bfloat16:
        words.append("bfloat16")
    if job.origin:
        words.append(f"teacher {job.origin.teacher_sha256[:12]}")
    return ", ".join(words)


def _write(
    job: PretrainJob, backbone: nn.Module, tiles: int, training: str, measures: dict[str, float]
) -> None:
    settings = job.settings
    encoder = encoder_of(
        backbone,
        identifier=f"{settings.architecture}-{settings.objective}-{settings.seed}",
        spec=TileSpec(size_px=settings.embed_px or settings.crop_px, mpp=job.request.spec.mpp),
        licence=settings.licence,
        features=settings.features,
    )
    card = ModelCard(
        encoder=describe_encoder(encoder, architecture=settings.architecture),
        tile=TileCard(size_px=encoder.spec.size_px, mpp=encoder.spec.mpp),
        training=TrainingCard(
            data=f"{tiles} tiles of {settings.data}",
            data_licence=settings.licence,
            method=training,
            measures={name: _rounded(value) for name, value in measures.items()},
        ),
    )
    save_model(job.out, card, encoder, half=settings.half)


def _rounded(value: float) -> float:
    """Four digits of a measure; a count is kept as it is."""
    return value if float(value).is_integer() else float(f"{value:.4g}")
