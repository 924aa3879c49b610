"""Where the samples lie: `Grid`, the regular lattice of a plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import checks
from .errors import GridMismatch
from .transforms import numbers

__all__ = ["Grid", "check_coordinates", "check_same_grid", "overlap"]


@dataclass(frozen=True, init=False)
class Grid:
    """A regular lattice of samples in a plane, axes (y, x).

    Sample ``(ny // 2, nx // 2)`` lies at ``centre``; for even and odd N alike that is the optical axis
    when the centre is (0, 0).

    Args:
        shape: samples (ny, nx), or one number for both.
        pitch: distance of neighbours (dy, dx) in m, or one number for both.
        centre: position (y, x) of the middle sample in m.

    Raises:
        InvalidArgument: a shape below 1, a pitch that is not positive, a centre that is not finite.

    Example:
        >>> grid = Grid(shape=(4, 5), pitch=1e-6)
        >>> (grid.x * 1e6).tolist()
        [-2.0, -1.0, 0.0, 1.0, 2.0]
    """

    shape: tuple[int, int]
    pitch: tuple[float, float]
    centre: tuple[float, float]

    def __init__(self, shape: Any, pitch: Any, centre: Any = (0.0, 0.0)) -> None:
        ny, nx = (checks.count("shape", n) for n in checks.pair("shape", shape))
        dy, dx = (checks.positive("pitch", d, "a positive length in m") for d in checks.pair("pitch", pitch))
        cy, cx = (checks.real("centre", c, "a finite position in m") for c in checks.pair("centre", centre))
        object.__setattr__(self, "shape", (ny, nx))
        object.__setattr__(self, "pitch", (dy, dx))
        object.__setattr__(self, "centre", (cy, cx))

    @property
    def extent(self) -> tuple[float, float]:
        """Width of the window (y, x) in m: N times the pitch."""
        return self.shape[0] * self.pitch[0], self.shape[1] * self.pitch[1]

    @property
    def cell(self) -> float:
        """Area of one sample in m^2."""
        return self.pitch[0] * self.pitch[1]

    @property
    def y(self) -> torch.Tensor:
        """Positions of the rows in m, float64 [ny]."""
        return self._axis(0)

    @property
    def x(self) -> torch.Tensor:
        """Positions of the columns in m, float64 [nx]."""
        return self._axis(1)

    def _axis(self, axis: int) -> torch.Tensor:
        n = self.shape[axis]
        return (torch.arange(n, dtype=torch.float64) - n // 2) * self.pitch[axis] + self.centre[axis]

    def mesh(self, device: torch.device | str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (y, x) in m as broadcastable float64 tensors [ny, 1] and [1, nx]."""
        return self.y.to(device)[:, None], self.x.to(device)[None, :]

    def matches(self, other: Grid, tolerance: float = 1e-9) -> bool:
        """Whether both have the same samples, to ``tolerance`` of a pitch."""
        return (
            self.shape == other.shape
            and all(
                math.isclose(a, b, rel_tol=tolerance, abs_tol=0)
                for a, b in zip(self.pitch, other.pitch, strict=True)
            )
            and all(
                abs(a - b) <= tolerance * d
                for a, b, d in zip(self.centre, other.centre, self.pitch, strict=True)
            )
        )

    def __str__(self) -> str:
        text = f"{self.shape[0]} x {self.shape[1]} at {self.pitch[0]:g} x {self.pitch[1]:g} m"
        return (
            text if self.centre == (0.0, 0.0) else f"{text} around ({self.centre[0]:g}, {self.centre[1]:g}) m"
        )


def check_same_grid(name: str, grid: Grid, expected: Grid) -> None:
    """Raise `GridMismatch` when ``grid`` and ``expected`` are not the same samples."""
    if not grid.matches(expected):
        raise GridMismatch(name, f"the grid {expected}", f"{grid}", "resample one of the two")


def check_coordinates(name: str, value: Any, grid: Grid, wavelength: torch.Tensor) -> None:
    """Raise `GridMismatch` when the coordinates of an xarray object contradict the pitch or the wavelengths.

    Args:
        name: of the argument, for the error.
        value: whatever came; what has no coordinates y, x or wavelength in numbers passes.
        grid: whose pitch was said.
        wavelength: what was said, [L] in m.
    """
    axes = (("y", grid.pitch[0]), ("x", grid.pitch[1]), ("wavelength", numbers(wavelength)))
    for axis, said in axes:
        if axis not in getattr(value, "coords", ()):
            continue
        labels = np.asarray(value.coords[axis].values)
        if labels.dtype.kind not in "iuf" or labels.ndim > 1:
            continue
        if axis == "wavelength":
            what, found = "values", labels.reshape(-1)
            if found.size != len(wavelength):  # whoever called says so of the axes themselves
                continue
        else:
            what, found = "steps", np.diff(np.atleast_1d(labels))
        if not np.allclose(found, said, rtol=1e-6, atol=0):
            hint = f"see sortby({axis!r}), or drop_vars({axis!r}) where they are not in m"
            raise GridMismatch(
                name, f"coordinates {axis} in {what} of {said} m, as was said", f"{found[0]:g}", hint
            )


def overlap(source: torch.Tensor, size: Any, target: torch.Tensor, width: Any) -> torch.Tensor:
    """Length that source intervals share with target intervals.

    Args:
        source: centres [S] in m.
        size: of each source interval in m, a number or a 0-d tensor (gradients flow through it).
        target: centres [T] in m.
        width: of each target interval in m, likewise.

    Returns:
        [T, S] in m.

    Example:
        >>> cells, pixel = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([0.0])
        >>> overlap(cells, 1.0, pixel, 2.0).tolist()
        [[0.5, 1.0, 0.5]]
    """
    low = torch.maximum(target[:, None] - width / 2, source - size / 2)
    high = torch.minimum(target[:, None] + width / 2, source + size / 2)
    return (high - low).clamp(min=0)
