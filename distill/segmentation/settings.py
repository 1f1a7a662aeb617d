"""How a segmenter is trained."""

from dataclasses import dataclass

from distill.segmentation.card import Decoder
from distill.train import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterSettings:
    """How a segmenter is trained.

    Attributes
    ----------
    encoder
        A timm network, or the folder of a pretrained model.
    decoder
        Of the network; None for what suits the encoder.
    keep_decoder
        Start from the pretrained model's own decoder.
    name
        Of the label image that is written for slides.
    mpp
        Resolution to train at; images that say theirs are resampled to it.
    validation
        Share of the cases that is held out.
    crop_px, batch_size
        Edge of a crop, a multiple of 32, and crops a step.
    average_decay
        Of the moving average of the weights, which is what is kept.
    checks, patience
        How often in a training the held-out images are segmented, and after how many checks
        without a better result it ends early.
    workers
        Processes that make crops; 0 makes them in this one.
    """

    encoder: str
    schedule: Schedule
    mpp: float
    decoder: Decoder | None = None
    keep_decoder: bool = False
    name: str = "segmentation"
    validation: float = 0.2
    crop_px: int = 256
    batch_size: int = 8
    average_decay: float = 0.999
    checks: int = 20
    patience: int = 8
    workers: int = 1
    device: str = "cpu"
    bfloat16: bool = False
    seed: int = 0
