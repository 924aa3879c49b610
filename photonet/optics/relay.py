"""Lenses between their focal planes: the optical Fourier transform, and two of them, the 4f system."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..grid import Grid
from .fourier import matrix_transform
from .propagate import check_field
from .scalars import plain, scalar

__all__ = ["focal_plane", "four_f", "magnified", "pupil_grid"]

EDGE = 1e-9
"""Rounding allowed where a frequency is compared with the sampling limit, in cycles per sample."""


def pupil_grid(grid: Grid, wavelength: Any, focal_length: Any) -> Grid:
    """Samples of the Fourier plane that lose nothing of a field on ``grid`` and let nothing wrap.

    The window holds every frequency that ``grid`` can, at the longest wavelength; the pitch is fine enough
    for twice the width of ``grid``, at the shortest. At the shortest wavelength nothing is lost. At the
    others the pitch does not divide the band, whose end counts by up to half a sample too much or too
    little: of white noise on 17 (64, 101) samples the power in this plane is up to 3 % (0.7 %, 0.3 %) wrong
    and the field of a 4f image 10 % (4 %, 2 %); of pictures with details of four samples it is 0.1 % and
    2 %, and of smooth light nothing. One call for each wavelength, with a plane of its own, is exact.

    Args:
        grid: samples of the front focal plane.
        wavelength: in m, one value or [L].
        focal_length: in m.

    Raises:
        InvalidArgument: a focal length of zero.

    Example:
        >>> print(pupil_grid(Grid(100, 10e-6), 500e-9, 0.1))
        200 x 200 at 2.5e-05 x 2.5e-05 m
    """
    checks.instance("grid", grid, Grid, "a Grid")
    waves = checks.wavelength(wavelength).detach()
    f = abs(float(scalar("focal_length", plain(focal_length), "a finite length in m, not zero", zero=False)))
    ratio = float(waves.max() / waves.min())
    shape = [2 * math.ceil(n * ratio * (1 - EDGE)) for n in grid.shape]
    pitch = [float(waves.min()) * f / (2 * extent) for extent in grid.extent]
    return Grid(shape, pitch)


def focal_plane(
    u: torch.Tensor, grid: Grid, wavelength: Any, focal_length: Any, output: Grid
) -> torch.Tensor:
    """From the front to the back focal plane of an ideal lens: exactly a scaled Fourier transform.

    ``1 / (i w f) sum u exp(-i 2 pi x x' / (w f)) dx dy``, by two matrix products per wavelength. The common
    phase exp(2 i k f) is left out. Frequencies beyond the sampling limit of ``grid``, where the sum would
    repeat itself, are dark. Source: Goodman, Introduction to Fourier Optics, 3rd ed., eq. (5-19), d = f.

    Args:
        u: complex [..., L, y, x] on ``grid``.
        grid: samples of the front focal plane.
        wavelength: in m, one value or [L].
        focal_length: in m; may require a gradient.
        output: samples of the back focal plane; see `pupil_grid`.

    Returns:
        complex [..., L, y, x] on ``output``.

    Raises:
        InvalidArgument: a focal length of zero, a field that is not complex.
        GridMismatch: ``u`` does not lie on ``grid``, or has another number of wavelengths.

    Example:
        >>> grid = Grid(16, 10e-6)
        >>> u = torch.ones(1, 16, 16, dtype=torch.complex128)
        >>> focus = focal_plane(u, grid, 500e-9, 0.1, pupil_grid(grid, 500e-9, 0.1))
        >>> int(focus.abs().argmax()) == 16 * 32 + 16
        True
    """
    checks.instance("grid", grid, Grid, "a Grid")
    checks.instance("output", output, Grid, "a Grid", "see pupil_grid")
    waves = checks.wavelength(wavelength)
    check_field(u, grid, waves)
    waves = waves.to(u.device)
    f = scalar("focal_length", focal_length, "a finite length in m, not zero", zero=False, device=u.device)
    y, x, out_y, out_x = (t.to(u.device) for t in (grid.y, grid.x, output.y, output.x))
    planes = []
    for index, wave in enumerate(waves):
        fy, fx = out_y / (wave * f), out_x / (wave * f)
        rows, columns = (
            ((s * d >= -0.5 - EDGE) & (s * d < 0.5 - EDGE)).to(u.dtype)
            for s, d in zip((fy, fx), grid.pitch, strict=True)
        )
        plane = matrix_transform(u[..., index if u.shape[-3] > 1 else 0, :, :], fy, y, fx, x)
        planes.append(plane * (rows[:, None] * columns) * (-1j * grid.cell / (wave * f)).to(u.dtype))
    return torch.stack(planes, dim=-3)


def four_f(
    u: torch.Tensor,
    grid: Grid,
    wavelength: Any,
    focal_length: Any,
    *,
    pupil: torch.Tensor | None = None,
    plane: Grid | None = None,
    second: Any = None,
    output: Grid | None = None,
) -> torch.Tensor:
    """Image through two ideal lenses with a filter in the Fourier plane between them.

    The image is upside down and ``second / focal_length`` times larger: without a filter
    ``-f/f2 u(-f/f2 x)``, exactly at the shortest wavelength (`pupil_grid` tells what is lost at the others).
    The common phase of the path is left out.
    Source: Goodman, Introduction to Fourier Optics, 3rd ed., section 8.3 (coherent filtering).

    Args:
        u: complex [..., L, y, x] on ``grid``.
        grid: samples of the object.
        wavelength: in m, one value or [L].
        focal_length: of the first lens in m.
        pupil: transmission of the filter, broadcastable to [..., L, y, x] on ``plane``; None for an
            open pupil as wide as ``plane``.
        plane: samples of the Fourier plane, `pupil_grid` when None.
        second: focal length of the second lens in m, the first when None.
        output: samples of the image; by default those of the object, magnified.

    Returns:
        complex [..., L, y, x] on ``output``.

    Raises:
        As `focal_plane`; GridMismatch also for a pupil that does not lie on ``plane``.

    Example:
        >>> grid = Grid(9, 10e-6)
        >>> u = torch.rand(1, 9, 9, dtype=torch.float64).to(torch.complex128)
        >>> torch.allclose(four_f(u, grid, 500e-9, 0.1), -u.flip(-2, -1))
        True
    """
    second = focal_length if second is None else second
    plane = pupil_grid(grid, wavelength, focal_length) if plane is None else plane
    spectrum = focal_plane(u, grid, wavelength, focal_length, plane)
    if pupil is not None:
        checks.instance("pupil", pupil, torch.Tensor, "a tensor [..., L, y, x]")
        checks.broadcasts("pupil", pupil, spectrum, "the field in its plane")
        spectrum = spectrum * pupil
    return focal_plane(spectrum, plane, wavelength, second, output or magnified(grid, focal_length, second))


def magnified(grid: Grid, first: Any, second: Any) -> Grid:
    """The samples of ``grid`` behind a 4f system: pitch and centre scaled, the centre on the other side.

    Example:
        >>> magnified(Grid(4, 1e-6), 0.1, 0.2).pitch
        (2e-06, 2e-06)
    """
    scale = float(plain(second)) / float(plain(first))
    pitch = [d * abs(scale) for d in grid.pitch]
    return Grid(grid.shape, pitch, [-c * scale if c else 0.0 for c in grid.centre])
