"""Whether the step between tiles fits them."""

from pipelines.errors import UsageError
from pipelines.networks import Networks
from pipelines.settings.config import RunConfig


def check_stride(config: RunConfig, networks: Networks) -> None:
    """Compare the stride with the model's tiles.

    Raises
    ------
    UsageError
        If tiles would leave gaps, or there is no model and so no tile to take steps of.
    """
    if config.stride_px is None:
        return
    if not networks.models:
        raise UsageError(
            "stride_px is the step between the tiles of a model, and there is none: leave "
            f"stride_px = {config.stride_px} out, or give --model"
        )
    size_px = networks.models[""][0].tile.size_px
    if config.stride_px > size_px:
        raise UsageError(
            f"stride_px must be in 1-{size_px}, the tile size of {config.model}, "
            f"got {config.stride_px}: tiles would leave gaps"
        )
