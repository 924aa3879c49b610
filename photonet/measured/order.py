"""Whether frames are those of their scenes: a camera that misses one trigger is out of step from there on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import GridMismatch
from .register import unexplained

__all__ = ["out_of_step"]

WINDOW = 24
"""Frames that are compared at a place of the run."""

LEAST_FRAMES, LEAST_NUMBERS = 16, 200
"""In a window, and in one channel of it: fewer could fit another order by chance."""

PLACES = 4
"""Of the run, the first and the last of it included."""

REACH = 3
"""Frames that may have been missed or added up to there."""

UNLIKE = 0.8
"""Residual beside the best order, relative to the largest, above which a scene is unlike the next one."""

CLEARLY = 0.9
"""Residual of a displaced order, relative to that of the order as it is, from which it is the right one."""


def out_of_step(
    simulate: Callable[[torch.Tensor], torch.Tensor], scenes: torch.Tensor, measured: torch.Tensor
) -> tuple[int, int] | None:
    """Where the maps of a run fit their neighbours' scenes better than their own.

    At some places of the run a window of measured maps is compared with the simulated ones before and after;
    gain and offset of every channel are free, and so the bench need not be registered. Films pass: of a thing
    that moves through the pictures, a displaced image looks like the next one. What scenes have in common,
    being alike or the same, tells nothing, and passes; so do runs that are too short to tell.

    Args:
        simulate: from scenes to the maps that they would give, [n, k, y, x].
        scenes: [n, c, y, x], in the order in which they were shown.
        measured: [n, k, y, x], the maps that are said to be of these.

    Returns:
        Number of a frame about which they are out of step, and by how many scenes the frames are ahead: 1
        where one trigger was missed, -1 where one frame is too many. None where all fit.

    Raises:
        GridMismatch: another number of scenes than of maps, or maps of another shape.

    Example:
        >>> maps = torch.rand(50, 2, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> missed = torch.cat([maps[:20], maps[21:], maps[:1]])  # the 21st was not taken
        >>> as_it_is = torch.clone
        >>> out_of_step(as_it_is, maps, maps), out_of_step(as_it_is, maps, missed)
        (None, (17, 1))
    """
    n = len(measured)
    if len(scenes) != n:
        raise GridMismatch("measured", f"maps of {len(scenes)} scenes", n)
    window = min(WINDOW, n - 2 * REACH)
    if window < LEAST_FRAMES or window * measured[0, 0].numel() < LEAST_NUMBERS:
        return None
    for first in torch.linspace(0, n - window, PLACES).round().long().unique().tolist():
        low, high = max(0, first - REACH), min(n, first + window + REACH)
        seen, simulated = measured[first : first + window], simulate(scenes[low:high])
        moved = {
            start - (first - low): simulated[start : start + window]
            for start in range(len(simulated) - window + 1)
        }
        left = {lag: float(unexplained(maps, seen).norm()) for lag, maps in moved.items()}
        best = min(left, key=left.__getitem__)
        if left[best] < CLEARLY * left[0]:
            beside = min(left[lag] for lag in (best - 1, best + 1) if lag in left)
            if beside > UNLIKE * max(left.values()):
                return first, best
    return None
