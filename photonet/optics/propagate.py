"""Free space between two planes: `propagate`."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..grid import Grid
from .convolution import convolve_kernel
from .plan import plan
from .scalars import plain, scalar
from .transfer import cached, transfer

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
    pitch: Any = None,
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
        pitch: (y, x) in m in place of the pitch of ``grid`` (and ``output``), where a gradient with respect
            to it is wanted.

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
    if pitch is not None:
        grid = Grid(grid.shape, tuple(map(plain, checks.pair("pitch", pitch))), grid.centre)
        output = None if output is None else Grid(output.shape, grid.pitch, output.centre)
    sides = grid.pitch if pitch is None else checks.pair("pitch", pitch)
    output = grid if output is None else output
    choice = plan(grid, waves, distance, output, method=method, padding=padding, dtype=u.dtype)
    z = scalar("distance", distance, "a finite length in m", device=u.device)
    if not z.requires_grad and z == 0 and output.matches(grid):
        return u
    lengths = [
        scalar("pitch", d, "a positive length in m", check=checks.positive, device=u.device) for d in sides
    ]

    def build() -> torch.Tensor:
        kernel = transfer(choice, grid, waves.to(u.device), z, output, (lengths[0], lengths[1]))
        return kernel.to(u.dtype)

    if any(t.requires_grad for t in (waves, z, *lengths)):
        kernel = build()
    else:
        key = (choice, grid, output, tuple(waves.tolist()), float(z), u.dtype, u.device)
        kernel = cached(key, build)
    return convolve_kernel(u, kernel, output.shape)


def _check_field(u: torch.Tensor, grid: Grid, waves: torch.Tensor) -> None:
    if not u.is_complex():
        raise InvalidArgument(
            "u", "a complex field", f"dtype {u.dtype}", "multiply an amplitude by exp(1j * phase)"
        )
    if u.ndim < 3 or tuple(u.shape[-2:]) != grid.shape:
        raise GridMismatch("u", f"shape (..., L, {grid.shape[0]}, {grid.shape[1]})", tuple(u.shape))
    if u.shape[-3] not in (1, len(waves)):
        raise GridMismatch("u", f"a wavelength axis of length {len(waves)} (or 1)", u.shape[-3])
