"""Crosstalk of the pixels of a liquid-crystal phase modulator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import checks
from ..errors import InvalidArgument
from .draws import Draw
from .geometry import Geometry

__all__ = ["FringingField", "fringed_phases"]

PARTS = 6
"""Gauss-Legendre points per pixel and axis: for a kernel of 0.2 pixel the mean of exp(i phase) is then within
2e-3 at a flyback of 2 pi, within 2e-4 at a step of pi, and better for wider kernels (tested)."""

REACH = 3
"""Pixels on each side that are smoothed over; limits sigma to 0.75 pixel (4 sigma)."""


@dataclass(frozen=True, kw_only=True)
class FringingField:
    """Crosstalk of neighbouring pixels: the PHASE is smoothed by a Gaussian, finer than a pixel.

    The field lines of a pixel bend under its neighbours, so a step of phase becomes a ramp; at a flyback from
    2 pi to 0 the ramp sends light astray. Smoothing the complex field instead would hide that. A pixel then
    transmits the mean of exp(i phase) over its area. After Persson et al., Opt. Express 20, 22334 (2012),
    who measure the kernel; a width of 0.2 to 0.5 pixel is from memory. The dependence of the ramp on the
    sign of the step (Moser et al., Opt. Express 27, 25046, 2019) is not modelled.

    Args:
        mean: standard deviation of the kernel in m, one number or (y, x).
        systematic: 1-sigma of its spread from one modulator to the next, relative.

    Raises:
        InvalidArgument: a negative width; one above 0.75 pixel; a mask that is not a phase.

    Example:
        >>> pixels = Geometry(shape=(2, 2), pitch=(8e-6, 8e-6), phase=torch.zeros(2, 2))
        >>> error = FringingField(mean=3e-6)
        >>> made = error.apply(pixels, error.sample(torch.Generator().manual_seed(0), pixels))
        >>> f"{made.fringe_y.item():.1e}"
        '3.0e-06'
    """

    mean: Any
    systematic: float = 0.0

    def __post_init__(self) -> None:
        for value in checks.pair("mean", self.mean):
            checks.non_negative("mean", value, "a standard deviation in m, or a pair (y, x)")
        checks.non_negative("systematic", self.systematic, "a relative standard deviation of at least 0")

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``fringe_y``, ``fringe_x`` [..., 1, 1] in m."""
        common = torch.randn((1,) * len(geometry.shape), generator=generator, dtype=torch.float64)
        factor = (1 + self.systematic * common).clamp(min=0)
        widths = zip("yx", checks.pair("mean", self.mean), strict=True)
        return {f"fringe_{axis}": sigma * factor for axis, sigma in widths}

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Note the widths; the phase is smoothed when the transmission is computed."""
        geometry.required("phase", self)
        for axis, pitch in zip("yx", geometry.pitch, strict=True):
            widest = float(draw[f"fringe_{axis}"].detach().max())
            if widest > REACH / 4 * pitch:
                most = f"{REACH / 4:g} pixel = {REACH / 4 * pitch:g} m"
                raise InvalidArgument("mean", f"a kernel of at most {most} along {axis}", widest)
        old = geometry.tensors()
        # two Gaussians in a row are one, of the sum of their variances
        return geometry.with_tensors(
            {name: torch.hypot(old[name], d.to(old[name])) if name in old else d for name, d in draw.items()}
        )


def fringed_phases(geometry: Geometry) -> Iterator[tuple[float, torch.Tensor]]:
    """The phase at some places of every pixel, smoothed there, and the weight of each place.

    The phase is constant over a pixel before smoothing, so the smoothed value is a sum over neighbours of
    their phases times differences of the error function. Beyond the edge the outermost phase goes on.

    Args:
        geometry: with ``phase``, and the widths ``fringe_y``, ``fringe_x`` in m or without.

    Raises:
        InvalidArgument: a geometry without a phase.

    Yields:
        Weight (they add up to 1) and phase in rad, float64 [..., y, x].
    """
    if geometry.phase is None:
        raise InvalidArgument("geometry", "the geometry of a phase mask", "one without a phase")
    phase = geometry.phase.to(torch.float64)
    if geometry.fringe_y is None or geometry.fringe_x is None:
        yield 1.0, phase
        return
    points, weights = np.polynomial.legendre.leggauss(PARTS)
    sigma_y, sigma_x = (
        (s.to(phase) / d).clamp(min=1e-6)
        for s, d in zip((geometry.fringe_y, geometry.fringe_x), geometry.pitch, strict=True)
    )
    for y, weight_y in zip(points / 2, weights / 2, strict=True):
        rows = _smoothed(phase, float(y), sigma_y, -2)
        for x, weight_x in zip(points / 2, weights / 2, strict=True):
            yield float(weight_y * weight_x), _smoothed(rows, float(x), sigma_x, -1)


def _smoothed(phase: torch.Tensor, place: float, sigma: torch.Tensor, dim: int) -> torch.Tensor:
    """The smoothed phase at ``place`` (-1/2 to 1/2) of every pixel along an axis; sigma in pixels."""
    edges = torch.arange(-REACH, REACH + 2, dtype=torch.float64, device=phase.device) - 0.5 - place
    below = torch.erf(edges / (math.sqrt(2) * sigma[..., None]))  # [..., 1, 1, edges]
    share = (below[..., 1:] - below[..., :-1]) / (below[..., -1:] - below[..., :1])
    pixel = torch.arange(phase.shape[dim], device=phase.device)
    total = torch.zeros((), dtype=torch.float64, device=phase.device)
    for i, offset in enumerate(range(-REACH, REACH + 1)):
        neighbour = phase.index_select(dim, (pixel + offset).clamp(0, phase.shape[dim] - 1))
        total = total + share[..., i] * neighbour
    return total
