"""Maps of several optics in one tensor: what a file of measured data holds, and correction works on."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import GridMismatch, InvalidArgument
from ..nn import HybridNetwork

__all__ = ["packed"]


def packed(student: HybridNetwork, scene: torch.Tensor) -> HybridNetwork:
    """The same network with the maps of its optics in one tensor.

    Optics side by side give maps of several sizes. A fine map is cut into as many coarse ones as it has
    pixels in a coarse pixel (`torch.nn.functional.pixel_unshuffle`), so that nothing is lost and what
    belongs to one place of the scene stays together: a map that is linear and shared by all places, as
    calibration fits it, is so here too.

    Args:
        student: a network whose frontend gives a tuple of maps, such as `polychromatic_segmentation`.
        scene: [n, c, y, x], one or more scenes of the size that will be shown.

    Returns:
        A network around the same frontend and backend; its features are [n, k, v, u].

    Raises:
        InvalidArgument: no hybrid network, or a frontend that gives one tensor already.
        GridMismatch: maps whose sizes are not multiples of the coarsest.

    Example:
        >>> from photonet.models import polychromatic_segmentation
        >>> student, x = polychromatic_segmentation((2, 3), width=8).eval(), torch.rand(1, 3, 16, 16)
        >>> one = packed(student, x)
        >>> one.features(x).shape, torch.equal(one(x), student(x))
        (torch.Size([1, 11, 8, 8]), True)
    """
    if not isinstance(student, HybridNetwork):
        raise InvalidArgument("student", "a HybridNetwork: a frontend and a backend", type(student).__name__)
    # a copy: looking at one scene changes neither running statistics nor the noise of cameras
    looking = copy.deepcopy(student.frontend).eval()
    with torch.no_grad():
        maps = looking(scene[:1])
    if isinstance(maps, torch.Tensor):
        raise InvalidArgument("student", "a frontend that gives a tuple of maps", "one tensor")
    coarsest = tuple(min(one.shape[axis] for one in maps) for axis in (-2, -1))
    times = [one.shape[-1] // coarsest[1] for one in maps]
    for one, factor in zip(maps, times, strict=True):
        if tuple(one.shape[-2:]) != (factor * coarsest[0], factor * coarsest[1]):
            raise GridMismatch("scene", f"maps in multiples of {coarsest} pixels", tuple(one.shape[-2:]))
    unpack = _Unpack([one.shape[1] for one in maps], times)
    return HybridNetwork(
        nn.Sequential(student.frontend, _Pack(times)), nn.Sequential(unpack, student.backend)
    )


class _Pack(nn.Module):
    def __init__(self, times: Sequence[int]) -> None:
        super().__init__()
        self.times = list(times)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """One tensor of all maps, as coarse as the coarsest."""
        return torch.cat([F.pixel_unshuffle(m, t) for m, t in zip(maps, self.times, strict=True)], dim=1)

    def extra_repr(self) -> str:
        """Factors, for ``print(model)``."""
        return ", ".join(map(str, self.times))


class _Unpack(nn.Module):
    def __init__(self, channels: Sequence[int], times: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.times = [k * t**2 for k, t in zip(channels, times, strict=True)], list(times)

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The maps as they were."""
        parts = maps.split(self.channels, dim=1)
        return tuple(F.pixel_shuffle(m, t) for m, t in zip(parts, self.times, strict=True))

    def extra_repr(self) -> str:
        """Channels and factors, for ``print(model)``."""
        return f"{self.channels}, {self.times}"
