"""Which exposure times are the same: cameras report what they did, which jitters by some 1e-5."""

from __future__ import annotations

import math

import torch

__all__ = ["are_among", "by_exposure", "repeated_near", "shutter_times"]

SAME = 1e-3
"""Relative difference of exposure times that are the same."""


def by_exposure(exposure: torch.Tensor) -> list[torch.Tensor]:
    """Numbers of the frames of each exposure time, the shortest first.

    Args:
        exposure: float64 [n] in s.

    Returns:
        Of each different time, int64 [k] in rising order.

    Example:
        >>> [rows.tolist() for rows in by_exposure(torch.tensor([2e-3, 1e-3, 2.00001e-3]))]
        [[1], [0, 2]]
    """
    times, back = exposure.unique(return_inverse=True)
    first, groups, number = -math.inf, [], -1
    for t in times.tolist():
        if t > (1 + SAME) * first:
            first, number = t, number + 1
        groups.append(number)
    each = torch.tensor(groups, dtype=torch.long)[back]
    return [(each == k).nonzero()[:, 0] for k in range(number + 1)]


def shutter_times(exposure: torch.Tensor) -> torch.Tensor:
    """The different exposure times among those of frames [n], in rising order.

    Example:
        >>> shutter_times(torch.tensor([2.0, 1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    return torch.stack([exposure[rows].median() for rows in by_exposure(exposure)])


def are_among(exposure: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Which exposure times [n] are the same as one of those that are known [m].

    Example:
        >>> are_among(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])).tolist()
        [True, False]
    """
    return torch.isclose(exposure[:, None], shutter_times(known)[None, :], rtol=SAME, atol=0).any(1)


def repeated_near(exposure: torch.Tensor, seconds: float) -> torch.Tensor | None:
    """Numbers of the frames of the exposure time that is nearest, of those with two frames or more.

    Args:
        exposure: float64 [n] in s.
        seconds: the time wanted.

    Returns:
        int64 [k], or None if there is no such time.

    Example:
        >>> repeated_near(torch.tensor([1.0, 2.0, 2.0, 8.0, 8.0]), 1.0)
        tensor([1, 2])
    """
    groups = [rows for rows in by_exposure(exposure) if len(rows) >= 2]
    return min(groups, key=lambda rows: abs(math.log(exposure[rows[0]] / seconds)), default=None)
