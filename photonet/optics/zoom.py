"""Destinations of any pitch: spectra summed at the output's own samples, and the far field."""

from __future__ import annotations

import math

import torch

from ..grid import Grid
from .fourier import matrix_transform, mirror, zoom_transform
from .kernels import carrier

__all__ = ["far_field", "through_spectrum"]

FEW = 256
"""Output samples per axis up to which two matrix products beat the chirp-z transform."""


def through_spectrum(
    u: torch.Tensor, kernel: torch.Tensor, size: tuple[int, int], grid: Grid, output: Grid
) -> torch.Tensor:
    """Multiply the padded spectrum of ``u`` with a kernel and sum it at the samples of ``output``.

    Args:
        u: complex [..., L, y, x] on ``grid``.
        kernel: [L, X, Y] or its quadrant, as from `transfer.transfer` without a shift.
        size: samples (Y, X) of the transform.
        grid: samples of the source.
        output: samples wanted, of any pitch.

    Returns:
        complex [..., L, *output.shape].
    """
    for length, dim in zip(size, (-1, -2), strict=True):
        kernel = mirror(kernel, length, dim) if kernel.shape[dim] < length else kernel
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
    fresnel: bool,
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
        fresnel: keep the curvature of the source.

    Returns:
        complex [..., L, *output.shape].
    """
    y, x = (
        (torch.arange(n, dtype=torch.float64, device=u.device) - n // 2) * d + c
        for n, d, c in zip(grid.shape, pitch, grid.centre, strict=True)
    )
    yo, xo = output.y.to(u.device), output.x.to(u.device)
    parts = []
    for index, wave in enumerate(wavelength):
        area = wave * distance
        source = u[..., index if u.shape[-3] > 1 else 0, :, :]
        if fresnel:
            source = source * _curvature(y, x, area).to(u.dtype)
        if max(output.shape) <= FEW:
            summed = matrix_transform(source, yo / area, y, xo / area, x)
        else:
            summed = source
            for dim, position, d, place, centre, n in (
                (-2, yo, pitch[0], output.pitch[0], grid.centre[0], grid.shape[0]),
                (-1, xo, pitch[1], output.pitch[1], grid.centre[1], grid.shape[1]),
            ):
                origin = centre / d - n // 2
                summed = zoom_transform(
                    summed, dim, place * d / area, position[0] * d / area, origin, len(position)
                )
        outside = _curvature(yo, xo, area) * (pitch[0] * pitch[1] / area)
        turn = torch.exp(1j * (carrier(wave[None], distance)[0] - math.pi / 2))
        parts.append(summed * (outside * turn).to(u.dtype))
    return torch.stack(parts, dim=-3)


def _curvature(y: torch.Tensor, x: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    cycles = (y[:, None] ** 2 + x**2) / (2 * area)
    return torch.exp(2j * math.pi * (cycles - cycles.detach().round()))
