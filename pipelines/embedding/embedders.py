"""The models that embed a run's tiles: the first decides which tiles, the others get the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.model import Model, load_model
from pipelines.runfolder import tiles_name
from pipelines.settings.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedder:
    """A model, what its embeddings depend on, and where they go.

    Attributes
    ----------
    name
        Of the model's folder; empty for the first.
    parameters
        What the embeddings depend on besides slide and tissue, see `embedding_parameters`.
    """

    name: str
    folder: Path
    model: Model
    parameters: dict[str, Any] = field(hash=False)

    @property
    def step(self) -> str:
        """Its key among the slide's receipts."""
        return f"embed:{self.name}" if self.name else "embed"

    @property
    def file(self) -> str:
        """Its file in the slide's folder."""
        return tiles_name(self.name)


def load_embedders(config: RunConfig) -> tuple[Embedder, ...]:
    """Load the models of a run, the first of them first; none where it has none."""
    embedders = []
    for name, folder in config.models.items():
        model = load_model(folder, device=config.device)
        parameters = embedding_parameters(config, model)
        embedders.append(Embedder(name=name, folder=folder, model=model, parameters=parameters))
    return tuple(embedders)


def embedding_parameters(config: RunConfig, model: Model) -> dict[str, Any]:
    """What embeddings depend on besides slide and tissue."""
    how = {"bfloat16": True} if config.bfloat16 else {}
    return {
        **config.where,
        **how,
        "encoder": model.card.encoder.model_dump(),
        "tile": model.card.tile.model_dump(),
        "stride_px": config.stride_px,
        "min_tissue_fraction": config.min_tissue_fraction,
        "quality": config.quality.model_dump(),
        "preprocess": config.preprocess,
        "feature_dtype": config.feature_dtype,
    }


def embed_pixels(
    models: Sequence[Model], pixels: NDArray[np.uint8], *, bfloat16: bool
) -> NDArray[np.float32]:
    """The embeddings of tiles (N, size, size, 3) by all models side by side, (N, sum of D)."""
    return np.concatenate(
        [model.encoder.embed(pixels, bfloat16=bfloat16) for model in models], axis=1
    )


def columns(models: Sequence[Model]) -> list[slice]:
    """Where each model's embeddings are in what `embed_pixels` gives."""
    ends = np.cumsum([model.encoder.dim for model in models]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
