"""Beams of higher order and partially coherent light as a sum of modes; complex128 [L, y, x]."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from .kernels import carrier
from .sampling import check_memory
from .scalars import scalar

__all__ = ["gaussian_schell", "hermite_beam", "laguerre_beam"]

KEPT = 0.999
"""Part of the power that the modes of a partially coherent beam hold when their number is not given."""


def hermite_beam(
    grid: Grid, wavelength: Any, *, waist: Any, order: tuple[int, int] = (0, 0), distance: Any = 0.0
) -> torch.Tensor:
    """Hermite-Gaussian beam of unit power, ``distance`` behind its waist.

    Source: Siegman, Lasers, eq. (16.54), in the convention exp(-i omega t).

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        waist: radius w0 of the lowest mode in m.
        order: (n_y, n_x).
        distance: from the waist in m.

    Returns:
        complex128 [L, y, x] in sqrt(W)/m.

    Raises:
        InvalidArgument: a waist that is not positive, a negative order.

    Example:
        >>> grid = Grid(64, 1e-6)
        >>> u = hermite_beam(grid, 633e-9, waist=8e-6, order=(2, 1))
        >>> round(float(u.abs().square().sum()) * grid.cell, 6)
        1.0
    """
    checks.instance("grid", grid, Grid, "a Grid")
    ny, nx = (checks.count("order", n, least=0) for n in checks.pair("order", order))
    waves, z, w, bend, gouy = _beam(wavelength, waist, distance)
    y, x = grid.mesh(waves.device)
    modes = _hermite(ny, math.sqrt(2) * y / w) * _hermite(nx, math.sqrt(2) * x / w)
    phase = bend * (y**2 + x**2) - (ny + nx + 1) * gouy + carrier(waves, z)[:, None, None]
    return math.sqrt(2) / w * modes * torch.exp(1j * phase)


def laguerre_beam(
    grid: Grid, wavelength: Any, *, waist: Any, radial: int = 0, azimuthal: int = 0, distance: Any = 0.0
) -> torch.Tensor:
    """Laguerre-Gaussian beam of unit power with phase exp(i l phi), ``distance`` behind its waist.

    Source: Siegman, Lasers, eq. (16.64), in the convention exp(-i omega t).

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        waist: radius w0 of the lowest mode in m.
        radial: p, from 0.
        azimuthal: l, of either sign.
        distance: from the waist in m.

    Returns:
        complex128 [L, y, x] in sqrt(W)/m.

    Raises:
        InvalidArgument: a waist that is not positive, a negative radial order, an azimuthal one that is not
            whole.

    Example:
        >>> grid = Grid(64, 1e-6)
        >>> u = laguerre_beam(grid, 633e-9, waist=8e-6, radial=1, azimuthal=-2)
        >>> round(float(u.abs().square().sum()) * grid.cell, 6)
        1.0
    """
    checks.instance("grid", grid, Grid, "a Grid")
    p = checks.count("radial", radial, least=0)
    try:
        turns = abs(operator.index(azimuthal))
    except TypeError:
        raise InvalidArgument("azimuthal", "a whole number, of either sign", repr(azimuthal)[:60]) from None
    waves, z, w, bend, gouy = _beam(wavelength, waist, distance)
    y, x = grid.mesh(waves.device)
    rho2 = y**2 + x**2
    t = 2 * rho2 / w**2
    before, laguerre = torch.zeros_like(t), torch.ones_like(t)
    for n in range(p):
        following = ((2 * n + 1 + turns - t) * laguerre - (n + turns) * before) / (n + 1)
        before, laguerre = laguerre, following
    # sqrt(p! / (p + l)!), a factor to each turn: neither the factorials nor the powers leave the floats
    norm = math.exp((math.lgamma(p + 1) - math.lgamma(p + turns + 1)) / (2 * max(turns, 1)))
    helix = torch.complex(x + 0 * y, math.copysign(1.0, azimuthal) * y + 0 * x)
    vortex = (helix * (math.sqrt(2) * norm) / w) ** turns
    phase = bend * rho2 - (2 * p + turns + 1) * gouy + carrier(waves, z)[:, None, None]
    return math.sqrt(2 / math.pi) / w * vortex * laguerre * torch.exp(-t / 2 + 1j * phase)


def gaussian_schell(
    grid: Grid, wavelength: Any, *, waist: Any, coherence: Any, modes: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Partially coherent light of a Gaussian-Schell source as coherent modes that add in irradiance.

    Irradiance ``exp(-2 rho^2 / waist^2)``, degree of coherence ``exp(-d^2 / (2 coherence^2))``. Per axis the
    modes are Hermite-Gaussian with weights that fall geometrically.
    Source: Starikov and Wolf, J. Opt. Soc. Am. 72, 923 (1982).

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        waist: radius at 1/e^2 of the irradiance in m.
        coherence: width of the degree of coherence in m.
        modes: kept per axis; by default as many as hold 99.9 % of the power, which for light of little
            coherence is about 4 waist / coherence of them.

    Returns:
        The modes, complex128 [modes^2, L, y, x], each of unit power, and their weights, float64 [modes^2];
        the weights' sum is the part of the power that is kept. Propagate the modes as a batch and
        add ``weights * |u|^2``.

    Raises:
        InvalidArgument: a width that is not positive.
        MemoryEstimateError: more modes than memory holds.

    Example:
        >>> u, weights = gaussian_schell(Grid(32, 2e-6), 5e-7, waist=20e-6, coherence=20e-6, modes=6)
        >>> tuple(u.shape), round(float(weights.sum()), 3)
        ((36, 1, 32, 32), 1.0)
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)
    place = waves.device
    w = scalar("waist", waist, "a positive length in m", check=checks.positive, device=place)
    d = scalar("coherence", coherence, "a positive length in m", check=checks.positive, device=place)
    a, b = 1 / w**2, 1 / (2 * d**2)  # 1 / (4 sigma^2) with sigma = w / 2
    c = (a**2 + 2 * a * b).sqrt()
    ratio = b / (a + b + c)
    if modes is None:  # what is left out is ratio^n per axis
        count = math.ceil(math.log(1 - math.sqrt(KEPT)) / math.log(float(ratio.detach())))
    else:
        count = checks.count("modes", modes)
    check_memory(
        16 * count**2 * len(waves) * grid.shape[0] * grid.shape[1],
        place,
        f"these are {count} x {count} modes; take fewer, or light without coherence at all (a PSF)",
    )
    powers = torch.arange(count, dtype=torch.float64, device=place)
    axis = (1 - ratio) * ratio**powers
    y, x = grid.mesh(place)
    width = 1 / c.sqrt()  # waist of the lowest mode
    rows = torch.stack([_hermite(n, math.sqrt(2) * y / width) for n in range(count)])
    columns = torch.stack([_hermite(n, math.sqrt(2) * x / width) for n in range(count)])
    fields = math.sqrt(2) / width * (rows[:, None] * columns[None]).flatten(0, 1)
    fields = fields[:, None].expand(-1, len(waves), -1, -1).to(torch.complex128)
    return fields, (axis[:, None] * axis).flatten()


def _beam(
    wavelength: Any, waist: Any, distance: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Wavelengths, distance, width, curvature phase per m^2 and Gouy phase, the last three [L, 1, 1]."""
    waves = checks.wavelength(wavelength)
    w0 = scalar("waist", waist, "a positive length in m", check=checks.positive, device=waves.device)
    z = scalar("distance", distance, "a finite length in m", device=waves.device)
    rayleigh = (math.pi * w0**2 / waves)[:, None, None]
    width = w0 * (1 + (z / rayleigh) ** 2).sqrt()
    bend = math.pi / waves[:, None, None] * z / (z**2 + rayleigh**2)
    return waves, z, width, bend, torch.atan(z / rayleigh)


def _hermite(n: int, t: torch.Tensor) -> torch.Tensor:
    """Hermite function of unit norm over t, by its stable recurrence."""
    before = torch.zeros_like(t)
    value = math.pi**-0.25 * torch.exp(-(t**2) / 2)
    for k in range(n):
        before, value = value, math.sqrt(2 / (k + 1)) * t * value - math.sqrt(k / (k + 1)) * before
    return value
