"""Multi-level reliefs from binary masks, each of which may lie beside the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from .draws import Draw
from .geometry import Geometry
from .position import moved

__all__ = ["MaskOverlay", "overlay_cells"]


@dataclass(frozen=True, kw_only=True)
class MaskOverlay:
    """Overlay error of the binary masks of a relief with 2^M levels, in m.

    Mask 0 etches half the levels and is the reference; masks 1 to M-1, each half as deep as the one
    before, are shifted against it, rigidly and each by itself, once per device. Edges of different masks
    that should coincide then leave slivers of a wrong level. Slivers are finer than a sample: each sample
    transmits the mean over its area, which is exact for upright walls and small angles.

    Typical: 20 to 50 nm on a stepper, 0.3 to 1 um in contact (from memory, no source checked).

    Args:
        masks: how many binary masks, M.
        depth: height of the top level in m, as given to ``HeightMask.quantize(2**M, depth=...)``.
        systematic: 1-sigma of the shift of each mask in m, one number or (y, x).

    Raises:
        InvalidArgument: a count below 1, a depth that is not positive, a negative sigma; a mask without
            height, or whose heights are not those levels (put this error first in the list).

    Example:
        >>> steps = torch.arange(4.0).repeat(2, 1) * 1e-7
        >>> relief = Geometry(shape=(2, 4), pitch=(1e-6, 1e-6), height=steps)
        >>> error = MaskOverlay(masks=2, depth=3e-7, systematic=5e-8)
        >>> made = error.apply(relief, error.sample(torch.Generator().manual_seed(0), relief))
        >>> made.overlay_y.shape
        torch.Size([2, 1, 1])
    """

    masks: int
    depth: float
    systematic: Any = 0.0

    def __post_init__(self) -> None:
        checks.count("masks", self.masks)
        checks.positive("depth", self.depth, "a positive height in m")
        for value in checks.pair("systematic", self.systematic):
            checks.non_negative("systematic", value, "a standard deviation in m, or a pair (y, x)")

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``overlay_y``, ``overlay_x`` [..., M, 1, 1] in m, zero for mask 0."""
        lead = (1,) * (len(geometry.shape) - 2)
        draw = {}
        for axis, sigma in zip("yx", checks.pair("systematic", self.systematic), strict=True):
            shift = torch.randn((*lead, self.masks, 1, 1), generator=generator, dtype=torch.float64)
            shift[..., 0, :, :] = 0
            draw[f"overlay_{axis}"] = sigma * shift
        return draw

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Note levels and shifts; the sample areas are mixed when the transmission is computed."""
        height = geometry.required("height", self)
        step = self.depth / (2**self.masks - 1)
        levels = torch.round(height.detach() / step)
        # a level in single precision is off by far less than a thousandth of a step
        off = (height.detach() / step - levels).abs() > 1e-3
        if bool((off | (levels < 0) | (levels >= 2**self.masks)).any()):
            raise InvalidArgument(
                "errors",
                f"heights of {2**self.masks} levels up to {self.depth:g} m for MaskOverlay",
                "other heights",
                f"quantize({2**self.masks}, depth={self.depth:g}) first, with MaskOverlay first in the list",
            )
        old = geometry.tensors()
        shifts = {name: d + old[name].to(d) if name in old else d for name, d in draw.items()}
        step_tensor = torch.full((1, 1), step, dtype=torch.float64, device=height.device)
        return replace(geometry.with_tensors(shifts), levels=levels, step=step_tensor)


def overlay_cells(geometry: Geometry) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The parts of a sample that different masks cover: their share of its area, and their extra height.

    Along each axis M shifted edges cut a sample into M intervals, so there are M^2 parts; their areas add
    up to 1 and are differentiable in the shifts.

    Args:
        geometry: with ``levels``, ``step`` and the overlay shifts, or without (one part, nothing extra).

    Yields:
        Area [..., 1, 1] and extra height in m [..., y, x], float64.
    """
    levels, step, dy, dx = geometry.levels, geometry.step, geometry.overlay_y, geometry.overlay_x
    if levels is None or step is None or dy is None or dx is None:
        nothing = torch.zeros((1, 1), dtype=torch.float64)
        yield nothing + 1, nothing
        return
    levels, masks = levels.to(torch.float64), dy.shape[-3]
    heights = [step * 2 ** (masks - 1 - m) for m in range(masks)]
    bits = [torch.floor(levels / 2 ** (masks - 1 - m)) % 2 for m in range(masks)]
    areas_y, whole_y = _intervals(dy.to(levels), geometry.pitch[0])
    areas_x, whole_x = _intervals(dx.to(levels), geometry.pitch[1])
    for area_y, by_y in zip(areas_y, whole_y, strict=True):
        rows = [moved(bit, by_y[..., m, :, :], -2) for m, bit in enumerate(bits)]
        for area_x, by_x in zip(areas_x, whole_x, strict=True):
            extra = torch.zeros((), dtype=torch.float64, device=levels.device)
            for m, (row, bit) in enumerate(zip(rows, bits, strict=True)):
                extra = extra + heights[m] * (moved(row, by_x[..., m, :, :], -1) - bit)
            yield area_y * area_x, extra


def _intervals(shift: torch.Tensor, pitch: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """For each interval of a sample its length [..., 1, 1] and by how many samples each mask has moved."""
    samples = shift / pitch
    whole = torch.floor(samples.detach())
    fraction = samples - whole
    start = torch.sort(fraction, dim=-3).values
    end = torch.cat([start[..., 1:, :, :], torch.ones_like(start[..., :1, :, :])], dim=-3)
    middle = (start + end).detach() / 2
    lengths, moves = [], []
    for i in range(shift.shape[-3]):
        lengths.append((end - start)[..., i, :, :])
        moves.append((whole + (middle[..., i : i + 1, :, :] < fraction)).long())
    return lengths, moves
