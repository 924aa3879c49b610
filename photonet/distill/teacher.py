"""What is asked of a teacher once, before training: its tangent kernel on the training inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from .. import ntk

__all__ = ["tangent_gram"]

EXACT = 2048
"""Samples up to which the whole Gram is computed once and kept (16 MB in float32)."""

CHUNK = 256


def tangent_gram(teacher: nn.Module, inputs: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The teacher's trace kernel as a function of sample indices.

    Up to `EXACT` samples the whole Gram is computed exactly, once, and sliced. Beyond, the block of a batch
    is computed when it is asked for.

    Args:
        teacher: any module; taken in evaluation mode.
        inputs: [n, ...], the training inputs.

    Returns:
        A function from indices [b] to the Gram [b, b], without gradient.

    Example:
        >>> gram = tangent_gram(nn.Linear(3, 2), torch.rand(10, 3))
        >>> gram(torch.tensor([4, 2, 7])).shape
        torch.Size([3, 3])
    """
    # a copy, so that neither freezing nor the mode of the caller's teacher is touched
    model = copy.deepcopy(teacher).eval().requires_grad_(True)

    def block(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return ntk.gram(model, x, chunk=CHUNK)

    if len(inputs) > EXACT:
        return lambda batch: block(inputs[batch])
    whole = block(inputs)
    return lambda batch: whole[batch[:, None], batch[None, :]]
