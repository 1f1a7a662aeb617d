"""Where a network computes."""

import itertools

import torch
from torch import nn

from distill.errors import DeviceMemoryError, ModelError


def check_device(device: str) -> None:
    """Say so where there is no such device.

    Raises
    ------
    ModelError
        If there is no such device, or this process sees no GPU and one is asked for.
    """
    try:
        torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"no device is called {device!r}: cpu, cuda, cuda:0 and so on") from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(
            f"a network is to compute on {device}, and no GPU is visible to this process: "
            "leave --device out, or run it where there is one"
        )


def no_memory_left(device: object, what: str, error: torch.OutOfMemoryError) -> DeviceMemoryError:
    """What to raise where `device` has no memory for `what`, which cannot be halved."""
    return DeviceMemoryError(
        f"{device} has no memory left for {what} ({error}): give tasks a larger share "
        "([resources] gpus of the step), or end what else uses it"
    )


def device_of(net: nn.Module) -> torch.device:
    """Where a network's weights are; the CPU if it has none."""
    tensor = next(itertools.chain(net.parameters(), net.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
