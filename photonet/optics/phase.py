"""Phases without their whole turns."""

from __future__ import annotations

import math

import torch

from ..arrays import real_dtype

__all__ = ["one_turn", "wrapped"]


def one_turn(phase: torch.Tensor) -> torch.Tensor:
    """The phase of a relief that is at most one turn deep, in [0, 2 pi), with the slope that it had.

    Example:
        >>> one_turn(torch.tensor([7.0, -1.0]))
        tensor([0.7168, 5.2832])
    """
    return phase - 2 * math.pi * torch.floor(phase.detach() / (2 * math.pi))


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
