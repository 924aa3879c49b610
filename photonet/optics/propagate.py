"""Free space between two planes: `propagate`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sized
from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument, SamplingError, SamplingWarning
from ..grid import Grid
from ..transforms import numbers, tracked, unwrapped
from .convolution import convolve_kernel
from .fourier import mirror
from .plan import TRANSFERS, ZOOMS, Plan, plan
from .sampling import LIMIT, announce, arriving, check_memory, curvature_error
from .scalars import plain, scalar
from .transfer import cached, transfer
from .zoom import far_field, through_spectrum

__all__ = ["check_field", "propagate"]

MISSED = 1e-3
"""Fraction of the light below which a window beside the source is thought to be at the wrong place."""

WHOLE_SAMPLES = 2**20
"""Kernels up to this size are kept whole: where transforms are short, mirroring half of one shows."""


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
    carrier: bool = True,
    strict: bool = False,
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
            zero gives a copy.
        output: samples of the destination plane, ``grid`` when None.
        method: ``auto``, ``angular_spectrum``, ``rayleigh_sommerfeld``, ``fresnel`` (paraxial transfer
            function), ``fresnel_response`` (paraxial impulse response), ``fresnel_zoom`` (paraxial, one
            Fourier sum to any output grid) or ``fraunhofer`` (the far field).
        padding: None for the linear convolution; 1 for a periodic window without padding.
        pitch: (y, x) in m in place of the pitch of ``grid``, where a gradient with respect to it is wanted.
            The output follows it; one that is passed to ``fresnel_zoom`` or ``fraunhofer`` does not.
        carrier: include ``exp(i k z)``. Its slope of k = 1e7 rad/m drowns the gradient of an irradiance with
            respect to distance or wavelength in the rounding of single precision; leave it out there.
        strict: raise where a `SamplingWarning` would be given.

    Returns:
        The field on ``output``, complex [..., L, y, x], of the dtype of ``u``.

    Raises:
        InvalidArgument: not a complex field, a distance that is not finite.
        GridMismatch: ``u`` does not lie on ``grid``, or its wavelength axis does not match; an output of
            another pitch with a method that keeps it, or together with ``pitch``.
        UnknownName: a method that does not exist.
        MemoryEstimateError: more memory would be needed than is free.
        SamplingError: an output that light of this pitch cannot reach; with ``strict``, what would be warned
            of.

    Warns:
        SamplingWarning: a predicted error above 1 % of a method that was asked for by name; light that rings
            as it is cut beside the output; a window beside the source that the light misses.

    Example:
        >>> grid = Grid(64, 2e-6)
        >>> u = torch.ones(1, 64, 64, dtype=torch.complex64)
        >>> propagate(u, grid, 525e-9, 1e-3).shape
        torch.Size([1, 64, 64])
    """
    waves = checks.wavelength(wavelength)
    check_field(u, grid, waves)
    follows = output is None or method not in ZOOMS
    output = checks.instance("output", grid if output is None else output, Grid, "a photonet.Grid")
    sides = grid.pitch
    if pitch is not None:
        sides = checks.pair("pitch", pitch)
        finer = Grid(grid.shape, tuple(map(plain, sides)), grid.centre)
        if follows:
            output = _follow(output, grid, finer)
        grid = finer
    choice = plan(grid, waves, distance, output, method=method, padding=padding, dtype=u.dtype)
    _check_window(u, choice, grid, waves, output, strict)
    _check_sampling(u, choice, grid, waves, distance, output, padding, strict)
    batch = unwrapped(u[..., 0, 0, 0]).numel()
    check_memory(
        choice.memory * batch + choice.kernel_memory,
        u.device,
        "use fewer samples, or stream the mask (stream_psf)",
    )
    z = scalar("distance", distance, "a finite length in m", device=u.device)
    # the same on the host, so that nothing below waits for the device
    number, values = float(plain(distance)), numbers(waves)
    if number == 0 and not tracked(distance) and output.matches(grid):
        return u.expand(*u.shape[:-3], len(waves), -1, -1).clone()
    # of what the caller passed: in a transform of torch.func, all that is made of it is wrapped
    differentiated = tracked(wavelength, distance, *sides)
    waves = waves.to(u.device)
    lengths = [
        scalar("pitch", d, "a positive length in m", check=checks.positive, device=u.device) for d in sides
    ]
    steps = (lengths[0], lengths[1])
    if choice.method == "fraunhofer":
        _check_far(u, grid, waves, distance, strict)
    if choice.method in ZOOMS:
        return far_field(
            u,
            grid,
            waves,
            z,
            output,
            steps,
            key=None if differentiated else (values, number),
            fresnel=choice.method == "fresnel_zoom",
            envelope=not carrier,
            output_pitch=steps if follows else None,
        )
    same_pitch = all(abs(a / b - 1) < 1e-9 for a, b in zip(grid.pitch, output.pitch, strict=True))

    def carry(kernel: torch.Tensor) -> torch.Tensor:
        if same_pitch:
            return convolve_kernel(u, kernel, choice.shape, output.shape)
        return through_spectrum(u, kernel, choice.shape, grid, output)

    whole = differentiated or choice.shape[0] * choice.shape[1] <= WHOLE_SAMPLES

    def build() -> torch.Tensor:
        kernel = transfer(choice, grid, waves, z, output, steps, u.dtype, envelope=not carrier)
        width = choice.shape[1]
        return mirror(kernel, width, -2) if whole and kernel.shape[-2] < width else kernel

    if differentiated:
        return carry(build())
    key = (choice, grid, output, values, number, u.dtype, u.device, carrier)
    return carry(cached(key, lambda: unwrapped(build())))


def _follow(output: Grid, grid: Grid, other: Grid) -> Grid:
    """The output at the pitch of ``other`` in place of that of ``grid``; refused if it has neither."""
    for source in (grid, other):
        if all(abs(a / b - 1) < 1e-9 for a, b in zip(output.pitch, source.pitch, strict=True)):
            return Grid(output.shape, other.pitch, output.centre)
    hint = "leave pitch out, or take method='fresnel_zoom'"
    raise GridMismatch("output", "the pitch of the source, where pitch is passed", f"{output}", hint)


def _check_sampling(
    u: torch.Tensor,
    choice: Plan,
    grid: Grid,
    waves: torch.Tensor,
    distance: Any,
    output: Grid,
    padding: Any,
    strict: bool,
) -> None:
    """Say when a method that was asked for does not suit: first by geometry, then by the light itself."""
    method, z = choice.method, abs(float(plain(distance)))

    def of_light() -> Plan:
        return plan(grid, waves, distance, output, method=method, padding=padding, field=u)

    if strict and method == "angular_spectrum":
        what = f"{method} over |z| = {z:.3g} m rings, because the light has details as fine as the pitch"
        announce(of_light().ring_error, what, choice.remedy, strict)
    if max(choice.alias_energy, choice.paraxial_error**2) <= LIMIT**2:
        return
    alias, paraxial = choice.alias_energy, choice.paraxial_error
    if method not in ZOOMS or alias > 0:
        found = of_light()
        # to a small far window light goes from the whole source: what geometry says is right there
        alias, paraxial = found.alias_energy, paraxial if method in ZOOMS else found.paraxial_error
    does = f"puts {alias:.1%} of the energy in the wrong place"
    if method in TRANSFERS:
        does = "rings, because there is little room to fade out the light beside the output"
    what = f"{method} over |z| = {z:.3g} m {does}"
    announce(math.sqrt(alias), what, choice.remedy, strict)
    what = f"{method} over |z| = {z:.3g} m is paraxial, and this light is too steep for it"
    remedy = f"|z| below {z * LIMIT / max(paraxial, LIMIT):.2g} m would hold, or method='auto'"
    announce(paraxial, what, remedy, strict)


def _check_window(
    u: torch.Tensor, choice: Plan, grid: Grid, waves: torch.Tensor, output: Grid, strict: bool
) -> None:
    """Say when a window so far beside the source that light along the axis misses it gets no light at all."""
    if all(low <= 0 <= high for low, high in choice.reach):
        return
    part = arriving(u, grid, numbers(waves), choice.reach)
    if part > MISSED or not bool(unwrapped(u).any()):
        return
    got, hint = f"{output}, where {part:.1e} of it goes", "move the window to where the light is"
    if strict:
        raise SamplingError("output", "a window that the light reaches", got, hint)
    warnings.warn(f"the output misses the light: {got}; {hint}", SamplingWarning, stacklevel=3)


def _check_far(u: torch.Tensor, grid: Grid, waves: torch.Tensor, distance: Any, strict: bool) -> None:
    """Say when Fraunhofer's formula is used too near: the curvature it leaves out, weighted by the light."""
    z = abs(float(plain(distance)))
    error = curvature_error(u, grid, float(waves.detach().min()), z)
    what = f"fraunhofer over |z| = {z:.3g} m leaves out the curvature of the source"
    far = z * error / LIMIT
    announce(error, what, f"|z| of at least {far:.2g} m would hold, or method='fresnel_zoom'", strict)


def check_field(u: torch.Tensor, grid: Grid, waves: Sized, name: str = "u") -> None:
    """Refuse what is no complex field [..., L, y, x] on ``grid`` at the wavelengths [L].

    Raises:
        InvalidArgument: no tensor, no `photonet.Grid`, a field that is real or of half precision.
        GridMismatch: another shape than the grid's, or a wavelength axis that does not match.
    """
    checks.instance("grid", grid, Grid, "a photonet.Grid")
    checks.instance(name, u, torch.Tensor, "a complex tensor [..., L, y, x]")
    if u.dtype not in (torch.complex64, torch.complex128):
        raise InvalidArgument(
            name,
            "a complex field, complex64 or complex128",
            f"dtype {u.dtype}",
            "" if u.is_complex() else "multiply an amplitude by exp(1j * phase)",
        )
    if u.ndim < 3 or tuple(u.shape[-2:]) != grid.shape:
        raise GridMismatch(name, f"shape (..., L, {grid.shape[0]}, {grid.shape[1]})", tuple(u.shape))
    if u.shape[-3] not in (1, len(waves)):
        raise GridMismatch(name, f"a wavelength axis of length {len(waves)} (or 1)", u.shape[-3])
