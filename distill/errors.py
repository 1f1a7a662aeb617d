"""What can be wrong with a model."""

from wsi.errors import RayPathError


class ModelError(RayPathError, ValueError):
    """A model is unknown, incomplete, or not what its card says."""

    kind = "model"


class DatasetError(RayPathError, ValueError):
    """A folder of labelled images is not laid out as published, or its labels do not fit."""

    kind = "dataset"
