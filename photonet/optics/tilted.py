"""Planes that are not parallel: the angular spectrum, rotated."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..grid import Grid
from ..transforms import tracked
from .fourier import fast_length
from .propagate import check_field
from .scalars import scalar

__all__ = ["rotate_plane"]


def rotate_plane(
    u: torch.Tensor, grid: Grid, wavelength: Any, *, about_y: Any = 0.0, about_x: Any = 0.0
) -> torch.Tensor:
    """The field on a plane through the same centre, tilted against the one of ``grid``.

    The new plane has the axes ``R e_y`` and ``R e_x`` with ``R = R_y(about_y) R_x(about_x)``; a positive
    ``about_y`` moves +x towards -z, a positive ``about_x`` moves +y towards +z. Every plane wave of the
    spectrum is kept and read on the new plane, so the result is exact for what the window holds, and is
    summed directly (no interpolation): cost N^3 per wavelength for a tilt about one axis, N^4 for both;
    meant for some hundred samples a side.
    Source: Matsushima, Schimmel and Wyrowski, J. Opt. Soc. Am. A 20, 1755 (2003), without its interpolation.

    Args:
        u: complex [..., L, y, x] on ``grid``.
        grid: samples of the plane, and of the new one in its own coordinates.
        wavelength: in m, one value or [L].
        about_y: angle in rad; may require a gradient.
        about_x: angle in rad; may require a gradient.

    Returns:
        complex [..., L, y, x].

    Raises:
        InvalidArgument: angles that are not finite, a field that is not complex.
        GridMismatch: ``u`` does not lie on ``grid``, or has another number of wavelengths.

    Example:
        >>> grid = Grid(16, 2e-6)
        >>> u = torch.ones(1, 16, 16, dtype=torch.complex128)
        >>> torch.allclose(rotate_plane(u, grid, 5e-7), u)
        True
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength)
    check_field(u, grid, waves)
    waves = waves.to(u.device)
    ay = scalar("about_y", about_y, "a finite angle in rad", device=u.device)
    ax = scalar("about_x", about_x, "a finite angle in rad", device=u.device)
    if ay == 0 and ax == 0 and not tracked(about_y, about_x):
        return u.expand(*u.shape[:-3], len(waves), -1, -1).clone()
    # columns of R: the new x and y axes in the old coordinates
    ex = (ay.cos(), 0 * ay, -ay.sin())
    ey = (ay.sin() * ax.sin(), ax.cos(), ay.cos() * ax.sin())
    size = tuple(fast_length(2 * n) for n in grid.shape)
    fy, fx = (
        torch.fft.fftfreq(n, d, dtype=torch.float64, device=u.device)
        for n, d in zip(size, grid.pitch, strict=True)
    )
    y, x = (
        ((torch.arange(n, dtype=torch.float64, device=u.device)) - n // 2) * d
        for n, d in zip(grid.shape, grid.pitch, strict=True)
    )
    start_y, start_x = y[0], x[0]
    parts = []
    for index, wave in enumerate(waves):
        source = u[..., index if u.shape[-3] > 1 else 0, :, :]
        spectrum = torch.fft.fft2(source, s=size) / (size[0] * size[1])
        squared = 1 / wave**2 - fy[:, None] ** 2 - fx**2
        travels = squared > 0  # evanescent waves cannot be carried to a plane that cuts the first one
        fz = torch.where(travels, squared, 0.0).clamp_min(1e-300).sqrt()
        # the middle of the window is the centre of rotation
        centred = spectrum * torch.polar(
            travels.double(), -2 * math.pi * (fy[:, None] * start_y + fx * start_x)
        ).to(u.dtype)
        new_x = fx * ex[0] + fy[:, None] * ex[1] + fz * ex[2]
        new_y = fx * ey[0] + fy[:, None] * ey[1] + fz * ey[2]
        parts.append(_sum(centred, new_y, new_x, y, x))
    return torch.stack(parts, dim=-3)


def _sum(
    spectrum: torch.Tensor, fy: torch.Tensor, fx: torch.Tensor, y: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    """``sum spectrum exp(i 2 pi (fy y + fx x))`` where both frequencies depend on both indices."""

    def turn(cycles: torch.Tensor) -> torch.Tensor:
        return torch.exp(2j * math.pi * (cycles - cycles.detach().round())).to(spectrum.dtype)

    flat = spectrum.flatten(-2)
    down = turn(fy.flatten() * y[:, None])
    across = turn(fx.flatten()[:, None] * x)
    return torch.stack([(flat * row) @ across for row in down], dim=-2)
