"""Thin elements: lenses as phases in rad [L, y, x], apertures as transmissions [y, x], all float64."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..grid import Grid
from .scalars import scalar

__all__ = ["circular_aperture", "ideal_lens", "quadratic_lens", "rectangular_aperture"]


def quadratic_lens(grid: Grid, wavelength: Any, focal_length: Any) -> torch.Tensor:
    """Phase of a paraxial lens, ``-k rho^2 / (2 f)``.

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        focal_length: f in m, negative for a diverging lens.

    Returns:
        Phase in rad, float64 [L, y, x].

    Raises:
        InvalidArgument: a focal length of zero.

    Example:
        >>> quadratic_lens(Grid(3, 1e-6), 500e-9, 1e-3)[0, 1].tolist()
        [-0.006283185307179586, -0.0, -0.006283185307179586]
    """
    waves, f, y, x = _lens(grid, wavelength, focal_length)
    return -math.pi / waves * (y**2 + x**2) / f


def ideal_lens(
    grid: Grid, wavelength: Any, focal_length: Any, *, design_wavelength: Any = None
) -> torch.Tensor:
    """Phase that turns a plane wave into a perfect spherical one, ``-k (sqrt(rho^2 + f^2) - f)``.

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        focal_length: f in m, negative for a diverging lens.
        design_wavelength: None for a lens that is ideal at every wavelength; a wavelength in m for
            the same phase at all of them, as a diffractive lens wraps it.

    Returns:
        Phase in rad, float64 [L, y, x].

    Raises:
        InvalidArgument: a focal length of zero.

    Example:
        >>> grid = Grid(65, 1e-6)
        >>> a, b = ideal_lens(grid, 500e-9, 5e-3), quadratic_lens(grid, 500e-9, 5e-3)
        >>> float((a - b).abs().max()) < 1e-4
        True
    """
    waves, f, y, x = _lens(grid, wavelength, focal_length)
    if design_wavelength is not None:
        waves = (
            checks.wavelength(design_wavelength, "design_wavelength")
            .to(waves)[:, None, None]
            .expand_as(waves)
        )
    rho2 = y**2 + x**2
    return -2 * math.pi / waves * f.sign() * rho2 / ((rho2 + f**2).sqrt() + f.abs())


def circular_aperture(grid: Grid, diameter: Any, *, centre: Any = (0.0, 0.0)) -> torch.Tensor:
    """Transmission of a round hole: the part of each sample's area inside it, exact for the circle.

    Area-weighted edges matter: counting samples in or out costs 5e-4 of a focal field.

    Args:
        grid: samples of the plane.
        diameter: in m; may require a gradient.
        centre: (y, x) in m; may require a gradient.

    Returns:
        Transmission in [0, 1], float64 [y, x]; its sum times the cell is the area of the circle.

    Raises:
        InvalidArgument: a diameter that is not positive, a centre that is not finite.

    Example:
        >>> hole = circular_aperture(Grid(64, 1e-6), 50e-6)
        >>> abs(float(hole.sum()) * 1e-12 - math.pi / 4 * 50e-6**2) < 1e-20
        True
    """
    checks.instance("grid", grid, Grid, "a Grid")
    radius = scalar("diameter", diameter, "a positive length in m", check=checks.positive) / 2
    cy, cx = (
        scalar("centre", c, "a finite position in m", device=radius.device)
        for c in checks.pair("centre", centre)
    )
    y, x = grid.mesh(radius.device)
    dy, dx = grid.pitch

    def corner(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return _quadrant_area(y / radius, x / radius)

    bottom, top, left, right = y - cy - dy / 2, y - cy + dy / 2, x - cx - dx / 2, x - cx + dx / 2
    inside = corner(top, right) - corner(top, left) - corner(bottom, right) + corner(bottom, left)
    return (inside * radius**2 / grid.cell).clamp(0, 1)


def _quadrant_area(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Signed area of the unit disc between the axes and the point: of [0, y] x [0, x], odd in both.

    Written so that its slopes are right where the point lies on an axis or at the end of one: without signs
    where it is small, and by an angle whose sine may be one.
    """
    y, x = torch.broadcast_tensors(y.clamp(-1, 1), x.clamp(-1, 1))
    # the arc leaves the rectangle's top at x = sqrt(1 - y^2); up to there the rectangle is full height
    root = _leg(y)
    arc = x.clamp(-root, root)

    def under(t: torch.Tensor) -> torch.Tensor:
        s = _leg(t)
        return 0.5 * (t * s + torch.atan2(t, s))

    return y * arc + y.sign() * (under(x) - under(arc))


def _leg(t: torch.Tensor) -> torch.Tensor:
    """``sqrt(1 - t^2)``; at its ends with a slope of zero in place of the infinite one, which cancels."""
    square = 1 - t**2
    there = square > 0
    return torch.where(there, square, 1.0).sqrt() * there


def rectangular_aperture(grid: Grid, size: Any, *, centre: Any = (0.0, 0.0)) -> torch.Tensor:
    """Transmission of a rectangular hole: the part of each sample's area inside it.

    Args:
        grid: samples of the plane.
        size: (y, x) in m, or one number for both; may require a gradient.
        centre: (y, x) in m; may require a gradient.

    Returns:
        Transmission in [0, 1], float64 [y, x].

    Raises:
        InvalidArgument: a size that is not positive, a centre that is not finite.

    Example:
        >>> rectangular_aperture(Grid(5, 1e-6), (1e-6, 2e-6))[2].tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    checks.instance("grid", grid, Grid, "a Grid")
    sides = [
        scalar("size", s, "a positive length in m", check=checks.positive) for s in checks.pair("size", size)
    ]
    place = sides[0].device
    middle = [
        scalar("centre", c, "a finite position in m", device=place) for c in checks.pair("centre", centre)
    ]
    cover = []
    for axis, d, c, side in zip(grid.mesh(place), grid.pitch, middle, sides, strict=True):
        side = side.to(place)
        low = (axis - d / 2).clamp_min(c - side / 2)
        high = (axis + d / 2).clamp_max(c + side / 2)
        cover.append(((high - low) / d).clamp(0, 1))
    return cover[0] * cover[1]


def _lens(
    grid: Grid, wavelength: Any, focal_length: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)
    f = scalar(
        "focal_length", focal_length, "a finite length in m, not zero", zero=False, device=waves.device
    )
    y, x = grid.mesh(waves.device)
    return waves[:, None, None], f, y, x
