"""Whether frames are those of their scenes: a camera that misses one trigger is out of step from there on."""

from __future__ import annotations

import torch

from ..errors import GridMismatch
from .register import unexplained

__all__ = ["out_of_step"]

WINDOW = 24
"""Frames that are compared at a place of the run."""

PLACES = 4
"""Of the run, the first and the last of it included."""

REACH = 3
"""Frames that may have been missed or added up to there."""

CLEARLY = 0.9
"""Residual of a displaced order, relative to that of the order as it is, from which it is the right one."""


def out_of_step(simulated: torch.Tensor, measured: torch.Tensor) -> tuple[int, int] | None:
    """Where the maps of a run fit their neighbours' scenes better than their own.

    At some places of the run a window of measured maps is compared with the simulated ones before and after;
    gain and offset of every channel are free, and so the bench need not be registered. What scenes have in
    common, being alike or the same, tells nothing, and passes.

    Args:
        simulated: [n, k, y, x], what the scenes would give, in the order in which they were shown.
        measured: the same as measured.

    Returns:
        Number of a frame about which they are out of step, and by how many scenes the frames are ahead: 1
        where one trigger was missed, -1 where one frame is too many. None where all fit.

    Raises:
        GridMismatch: maps of different shapes.

    Example:
        >>> maps = torch.rand(50, 2, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> missed = torch.cat([maps[:20], maps[21:], maps[:1]])  # the 21st was not taken
        >>> out_of_step(maps, maps), out_of_step(maps, missed)
        (None, (17, 1))
    """
    if simulated.shape != measured.shape:
        raise GridMismatch("measured", f"maps {tuple(simulated.shape)}", tuple(measured.shape))
    n = len(measured)
    window = min(WINDOW, n - 2 * REACH)
    if window < 2 * REACH:
        return None
    for first in torch.linspace(0, n - window, PLACES).round().long().unique().tolist():
        seen = measured[first : first + window]

        def left(lag: int, first: int = first, seen: torch.Tensor = seen) -> float:
            start = first + lag
            if start < 0 or start + window > n:
                return torch.inf
            return float(unexplained(simulated[start : start + window], seen, crosstalk=False).norm())

        lags = [lag for k in range(1, REACH + 1) for lag in (k, -k)]
        best = min(lags, key=left)
        if left(best) < CLEARLY * left(0):
            return first, best
    return None
