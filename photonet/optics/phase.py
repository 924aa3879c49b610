"""Phases on their way to the precision of a field."""

from __future__ import annotations

import math

import torch

from ..arrays import real_dtype

__all__ = ["wrapped"]


def wrapped(phase: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A phase within half a turn of zero, wrapped in its own precision and only then cast.

    Args:
        phase: in rad.
        dtype: of the field or of the mask; its real counterpart is that of the result.

    Returns:
        The shape of ``phase``, with the slope that it had.

    Example:
        >>> wrapped(torch.tensor([7.0, -1.0]), torch.complex64)
        tensor([ 0.7168, -1.0000])
    """
    turns = torch.round(phase.detach() / (2 * math.pi))
    return (phase - 2 * math.pi * turns).to(real_dtype(dtype))
