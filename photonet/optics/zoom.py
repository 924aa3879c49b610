"""Destinations of any pitch: spectra summed at the output's own samples, and the far field."""

from __future__ import annotations

import cmath
import math

import torch

from ..grid import Grid
from ..transforms import unwrapped
from .fourier import fourier_matrix, matrix_transform, mirror, two_products, zoom_transform
from .kernels import carrier
from .transfer import cached

__all__ = ["curvature", "far_field", "through_spectrum"]

FEW = 256
"""Output samples per axis up to which two matrix products beat the chirp-z transform."""


def through_spectrum(
    u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], grid: Grid, output: Grid
) -> torch.Tensor:
    """Multiply the padded spectrum of ``u`` with a kernel and sum it at the samples of ``output``.

    Args:
        u: complex [..., L, y, x] on ``grid``.
        kernel: [L, X, Y] or its half, as from `transfer.transfer` without a shift.
        size: samples (Y, X) of the transform.
        grid: samples of the source.
        output: samples wanted, of any pitch.

    Returns:
        complex [..., L, *output.shape].
    """
    kernel = mirror(kernel, size[1], -2) if kernel.shape[-2] < size[1] else kernel
    spectrum = torch.fft.fft2(u, s=size) * kernel.mT / (size[0] * size[1])
    frequencies, places = [], []
    for n, d, start, position in zip(size, grid.pitch, (grid.y, grid.x), (output.y, output.x), strict=True):
        frequencies.append(torch.fft.fftfreq(n, d, dtype=torch.float64, device=u.device))
        places.append((start[0] - position).to(u.device))  # backwards: the transform's sign is exp(-i ...)
    if max(output.shape) <= FEW:
        return matrix_transform(spectrum, places[0], frequencies[0], places[1], frequencies[1])
    spectrum = torch.fft.fftshift(spectrum, dim=(-2, -1))
    for dim, n, d, place, count in zip((-2, -1), size, grid.pitch, places, output.shape, strict=True):
        period = n * d
        step = (place[1] - place[0]) / period if count > 1 else place[0] * 0
        spectrum = zoom_transform(
            spectrum, dim, step, place[0] / period, place.new_tensor(float(-(n // 2))), count
        )
    return spectrum


def far_field(
    u: torch.Tensor,
    grid: Grid,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    output: Grid,
    pitch: tuple[torch.Tensor, torch.Tensor],
    *,
    key: tuple[tuple[float, ...], float] | None,
    fresnel: bool,
    envelope: bool = False,
    output_pitch: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Paraxial field by one Fourier sum: Fresnel's, or Fraunhofer's, which leaves the source's curvature out.

    ``u(x') = c(x') exp(i k z) / (i w z) sum u(x) c(x) exp(-i 2 pi x x' / (w z))`` times the source's cell,
    where w is the wavelength and ``c(x) = exp(i pi x^2 / (w z))`` the curvature.
    Source: Goodman, Introduction to Fourier Optics, 3rd ed., eq. (4-17), (4-25).

    Args:
        u: complex [..., L, y, x] on ``grid``.
        grid: samples of the source.
        wavelength: float64 [L] in m.
        distance: float64 scalar in m, not zero.
        output: samples wanted, of any pitch.
        pitch: of the source (y, x) in m, float64 scalars that may require a gradient.
        key: wavelengths and distance as plain numbers; None where a derivative of them (or of the pitch) may
            be asked for, so that nothing is kept.
        fresnel: keep the curvature of the source.
        envelope: leave ``exp(i k z)`` out.
        output_pitch: of the output (y, x) in m where it may require a gradient.

    Returns:
        complex [..., L, *output.shape].
    """
    steps = output.pitch if output_pitch is None else output_pitch
    few = max(output.shape) <= FEW

    def side(axis: int, index: int, wave: torch.Tensor) -> torch.Tensor:
        def build() -> torch.Tensor:
            return _side(
                axis, grid, wave, distance, output, pitch[axis], steps[axis], fresnel, few, envelope, u
            )

        if key is None:
            return build()
        inputs = (grid, output, key[0][index], key[1], fresnel, envelope, u.dtype, u.device)
        return cached(("far", axis, *inputs), lambda: unwrapped(build()))

    parts = []
    for index, wave in enumerate(wavelength):
        field, area = u[..., index if u.shape[-3] > 1 else 0, :, :], wave * distance
        sides = [side(axis, index, wave) for axis in (0, 1)]
        if few:
            parts.append(two_products(field, sides[0], sides[1]))
            continue
        for axis, dim in ((0, -2), (1, -1)):
            n, m, d = grid.shape[axis], output.shape[axis], pitch[axis]
            inside, outside = sides[axis].split([n, m])
            if axis == 0:
                inside, outside = inside[:, None], outside[:, None]
            first = (output.centre[axis] - (m // 2) * steps[axis]) * d / area
            origin = grid.centre[axis] / d - n // 2
            step = steps[axis] * d / area
            field = zoom_transform(field * inside, dim, step, first, origin, m) * outside
        parts.append(field)
    return torch.stack(parts, dim=-3)


def _side(
    axis: int,
    grid: Grid,
    wave: torch.Tensor,
    distance: torch.Tensor,
    output: Grid,
    pitch: torch.Tensor,
    step: float | torch.Tensor,
    fresnel: bool,
    few: bool,
    envelope: bool,
    like: torch.Tensor,
) -> torch.Tensor:
    """All factors of one axis: a matrix [M, N], or the chirps before and after the transform [N + M]."""
    area = wave * distance
    x, out = (
        (torch.arange(n, dtype=torch.float64, device=like.device) - n // 2) * d + plane.centre[axis]
        for n, d, plane in ((grid.shape[axis], pitch, grid), (output.shape[axis], step, output))
    )
    inside = curvature(x, area) if fresnel else torch.ones_like(x).to(torch.complex128)
    # half of exp(i k z) / i and of the amplitude 1 / (w |z|) goes into each axis
    turn = 1.0 if envelope else torch.exp(0.5j * carrier(wave[None], distance)[0])
    quarter = cmath.exp(-0.25j * math.copysign(math.pi, float(distance.detach())))
    outside = curvature(out, area) * turn * quarter * (pitch / area.abs().sqrt())
    if few:
        return (fourier_matrix(out / area, x) * inside * outside[:, None]).to(like.dtype)
    return torch.cat([inside, outside]).to(like.dtype)


def curvature(x: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    """``exp(i pi x^2 / area)`` with its cycles wrapped in float64, complex128 of the shape of ``x``."""
    cycles = x**2 / (2 * area)
    return torch.exp(2j * math.pi * (cycles - cycles.detach().round()))
