"""Whether a network takes tiles of a size: asked before anything is computed with it."""

import torch
from torch import Tensor, nn

from distill.errors import ModelError


def tried(module: nn.Module, size_px: int, *, name: str) -> Tensor:
    """What a network says of one grey tile, (1, 3, `size_px`, `size_px`), in evaluation mode.

    Raises
    ------
    ModelError
        If it does not take such a tile; `name` is what the user calls it.
    """
    training = module.training
    device = next((weights.device for weights in module.parameters()), None)
    try:
        with torch.inference_mode():
            answer: Tensor = module.eval()(torch.zeros(1, 3, size_px, size_px, device=device))
            return answer
    except (AssertionError, RuntimeError) as error:  # as timm and torch say it
        raise ModelError(f"{name} does not take tiles of {size_px} px: {error}") from error
    finally:
        module.train(training)


def takes(module: nn.Module, size_px: int) -> bool:
    """Whether a network takes tiles of this size."""
    try:
        tried(module, size_px, name="")
    except ModelError:
        return False
    return True
