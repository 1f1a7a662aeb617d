"""The processes that train one network together, where a launcher has started several.

A launcher (`cluster.train`, or torchrun) starts the processes and joins them with
`torch.distributed`; what a training needs of that is here. Alone, each function does nothing.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """The number of this one, from 0; the first measures and writes."""
    return distributed.get_rank() if _joined() else 0


def sharing_gradients(model: nn.Module) -> nn.Module:
    """The same model; its gradients become the mean over all processes."""
    # Some networks have weights that an embedding does not use: seen once, they are not waited for.
    return DistributedDataParallel(model, static_graph=True) if size() > 1 else model


def gather(rows: Tensor) -> Tensor:
    """The (B, ...) rows of all processes, one after the other, (size · B, ...).

    Every process that computes the same loss of them gets the gradient of its own rows so scaled
    that the mean over processes is the gradient of that loss.
    """
    if size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def gather_views(rows: Tensor) -> Tensor:
    """`gather` where the second half of the rows are other views of the first, and stay so."""
    if size() == 1:
        return rows
    pairs = gather(torch.stack(rows.chunk(2), dim=1))
    return torch.cat(pairs.unbind(1))


def mean(value: float) -> float:
    """The mean of a number over all processes."""
    if size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=_device())
    distributed.all_reduce(total)
    return float(total) / size()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(size())]
        distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Each process holds the gradient of its own loss by everyone's rows: to any row's come
        # as many parts as there are processes.
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(size())[rank()]


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"
