"""Zernike polynomials on the unit disc, normalised to unit variance (Noll), with Noll and OSA indices."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from .scalars import scalar

__all__ = ["noll", "osa", "wavefront", "zernike"]


def noll(index: int) -> tuple[int, int]:
    """Radial and azimuthal order (n, m) of Noll's index, from 1; m > 0 is a cosine, m < 0 a sine.

    Source: Noll, J. Opt. Soc. Am. 66, 207 (1976), table I.

    Example:
        >>> [noll(j) for j in (1, 2, 3, 4, 5, 6, 11)]
        [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (4, 0)]
    """
    j = checks.count("index", index)
    n = (math.isqrt(8 * j - 7) - 1) // 2
    place = j - n * (n + 1) // 2 - 1  # within the row of n, counted from 0
    m = 2 * ((place + 1) // 2) if n % 2 == 0 else 2 * (place // 2) + 1
    return n, m if j % 2 == 0 else -m


def osa(index: int) -> tuple[int, int]:
    """Radial and azimuthal order (n, m) of the OSA/ANSI index, from 0; m > 0 is a cosine, m < 0 a sine.

    Source: ANSI Z80.28.

    Example:
        >>> [osa(j) for j in (0, 1, 2, 3, 4, 5, 12)]
        [(0, 0), (1, -1), (1, 1), (2, -2), (2, 0), (2, 2), (4, 0)]
    """
    j = checks.count("index", index, least=0)
    n = (math.isqrt(8 * j + 1) - 1) // 2
    return n, 2 * j - n * (n + 2)


def zernike(n: int, m: int, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Zernike polynomial of unit variance over the unit disc; it goes on as a polynomial outside.

    Args:
        n: radial order.
        m: azimuthal order, ``|m| <= n`` of the same parity; negative for the sine.
        y, x: positions over the radius of the disc, broadcastable.

    Returns:
        Values of the broadcast shape, to rounding at any order.

    Raises:
        InvalidArgument: orders that do not belong together or are no whole numbers, positions that are no
            tensors.

    Example:
        >>> float(zernike(2, 0, torch.tensor(0.0), torch.tensor(1.0)))  # sqrt(3) (2 r^2 - 1)
        1.7320507764816284
    """
    n = checks.count("n", n, least=0)
    order = checks.count("m", abs(m) if hasattr(m, "__index__") else m, least=0)
    for name, position in (("y", y), ("x", x)):
        checks.instance(name, position, torch.Tensor, "a tensor")
    if order > n or (n - order) % 2:
        raise InvalidArgument("m", f"|m| <= n = {n} of the same parity", m)
    r2 = y**2 + x**2
    radial = _jacobi((n - order) // 2, order, r2)
    # rho^m times cosine and sine, as the parts of (x + i y)^m: smooth at the origin, for gradients too
    cosine, sine = torch.ones_like(r2), torch.zeros_like(r2)
    for _ in range(order):
        cosine, sine = cosine * x - sine * y, cosine * y + sine * x
    scale = math.sqrt(n + 1) if m == 0 else math.sqrt(2 * (n + 1))
    return scale * radial * (sine if m < 0 else cosine)


def _jacobi(degree: int, order: int, r2: torch.Tensor) -> torch.Tensor:
    """The radial polynomial over rho^m, the Jacobi polynomial ``P^(0, m)(2 rho^2 - 1)``, by its recurrence.

    The sum of powers cancels: in double precision it is noise from n = 44 on.
    Source: Abramowitz and Stegun, eq. 22.7.1.
    """
    t = 2 * r2 - 1
    before, value = torch.zeros_like(r2), torch.ones_like(r2)
    for k in range(1, degree + 1):
        c = 2 * k + order
        if k == 1:  # its general coefficients are 0 / 0 where m = 0
            before, value = value, 1 + (order + 2) * (r2 - 1)
            continue
        rise = (c - 1) * (c * (c - 2) * t - order**2) * value
        fall = 2 * (k - 1) * (k + order - 1) * c * before
        before, value = value, (rise - fall) / (2 * k * (k + order) * (c - 2))
    return value


def wavefront(
    grid: Grid, diameter: Any, coefficients: dict[int, Any], *, index: str = "noll"
) -> torch.Tensor:
    """Sum of Zernike terms over a pupil, in the unit of the coefficients (rad, waves or m).

    Args:
        grid: samples of the plane.
        diameter: of the pupil in m; outside of it the wavefront is zero.
        coefficients: index to rms value; values may be tensors that require a gradient.
        index: ``noll`` or ``osa``.

    Returns:
        float64 [y, x].

    Raises:
        InvalidArgument: a diameter that is not positive, a coefficient that is not finite, no dictionary.
        UnknownName: another index.

    Example:
        >>> grid = Grid(200, 1e-6)
        >>> defocus = wavefront(grid, 180e-6, {4: 0.5})
        >>> inside = defocus[defocus != 0]
        >>> round(float(inside.std()), 2)
        0.5
    """
    orders = checks.lookup("index", index, {"noll": noll, "osa": osa})
    checks.instance("grid", grid, Grid, "a Grid")
    radius = scalar("diameter", diameter, "a positive length in m", check=checks.positive) / 2
    y, x = grid.mesh(radius.device)
    y, x = y / radius, x / radius
    total = torch.zeros(grid.shape, dtype=torch.float64, device=radius.device)
    what = "a dictionary from index to rms value"
    for j, value in checks.instance("coefficients", coefficients, dict, what).items():
        weight = scalar(f"coefficients[{j}]", value, "a finite number", device=radius.device)
        total = total + weight * zernike(*orders(j), y, x)
    return torch.where(y**2 + x**2 <= 1, total, 0.0)
