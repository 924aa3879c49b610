"""Diffractive phases: gratings, zone plates and aspheric surfaces, in rad, float64."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..grid import Grid
from .scalars import scalar

__all__ = ["aspheric_sag", "blazed_grating", "levels", "zone_plate"]


def blazed_grating(grid: Grid, period: Any, *, angle: Any = 0.0) -> torch.Tensor:
    """Phase of a blazed grating, one turn per period, within [0, 2 pi).

    Args:
        grid: samples of the plane.
        period: in m.
        angle: direction of the grating vector from x towards y, in rad.

    Returns:
        float64 [y, x]; wrapped, so its gradient is that of the ramp.

    Raises:
        InvalidArgument: a period that is not positive.

    Example:
        >>> (blazed_grating(Grid((1, 4), 1e-6), 4e-6) / math.pi).tolist()
        [[1.0, 1.5, 0.0, 0.5]]
    """
    checks.instance("grid", grid, Grid, "a Grid")
    length = scalar("period", period, "a positive length in m", check=checks.positive)
    turn = scalar("angle", angle, "a finite angle in rad", device=length.device)
    y, x = grid.mesh(length.device)
    cycles = (x * turn.cos() + y * turn.sin()) / length
    return 2 * math.pi * (cycles - cycles.detach().floor())


def levels(phase: torch.Tensor, count: int) -> torch.Tensor:
    """Round a phase in rad to ``count`` equal steps of a turn; the gradient passes straight through.

    The first order of a grating so made has the efficiency ``sinc(1 / count)^2``.
    Source: Goodman, Introduction to Fourier Optics, 3rd ed., section 7.3.

    Raises:
        InvalidArgument: no tensor, or fewer than two steps.

    Example:
        >>> levels(torch.tensor([0.1, 3.0]), 2).tolist()
        [0.0, 3.1415927410125732]
    """
    checks.instance("phase", phase, torch.Tensor, "a real tensor in rad")
    step = 2 * math.pi / checks.count("count", count, least=2)
    rounded = (phase / step).round() * step
    return phase + (rounded - phase).detach()


def zone_plate(grid: Grid, wavelength: Any, focal_length: Any) -> torch.Tensor:
    """Transmission of a binary Fresnel zone plate: 1 in the odd zones, 0 in the even ones.

    The zones end where the way to the focus is n half waves longer than on the axis. Its first order
    carries ``1 / pi^2`` of the light.

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        focal_length: of the first order in m, positive.

    Returns:
        float64 [L, y, x].

    Raises:
        InvalidArgument: a focal length that is not positive.

    Example:
        >>> zone_plate(Grid((1, 3), 25e-6), 500e-9, 1e-3).tolist()
        [[[0.0, 1.0, 0.0]]]
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)[:, None, None]
    f = checks.positive("focal_length", focal_length, "a positive length in m")
    y, x = grid.mesh()
    rho2 = y**2 + x**2
    half_waves = 2 * rho2 / ((rho2 + f**2).sqrt() + f) / waves
    return (half_waves.floor() % 2 == 0).to(torch.float64)


def aspheric_sag(
    grid: Grid, radius: Any, *, conic: Any = 0.0, coefficients: tuple[Any, ...] = ()
) -> torch.Tensor:
    """Height of a conic surface with even aspheric terms, zero on the axis.

    ``rho^2 / (R (1 + sqrt(1 - (1 + K) rho^2 / R^2))) + a4 rho^4 + a6 rho^6 + ...``. As a thin lens in air its
    phase is ``-k (n - 1) sag``. Source: ISO 10110-12.

    Args:
        grid: samples of the plane.
        radius: of curvature R in m, not zero.
        conic: K; -1 is a parabola.
        coefficients: a4, a6, ... in m^-3, m^-5, ...

    Returns:
        Height in m, float64 [y, x]; beyond the edge of an ellipsoid the height of the edge.

    Raises:
        InvalidArgument: a radius of zero, a constant that is not finite.

    Example:
        >>> round(float(aspheric_sag(Grid(3, 1e-3), 0.1, conic=-1.0)[1, 2]), 9)  # rho^2 / 2 R
        5e-06
    """
    checks.instance("grid", grid, Grid, "a Grid")
    curvature = 1 / scalar("radius", radius, "a length in m, not zero", zero=False)
    place = curvature.device
    k = scalar("conic", conic, "a finite number", device=place)
    y, x = grid.mesh(place)
    rho2 = y**2 + x**2
    root = (1 - (1 + k) * rho2 * curvature**2).clamp_min(1e-30).sqrt()
    sag = rho2 * curvature / (1 + root)
    for order, value in enumerate(coefficients, 2):
        sag = sag + scalar("coefficients", value, "finite numbers", device=place) * rho2**order
    return sag
