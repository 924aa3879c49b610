"""Batch normalisation over the samples of all processes, on any device (torch's own needs a GPU)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["common_statistics", "normalise"]


class _Sum(torch.autograd.Function):
    """The sum over the processes; as each depends on all, the gradient is summed as well."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


def normalise(layer: _BatchNorm, processes: int, x: torch.Tensor) -> torch.Tensor:
    """What a batch normalisation in training does to x, a share of the batch.

    Args:
        layer: its running statistics are updated from the whole batch.
        processes: number of equal shares.
        x: [b, channels, ...].

    Returns:
        [b, channels, ...], differentiable through the statistics in every process.
    """
    if not layer.training:
        return type(layer).forward(layer, x)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    count = processes * x.numel() // x.shape[1]
    mean = _Sum.apply(x.sum(axes)) / count
    centred = x - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    if layer.running_mean is not None and layer.running_var is not None:
        with torch.no_grad():
            seen = layer.num_batches_tracked
            if seen is not None:
                seen += 1
            part = layer.momentum
            if part is None:  # a plain mean over all batches
                part = 1.0 / float(seen) if seen is not None else 0.0
            layer.running_mean.lerp_(mean.to(layer.running_mean), part)
            layer.running_var.lerp_((variance * count / (count - 1)).to(layer.running_var), part)
    y = centred * torch.rsqrt(variance + layer.eps).view(shape)
    return y if layer.weight is None else y * layer.weight.view(shape) + layer.bias.view(shape)


@contextlib.contextmanager
def common_statistics(model: nn.Module, processes: int) -> Iterator[None]:
    """Within the block batch normalisations in training see the samples of all processes."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and processes > 1]
    for layer in layers:
        layer.forward = functools.partial(normalise, layer, processes)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
