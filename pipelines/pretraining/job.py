"""A pretraining as it is asked for: picklable, so that any process can do it or a share of it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distill.card import Features
from distill.objectives.response_loss import ResponseLoss
from distill.origin import Origin
from distill.seen import Seen
from pipelines.errors import UsageError
from pipelines.pretraining.sources import TileRequest

JOB_NAME = "pretraining.json"
# May be others when a training is resumed.
FREE = ("device", "embed_px", "features", "half", "licence", "data")
AVERAGE_DECAY = 0.999
AVERAGED_STEPS = 500  # in a shorter training, that average would hold on to the first steps


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """What is trained, and how.

    Attributes
    ----------
    colour
        How much stain and light are varied: see `distill.views.vary_colour`.
    batch_size, accumulate
        Tiles a batch, over all processes, and batches a step.
    crop_px
        Edge of what the network sees of a tile.
    embed_px
        Edge of the tiles that the model takes; None for `crop_px`.
    features
        What the model's embedding averages; None for every stage, if the network has stages.
    average_decay
        Of the moving average of the weights, which is kept; 0 for none, None for `AVERAGE_DECAY`
        in trainings of `AVERAGED_STEPS` and more.
    share
        Of the tiles that are not held out, those that are trained on; a smaller share is part of
        a larger one.
    loss
        For rckd and supervised-nuclei.
    bfloat16, half
        Whether to compute in half precision where torch holds that safe; whether to write the
        weights so.
    data, licence
        What the tiles are, for the model's card.
    """

    objective: str
    architecture: str
    steps: int
    colour: float
    batch_size: int = 32
    accumulate: int = 1
    crop_px: int = 224
    embed_px: int | None = None
    features: Features | None = None
    learning_rate: float = 1e-3
    average_decay: float | None = None
    share: float = 1.0
    loss: ResponseLoss = field(default_factory=ResponseLoss)
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = False
    half: bool = False
    data: str = "not stated"
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.embed_px is not None and (self.embed_px < 32 or self.embed_px % 32):
            raise UsageError(f"--embed-px {self.embed_px}: a multiple of 32 is wanted")
        if not 0 <= self.colour <= 1:
            raise UsageError(f"--colour {self.colour:g}: 0 to 1 is wanted")
        if not 0 < self.share <= 1:
            raise UsageError(f"--share {self.share:g}: more than 0, up to 1, is wanted")
        if self.average_decay is not None and not 0 <= self.average_decay < 1:
            raise UsageError(f"--average {self.average_decay:g}: 0 up to below 1 is wanted")

    @property
    def averages(self) -> float | None:
        """The decay of the average, or None if the last weights are kept."""
        if self.average_decay is None:
            return AVERAGE_DECAY if self.steps >= AVERAGED_STEPS else None
        return self.average_decay or None


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainJob:
    """Tiles, settings, and the folder for the model.

    Attributes
    ----------
    sources, mpps, request
        As `pipelines.pretraining.tiles.read_tileset` takes them.
    responses, origin, teacher_seen
        For rckd: the folder of the teacher's responses, whose they are, and the images that the
        teacher was trained on.
    resume
        Whether to go on with the training in `out`, if there is one.
    tensorboard
        A folder for the scalars that TensorBoard shows, if that is installed.
    """

    sources: tuple[str, ...]
    mpps: tuple[float | None, ...]
    request: TileRequest
    settings: PretrainSettings
    out: Path
    responses: Path | None = None
    origin: Origin | None = None
    teacher_seen: Seen | None = None
    resume: bool = False
    tensorboard: Path | None = None

    def __post_init__(self) -> None:
        crop, most = self.settings.crop_px, self.request.spec.size_px
        if crop > most or crop % 32:
            raise UsageError(
                f"--crop {crop}: a multiple of 32 up to the tiles' {most} px is wanted"
            )

    def as_attributes(self) -> dict[str, Any]:
        """What decides how the training goes, for `JOB_NAME`."""
        settings = asdict(self.settings) | {"average_decay": self.settings.averages}
        return {
            "sources": list(self.sources),
            "mpps": list(self.mpps),
            "request": asdict(self.request),
            "settings": {name: settings[name] for name in settings if name not in FREE},
            "origin": self.origin and self.origin.as_attributes(),
        }
