"""Free space between two planes: `propagate`."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..grid import Grid
from . import kernels
from .fourier import convolve_kernel
from .plan import RESPONSES, Plan, plan
from .scalars import scalar

__all__ = ["propagate"]


def propagate(
    u: torch.Tensor,
    grid: Grid,
    wavelength: Any,
    distance: Any,
    *,
    output: Grid | None = None,
    method: str = "auto",
    padding: Any = None,
) -> torch.Tensor:
    """Carry a field from the plane of ``grid`` to a parallel plane ``distance`` further on.

    Exact for scalar light by default: the angular spectrum where it is sampled well, else the
    Rayleigh-Sommerfeld convolution (`plan` tells which and why). The window is padded with darkness,
    so light that leaves it does not come back.

    Args:
        u: complex field [..., L, y, x] on ``grid``; its precision is kept.
        grid: samples of the source plane.
        wavelength: in m, one value or [L]; may require a gradient.
        distance: in m, a number or a scalar tensor (may require a gradient); negative traces back,
            zero is the identity.
        output: samples of the destination plane, ``grid`` when None.
        method: ``auto``, ``angular_spectrum``, ``rayleigh_sommerfeld``, ``fresnel`` (paraxial transfer
            function) or ``fresnel_response`` (paraxial impulse response).
        padding: None for the linear convolution; 1 for a periodic window without padding.

    Returns:
        The field on ``output``, complex [..., L, y, x], of the dtype of ``u``.

    Raises:
        InvalidArgument: not a complex field, a distance that is not finite.
        GridMismatch: ``u`` does not lie on ``grid``, or its wavelength axis does not match.
        UnknownName: a method that does not exist.

    Example:
        >>> grid = Grid(64, 2e-6)
        >>> u = torch.ones(1, 64, 64, dtype=torch.complex64)
        >>> propagate(u, grid, 525e-9, 1e-3).shape
        torch.Size([1, 64, 64])
    """
    waves = checks.wavelength(wavelength)
    _check_field(u, grid, waves)
    output = grid if output is None else output
    choice = plan(grid, waves, distance, output, method=method, padding=padding, dtype=u.dtype)
    z = scalar("distance", distance, "a finite length in m", device=u.device)
    if not z.requires_grad and z == 0 and output.matches(grid):
        return u
    kernel = transfer(choice, grid, waves.to(u.device), z, output)
    return convolve_kernel(u, kernel.to(u.dtype), output.shape)


def transfer(
    choice: Plan, grid: Grid, wavelength: torch.Tensor, distance: torch.Tensor, output: Grid
) -> torch.Tensor:
    """The transform of the kernel that `propagate` multiplies with, complex128 [L, Y, X]."""
    device = wavelength.device
    axes = tuple(zip(choice.shape, grid.pitch, strict=True))
    shift = [
        c_out - c_in - (m // 2 - n // 2) * d
        for c_out, c_in, m, n, d in zip(
            output.centre, grid.centre, output.shape, grid.shape, grid.pitch, strict=True
        )
    ]
    if choice.method in RESPONSES:
        y, x = (
            _offsets(n, m, device) * d + s for (n, d), m, s in zip(axes, output.shape, shift, strict=True)
        )
        response = (
            kernels.rayleigh_sommerfeld
            if choice.method == "rayleigh_sommerfeld"
            else kernels.fresnel_response
        )
        return torch.fft.fft2(response(y[:, None], x[None], wavelength, distance)) * grid.cell
    fy, fx = (torch.fft.fftfreq(n, d, dtype=torch.float64, device=device) for n, d in axes)
    spectrum = kernels.fresnel if choice.method == "fresnel" else kernels.angular_spectrum
    kernel = spectrum(fy[:, None], fx[None], wavelength, distance)
    for axis, f, s, (low, high) in ((-2, fy, shift[0], choice.band[0]), (-1, fx, shift[1], choice.band[1])):
        factor = torch.exp(2j * math.pi * f * s) if s != 0 else torch.ones_like(f)
        sines = wavelength.detach()[:, None] * f
        factor = factor * ((sines >= low) & (sines <= high))
        kernel = kernel * factor.unsqueeze(-1 if axis == -2 else -2)
    return kernel


def _offsets(length: int, last: int, device: torch.device) -> torch.Tensor:
    """Offsets from source to output samples in circular order: 0 to last - 1, then the negative ones."""
    index = torch.arange(length, dtype=torch.float64, device=device)
    return torch.where(index < last, index, index - length)


def _check_field(u: torch.Tensor, grid: Grid, waves: torch.Tensor) -> None:
    if not u.is_complex():
        raise InvalidArgument(
            "u", "a complex field", f"dtype {u.dtype}", "multiply an amplitude by exp(1j * phase)"
        )
    if u.ndim < 3 or tuple(u.shape[-2:]) != grid.shape:
        raise GridMismatch("u", f"shape (..., L, {grid.shape[0]}, {grid.shape[1]})", tuple(u.shape))
    if u.shape[-3] not in (1, len(waves)):
        raise GridMismatch("u", f"a wavelength axis of length {len(waves)} (or 1)", u.shape[-3])
