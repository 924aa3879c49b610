"""Levels: what a mask writer with a few depths, doses or grey values can make."""

from __future__ import annotations

import math

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = ["quantize", "quantize_phase"]


def quantize(
    values: torch.Tensor, levels: int, *, low: float, high: float, straight_through: bool = False
) -> torch.Tensor:
    """The nearest of ``levels`` equally spaced values, from ``low`` to ``high``, both included.

    Args:
        values: real tensor of any shape; outside [low, high] the end level is the nearest.
        levels: how many, at least 2.
        low, high: first and last level, in the unit of the values.
        straight_through: let the gradient pass as if nothing had been rounded (a biased estimate, useful in
            training); otherwise it is zero, the true derivative of a staircase.

    Returns:
        Tensor of the same shape and dtype.

    Raises:
        InvalidArgument: fewer than two levels, or high not above low.

    Example:
        >>> quantize(torch.tensor([0.1, 0.4, 0.9]), 3, low=0.0, high=1.0).tolist()
        [0.0, 0.5, 1.0]
    """
    n = checks.count("levels", levels, least=2)
    low = checks.real("low", low)
    if checks.real("high", high) <= low:
        raise InvalidArgument("high", f"a value above low = {low:g}", high)
    step = (high - low) / (n - 1)
    level = torch.round((values - low) / step).clamp(0, n - 1)
    return _passing(low + step * level, values, straight_through)


def quantize_phase(phase: torch.Tensor, levels: int, *, straight_through: bool = False) -> torch.Tensor:
    """The nearest of the phases 2 pi k / N, k = 0 ... N-1, around the circle.

    A blazed grating so quantised sends sinc^2(1/N) of the light where it should: 40.5, 81.1, 95.0 and
    98.7 % for 2, 4, 8 and 16 levels.

    Args:
        phase: in rad, any shape, wrapped or not.
        levels: how many, at least 2.
        straight_through: as in `quantize`.

    Returns:
        Phases in [0, 2 pi), same shape and dtype.

    Raises:
        InvalidArgument: fewer than two levels.

    Example:
        >>> [round(v / math.pi, 3) for v in quantize_phase(torch.tensor([0.1, -3.0, 6.2]), 4).tolist()]
        [0.0, 1.0, 0.0]
    """
    n = checks.count("levels", levels, least=2)
    step = 2 * math.pi / n
    level = torch.remainder(torch.round(phase / step), n)
    return _passing(step * level, phase, straight_through)


def _passing(rounded: torch.Tensor, values: torch.Tensor, straight_through: bool) -> torch.Tensor:
    # adding exact zeros, not a difference, keeps the levels exact to the last bit
    return rounded.detach() + (values - values.detach()) if straight_through else rounded
