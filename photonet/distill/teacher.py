"""What is asked of a teacher once, before training: its tangent kernel on the training inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from .. import ntk
from ..progress import track

__all__ = ["tangent_gram"]

EXACT = 2048
"""Samples up to which the whole Gram is computed once and kept (16 MB in float32)."""

SKETCH = 512
"""Features per sample and output beyond that: a relative error of about 4 % (10,000 samples: 200 MB)."""

CHUNK = 256


def tangent_gram(teacher: nn.Module, inputs: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The teacher's trace kernel as a function of sample indices.

    Up to `EXACT` samples the whole Gram is computed exactly, once, and sliced. Beyond, sketches of the
    per-sample gradients are computed once, and a batch's Gram is their inner products, without bias.

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

    with torch.no_grad():
        if len(inputs) <= EXACT:
            whole = ntk.gram(model, inputs, chunk=CHUNK)
            return lambda batch: whole[batch[:, None], batch[None, :]]
        sketch = ntk.Sketch(SKETCH)
        parts = inputs.split(CHUNK)
        features = torch.cat(
            [sketch(ntk.tangents(model, x)).flatten(1) for x in track(parts, "teacher's tangents")]
        )

    def block(batch: torch.Tensor) -> torch.Tensor:
        chosen = features[batch]
        return chosen @ chosen.mT

    return block
