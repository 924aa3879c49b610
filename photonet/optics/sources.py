"""Light as it leaves a source: fields on a grid, complex128 [L, y, x], of amplitude or power one.

Always double precision; ``.to(torch.complex64)`` where single is enough.

Time goes as exp(-i omega t), so a wave along +z carries exp(+i k z).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from .kernels import carrier
from .scalars import scalar

__all__ = ["gaussian_beam", "plane_wave", "point_source"]


def plane_wave(grid: Grid, wavelength: Any, *, angle: Any = (0.0, 0.0)) -> torch.Tensor:
    """A plane wave of amplitude 1, tilted by the direction sines of ``angle``.

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        angle: (y, x) in rad; the direction cosines are ``sin(angle)``, and the phase is zero on the axis.

    Returns:
        complex128 [L, y, x].

    Raises:
        InvalidArgument: direction sines whose squares sum to one or more.

    Example:
        >>> plane_wave(Grid(4, 1e-6), 525e-9).abs().max().item()
        1.0
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)
    ay, ax = (
        scalar("angle", a, "a finite angle in rad", device=waves.device) for a in checks.pair("angle", angle)
    )
    sy, sx = ay.sin(), ax.sin()
    if sy**2 + sx**2 >= 1:
        raise InvalidArgument("angle", "sin(ay)^2 + sin(ax)^2 < 1", angle)
    y, x = grid.mesh(waves.device)
    return torch.exp(2j * math.pi * (sy * y + sx * x) / waves[:, None, None])


def gaussian_beam(grid: Grid, wavelength: Any, *, waist: Any, distance: Any = 0.0) -> torch.Tensor:
    """A paraxial Gaussian beam of unit power, ``distance`` behind its waist.

    ``u = sqrt(2 / pi) / w0 * q(0) / q(z) * exp(i k z + i k rho^2 / (2 q(z)))`` with
    ``q(z) = z - i pi w0^2 / wavelength``.
    Source: Siegman, Lasers, eq. (16.20)-(16.22), in the convention exp(-i omega t).

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        waist: radius w0 at 1/e^2 of the irradiance, in m.
        distance: from the waist in m; negative before the waist.

    Returns:
        complex128 [L, y, x], in sqrt(W)/m for 1 W.

    Raises:
        InvalidArgument: a waist that is not positive, a distance that is not finite.

    Example:
        >>> grid = Grid(64, 1e-6)
        >>> u = gaussian_beam(grid, 633e-9, waist=8e-6)
        >>> round(float(u.abs().square().sum()) * grid.cell, 9)
        1.0
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)
    w0 = scalar("waist", waist, "a positive length in m", check=checks.positive, device=waves.device)
    z = scalar("distance", distance, "a finite length in m", device=waves.device)
    rayleigh = math.pi * w0**2 / waves
    q = torch.complex(z.expand_as(rayleigh), -rayleigh)[:, None, None]
    y, x = grid.mesh(waves.device)
    k = (2 * math.pi / waves)[:, None, None]
    amplitude = math.sqrt(2 / math.pi) / w0 * -1j * rayleigh[:, None, None] / q
    bend = 0.5j * k * (y**2 + x**2) / q
    return amplitude * torch.exp(bend + 1j * carrier(waves, z)[:, None, None])


def point_source(
    grid: Grid, wavelength: Any, *, distance: Any, position: Any = (0.0, 0.0), envelope: bool = False
) -> torch.Tensor:
    """The spherical wave ``distance / r * exp(i k r)`` of a point before the plane: amplitude 1 on its axis.

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        distance: of the point before the plane in m; negative for a wave that converges to a point behind it.
        position: (y, x) of the point in m.
        envelope: leave the common phase ``exp(i k distance)`` out.

    Returns:
        complex128 [L, y, x].

    Raises:
        InvalidArgument: a distance of zero.

    Example:
        >>> point_source(Grid(3, 1e-6), 500e-9, distance=1e-3)[0, 1, 1].abs().item()
        1.0
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)
    z = scalar("distance", distance, "a finite length in m, not zero", zero=False, device=waves.device)
    py, px = (
        scalar("position", p, "a finite position in m", device=waves.device)
        for p in checks.pair("position", position)
    )
    y, x = grid.mesh(waves.device)
    rho2 = (y - py) ** 2 + (x - px) ** 2
    r = (rho2 + z**2).sqrt()
    beyond = rho2 / (r + z.abs()) * z.sign()
    k = (2 * math.pi / waves)[:, None, None]
    phase = k * beyond if envelope else k * beyond + carrier(waves, z)[:, None, None]
    return z.abs() / r * torch.exp(1j * phase)
