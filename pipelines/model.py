"""A model to run: encoder and slide-level head, loaded once a process."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from distill.card import (
    HeadCard,
    ModelCard,
    OperatingPoint,
    TileCard,
    TrainingCard,
    read_card,
    weights_path,
    write_card,
)
from distill.checkpoint import (
    NETWORK_WEIGHTS,
    describe_encoder,
    load_encoder,
    load_weights,
    save_encoder,
    save_weights,
)
from distill.encoders import Encoder, create_encoder
from distill.errors import ModelError
from pipelines.mil.heads.head import Head
from pipelines.mil.heads.registry import create_head
from pipelines.mil.training import TrainedHead
from wsi.atomic import digest, remove
from wsi.plan import TileSpec

HEAD_WEIGHTS = "head.safetensors"
MODELS_KEPT = 8  # in a process: a run can have several


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An encoder, perhaps a head, the card that describes them, and the digest of the whole."""

    card: ModelCard
    encoder: Encoder
    head: Head | None
    sha256: str

    @property
    def head_card(self) -> HeadCard:
        """The head's part of the card; asked for only where there is a head."""
        if self.card.head is None:
            raise ModelError("the model has no head: it gives embeddings only")
        return self.card.head


def load_model(folder: Path, *, device: str = "cpu") -> Model:
    """Load a model's folder; the second time in a process costs a digest only.

    Parameters
    ----------
    device
        That the encoder computes on, as PyTorch names it; the head stays on the CPU.

    Raises
    ------
    ModelError
        If the folder is incomplete, the weights are not those of the card, or there is no such
        device.
    """
    read_card(folder)  # a missing or wrong card is reported as such, not as a missing file
    return _load(folder.resolve(), digest(folder), device)


@lru_cache(maxsize=MODELS_KEPT)
def _load(folder: Path, content: str, device: str) -> Model:
    card = read_card(folder)
    head = load_head(folder, card.head, dim=card.encoder.dim) if card.head else None
    encoder = load_encoder(folder, card.encoder, card.tile).on(device)
    return Model(card=card, encoder=encoder, head=head, sha256=content)


def load_head(folder: Path, card: HeadCard, *, dim: int) -> Head:
    """A trained head, ready to judge embeddings of length `dim`.

    Raises
    ------
    ModelError
        If the weights are not those of the card.
    """
    head = create_head(card.kind, dim, len(card.classes), card.sizes)
    load_weights(head, weights_path(folder, card.weights), sha256=card.sha256)
    return head.eval()


def save_model(
    folder: Path,
    card: ModelCard,
    encoder: Encoder,
    trained: TrainedHead | None = None,
    *,
    half: bool = False,
) -> None:
    """Write encoder, head and card, and remove the decoder of an encoder that was there before.

    Parameters
    ----------
    card
        Everything but what follows from the weights, which is filled in here.
    trained
        The head; None for a model that only embeds.
    half
        Whether the encoder is written in half precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove(folder / NETWORK_WEIGHTS)  # by its name alone, it would be taken for this encoder's
    encoder_card = save_encoder(encoder, folder, architecture=card.encoder.architecture, half=half)
    head_card = save_head(folder, trained) if trained else None
    write_card(folder, card.model_copy(update={"encoder": encoder_card, "head": head_card}))


def save_untrained(
    folder: Path, architecture: str, spec: TileSpec, trained: TrainedHead | None = None
) -> None:
    """Write a model whose encoder is as it was created: without weights, or with random ones."""
    encoder = create_encoder(architecture, spec=spec)
    card = ModelCard(
        encoder=describe_encoder(encoder, architecture=architecture),
        tile=TileCard(size_px=spec.size_px, mpp=spec.mpp),
        training=TrainingCard(data="none", data_licence="none", method="none"),
    )
    save_model(folder, card, encoder, trained)


def save_head(folder: Path, trained: TrainedHead) -> HeadCard:
    """Write a head's weights into a folder and describe it."""
    sha256 = save_weights(trained.head, folder / HEAD_WEIGHTS)
    point = None
    if trained.threshold is not None:
        point = OperatingPoint(
            threshold=trained.threshold,
            criterion="Youden's index",
            chosen_on=f"{trained.n_tune} tuning slides",
        )
    return HeadCard(
        kind=trained.kind,
        classes=trained.classes,
        positive=trained.positive,
        sizes=trained.head.sizes,
        weights=HEAD_WEIGHTS,
        sha256=sha256,
        operating_point=point,
    )
