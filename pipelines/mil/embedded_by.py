"""The model that made the embeddings: with its encoder, a head is a model to run."""

from distill.errors import ModelError
from pipelines.mil.cohort import Cohort
from pipelines.mil.job import MilJob
from pipelines.model import Model, load_model


def model_of(job: MilJob, cohort: Cohort) -> Model | None:
    """The model whose encoder made the embeddings, where one is named.

    Raises
    ------
    ModelError
        If it is another one, or takes other tiles, as far as the embeddings' files tell.
    """
    if job.model is None:
        return None
    model = load_model(job.model)
    spec, ours = model.encoder.spec, model.card.encoder.sha256
    for features in cohort.features.values():
        made_by = features.encoder_sha256
        if features.dim != model.encoder.dim or (made_by and made_by != ours):
            raise ModelError(
                f"{job.model} has {model.encoder.identifier}, {str(ours)[:12]}…, of length "
                f"{model.encoder.dim}; the embeddings are by "
                f"{features.encoder or 'an unnamed one'}, {made_by[:12]}…, of length "
                f"{features.dim}: name the model that made them"
            )
        seen = features.spec
        if seen is not None and seen != spec:
            raise ModelError(
                f"{features.path} is of tiles of {seen.size_px} px at {seen.mpp:g} µm, {job.model} "
                f"takes {spec.size_px} px at {spec.mpp:g}: name the model that made the embeddings"
            )
    return model
