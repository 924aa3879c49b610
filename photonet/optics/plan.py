"""Which method a propagation will use, and why, before anything is computed: `plan`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from ..grid import Grid
from .fourier import fast_length
from .scalars import plain

__all__ = ["METHODS", "Plan", "plan"]

METHODS = ("auto", "angular_spectrum", "rayleigh_sommerfeld", "fresnel", "fresnel_response")
RESPONSES = ("rayleigh_sommerfeld", "fresnel_response")

SMOOTH_SAMPLES = 256
"""Samples within which the two kernels can change over without ringing themselves."""


@dataclass(frozen=True)
class Plan:
    """What a propagation will do. Everything is a plain number: nothing has been propagated.

    Attributes:
        method: the method that runs.
        shape: samples (y, x) of the transform.
        padding: transform over source samples, per axis; 1 is periodic.
        band: interval ((low, high) for y and x) of ``wavelength * frequency``, that is ``sin(theta)``, of
            the light that reaches the output window.
        band_limit: largest ``sin(theta)`` kept, per wavelength and axis (y, x).
        alias_energy: fraction of the spectrum that is cut or folded; of a white spectrum when
            no field was given, which is the worst case.
        smooth: whether the transfer function is mixed with the impulse response where that is sampled, so
            that the sharp end of the spectrum at the sampling limit does not ring.
        memory: bytes of the buffers of a propagation, per field of the batch.
        kernel_memory: bytes of the kernel, which is kept for the next call.
        reason: the numbers that decided, in words.
    """

    method: str
    shape: tuple[int, int]
    padding: tuple[float, float]
    band: tuple[tuple[float, float], tuple[float, float]]
    band_limit: tuple[tuple[float, float], ...]
    alias_energy: float
    smooth: bool
    memory: int
    kernel_memory: int
    reason: str

    def __str__(self) -> str:
        limits = ", ".join(f"{y:.3f} x {x:.3f}" for y, x in self.band_limit)
        return "\n".join(
            [
                f"method        {self.method}: {self.reason}",
                f"transform     {self.shape[0]} x {self.shape[1]} samples"
                f" ({self.padding[0]:.3g} x {self.padding[1]:.3g} of the window)",
                f"band limit    sin(theta) {limits} (y x x, per wavelength)",
                f"alias energy  {self.alias_energy:.2g}",
                f"memory        {self.memory / 2**20:.3g} MiB per field,"
                f" {self.kernel_memory / 2**20:.3g} MiB for the kernel",
            ]
        )


def plan(
    grid: Grid,
    wavelength: Any,
    distance: Any,
    output: Grid | None = None,
    *,
    method: str = "auto",
    padding: Any = None,
    dtype: torch.dtype = torch.complex128,
    field: torch.Tensor | None = None,
) -> Plan:
    """Say how `propagate` would go from ``grid`` to ``output``, without computing it.

    Args:
        grid: samples of the source plane.
        wavelength: one or more wavelengths in m.
        distance: along the axis in m, finite, negative to trace back.
        output: samples of the destination plane; the source's when None.
        method: one of `METHODS`; ``auto`` takes the impulse response where the pitch samples it over
            the whole window, else the transfer function, which is sampled exactly there.
        padding: None for a linear convolution (twice the window), 1 for a periodic window.
        dtype: of the field, for the memory.
        field: [..., y, x]; when given, the alias energy is that of its spectrum.

    Returns:
        A `Plan`.

    Raises:
        InvalidArgument: a distance that is not finite, or a combination that has no meaning.
        UnknownName: a method that does not exist.

    Source of the band limit: Matsushima and Shimobaba, Opt. Express 17, 19662 (2009), eq. (13); of the
    shifted one: Matsushima, Opt. Express 18, 18453 (2010).

    Example:
        >>> p = plan(Grid(1600, 586e-9), [635e-9, 532e-9, 450e-9], 2.4e-3)
        >>> p.method, [round(float(y), 3) for y, x in p.band_limit]
        ('rayleigh_sommerfeld', [0.364, 0.364, 0.364])
    """
    checks.choice("method", method, METHODS)
    waves = checks.wavelength(wavelength).detach().tolist()
    z = checks.real("distance", plain(distance), "a finite length in m")
    output = grid if output is None else output
    if any(abs(a / b - 1) > 1e-9 for a, b in zip(grid.pitch, output.pitch, strict=True)):
        raise GridMismatch("output", f"the pitch of the source, {grid.pitch} m", f"{output.pitch} m")
    periodic = padding is not None and float(checks.pair("padding", padding)[0]) == 1.0
    if padding is not None and not periodic and min(map(float, checks.pair("padding", padding))) < 2:
        raise InvalidArgument("padding", "None, 1 (periodic) or at least 2", padding)
    if periodic and not output.matches(grid):
        raise InvalidArgument("padding", "None when the output is not the source's grid", padding)

    # sideways ways from source samples to output samples, per axis
    reach = [
        (c_out - c_in - (n_in + n_out) / 2 * d, c_out - c_in + (n_in + n_out) / 2 * d)
        for c_out, c_in, n_out, n_in, d in zip(
            output.centre, grid.centre, output.shape, grid.shape, grid.pitch, strict=True
        )
    ]
    far = [max(-low, high) for low, high in reach]
    # where the impulse response oscillates at the sampling limit of the shortest wave
    critical = max(critical_distance(w, d, r) for w in waves for d, r in zip(grid.pitch, far, strict=True))
    sampled, auto = abs(z) >= critical, method == "auto"
    if auto:
        method = "rayleigh_sommerfeld" if sampled and not periodic else "angular_spectrum"
    if method in RESPONSES and (periodic or z == 0):
        raise InvalidArgument("method", "a transfer function for zero distance or a periodic window", method)
    paraxial = method == "fresnel"
    reason = (
        f"|z| = {abs(z):.4g} m {'>=' if sampled else '<'} {critical:.4g} m, "
        "from where the pitch samples the impulse response over the whole window"
    )

    shape, band = list(grid.shape), [(-math.inf, math.inf)] * 2
    for axis, (low, high) in enumerate(reach if not periodic else []):
        n, m, d = grid.shape[axis], output.shape[axis], grid.pitch[axis]
        least = n + m
        if padding is not None:
            least = max(least, math.ceil(float(checks.pair("padding", padding)[axis]) * n))
        if auto and method == "angular_spectrum":
            # room for the steepest wave the pitch can hold, so that none comes back and none is cut
            widest = _sideways(max(waves), d, z)
            least = max(least, math.ceil(min(max(high + widest, widest - low) / d, 2 * (n + m))))
        shape[axis] = fast_length(least)
        room = (high - shape[axis] * d, low + shape[axis] * d)
        band[axis] = _band(reach[axis] if method in RESPONSES else room, z, paraxial)
    band_limit = tuple(
        (
            min(max(map(abs, band[0])), w / (2 * grid.pitch[0])),
            min(max(map(abs, band[1])), w / (2 * grid.pitch[1])),
        )
        for w in waves
    )
    alias = _alias_energy(method, band, grid, waves, z, far, field)
    smooth = (
        auto
        and method == "angular_spectrum"
        and not periodic
        and all(
            limits[axis] == w / (2 * d) < 1 and _sideways(w, d, z) > SMOOTH_SAMPLES * d
            for w, limits in zip(waves, band_limit, strict=True)
            for axis, d in enumerate(grid.pitch)
        )
    )
    item = 16 if dtype in (torch.complex128, torch.float64) else 8
    samples = max(grid.shape[0], output.shape[0]) * shape[1] + output.shape[0] * output.shape[1]
    return Plan(
        method=method,
        shape=(shape[0], shape[1]),
        padding=(shape[0] / grid.shape[0], shape[1] / grid.shape[1]),
        band=(band[0], band[1]),
        band_limit=band_limit,
        alias_energy=alias,
        smooth=smooth,
        memory=item * samples * len(waves),
        kernel_memory=item * shape[0] * shape[1] * len(waves),
        reason=reason,
    )


def _sideways(wavelength: float, pitch: float, distance: float) -> float:
    """How far sideways in m the steepest wave goes that ``pitch`` can hold; infinite if it holds all."""
    sine = wavelength / (2 * pitch)
    return math.inf if sine >= 1 else abs(distance) * sine / math.sqrt(1 - sine**2)


def critical_distance(wavelength: float, pitch: float, reach: float) -> float:
    """Distance in m from which ``pitch`` samples the impulse response out to ``reach`` (all in m).

    At ``reach`` the response has ``sin(theta) / wavelength`` cycles per m; half a cycle per sample is
    the limit. Below half a wavelength of pitch every distance of some wavelengths will do.
    """
    sine = wavelength / (2 * pitch)
    if sine >= 1:
        return 4 * wavelength
    return max(reach * math.sqrt(1 - sine**2) / sine, 4 * wavelength)


def _band(reach: tuple[float, float], z: float, paraxial: bool) -> tuple[float, float]:
    """``sin(theta)`` of the rays that go ``reach`` sideways over z; paraxial optics takes the tangent."""
    if z == 0:
        return (-math.inf, math.inf)
    low, high = sorted(math.copysign(1.0, z) * r / (abs(z) if paraxial else math.hypot(r, z)) for r in reach)
    return low, high


def _alias_energy(
    method: str,
    band: list[tuple[float, float]],
    grid: Grid,
    waves: list[float],
    z: float,
    far: list[float],
    field: torch.Tensor | None,
) -> float:
    """Mean over wavelengths of the spectral energy a method cuts (transfer function) or folds (response)."""
    total = 0.0
    for index, w in enumerate(waves):
        if method in RESPONSES:
            limits = [(-r / math.hypot(r, z) / w, r / math.hypot(r, z) / w) for r in far]
            inside = [min(1.0, 0.5 / d / high) for d, (_, high) in zip(grid.pitch, limits, strict=True)]
            total += 1 - inside[0] * inside[1]
            continue
        limits = [(low / w, high / w) for low, high in band]
        if field is None:
            inside = [
                max(0.0, min(high, 0.5 / d) - max(low, -0.5 / d)) * d
                for d, (low, high) in zip(grid.pitch, limits, strict=True)
            ]
            total += 1 - inside[0] * inside[1]
            continue
        u = field if field.ndim < 3 else field[..., index if field.shape[-3] > 1 else 0, :, :]
        power = (
            torch.fft.fft2(u.detach()).abs().square().flatten(0, -3).sum(0)
            if u.ndim > 2
            else (torch.fft.fft2(u.detach()).abs().square())
        )
        f = [torch.fft.fftfreq(n, d, device=u.device) for n, d in zip(grid.shape, grid.pitch, strict=True)]
        keep = [(q >= low) & (q <= high) for q, (low, high) in zip(f, limits, strict=True)]
        total += 1 - float((power * keep[0][:, None] * keep[1][None]).sum() / power.sum().clamp_min(1e-300))
    return max(0.0, total / len(waves))
