"""What can be wrong with a model."""

from wsi.errors import RayPathError


class ModelError(RayPathError, ValueError):
    """A model is unknown, incomplete, or not what its card says."""

    kind = "model"


class DeviceMemoryError(RayPathError, RuntimeError):
    """What a network computes on has no memory left."""

    kind = "device_memory"


class ResponseError(RayPathError, ValueError):
    """Cached responses are of another teacher, of other tiles, or incomplete."""

    kind = "responses"


class LabelledDataError(RayPathError, ValueError):
    """Labelled images are missing, or not in the layout they seem to have."""

    kind = "labelled_data"


class DivergedError(RayPathError, ArithmeticError):
    """A training's loss or gradient is no longer finite."""

    kind = "diverged"


class ObjectiveError(RayPathError, ValueError):
    """A pretraining cannot be done as it was asked for."""

    kind = "objective"
