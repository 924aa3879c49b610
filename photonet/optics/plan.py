"""Which method a propagation will use, and why, before anything is computed: `plan`."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument, SamplingError
from ..grid import Grid
from ..transforms import numbers
from .fourier import fast_length
from .sampling import (
    announce,
    critical_distance,
    curvature_error,
    fade_error,
    predict,
    ring_error,
    sideways,
)
from .scalars import plain

__all__ = ["METHODS", "Plan", "plan"]

RESPONSES = ("rayleigh_sommerfeld", "fresnel_response")
TRANSFERS = ("angular_spectrum", "fresnel")
ZOOMS = ("fresnel_zoom", "fraunhofer")
METHODS = ("auto", *TRANSFERS, *RESPONSES, *ZOOMS)

FADE_ZONES = 64
"""Fresnel zones over which light that misses an output of another pitch is faded out; see `fade_error`."""

MOST_PADDING = 4
"""Transform over source and destination together, at most, for the sake of that fade..."""

SMALL = 256
"""... unless the transform is small anyway."""

SMOOTH_SAMPLES = 256
"""Samples within which the two kernels can change over without ringing themselves."""


@dataclass(frozen=True)
class Plan:
    """What a propagation will do. Everything is a plain number: nothing has been propagated.

    Attributes:
        method: the method that runs.
        shape: samples (y, x) of the transform.
        padding: transform over source samples, per axis; 1 is periodic.
        reach: interval ((low, high) for y and x) of ``sin(theta)``, that is ``wavelength * frequency``,
            of the light that arrives in the output window.
        band: the same for the light that is kept; what lies between the two is faded out.
        band_limit: largest ``sin(theta)`` kept, per wavelength and axis (y, x).
        alias_energy: fraction of the energy that arrives in the wrong place, at the worst wavelength; of a
            white spectrum when no field was given, which is the worst case. Of a transfer function, what
            rings because the light beside the output is faded out within few Fresnel zones (an estimate, see
            `fade_error`).
        cut_energy: fraction of the energy that is left out because it would miss the window; near 1 of a
            field, the window is at the wrong place.
        paraxial_error: relative L2 error by the paraxial phase, or of Fraunhofer's by the curvature of the
            source that was given; zero for the exact methods.
        ring_error: relative error by the sharp end of the spectrum at the sampling limit (an estimate, see
            `sampling.ring_error`); zero if no field was given, and of windows beside the axis. Light up to
            there is not known between its samples either, so only ``strict`` takes offence at it.
        critical: distance in m from where the pitch samples the impulse response over the whole window.
        smooth: whether the transfer function is mixed with the impulse response where that is sampled, so
            that the sharp end of the spectrum at the sampling limit does not ring.
        memory: bytes of the buffers of a propagation, per field of the batch.
        kernel_memory: bytes of the kernel, which is kept for the next call.
        reason: the numbers that decided, in words.
    """

    method: str
    shape: tuple[int, int]
    padding: tuple[float, float]
    reach: tuple[tuple[float, float], tuple[float, float]]
    band: tuple[tuple[float, float], tuple[float, float]]
    band_limit: tuple[tuple[float, float], ...]
    alias_energy: float
    cut_energy: float
    paraxial_error: float
    ring_error: float
    critical: float
    smooth: bool
    memory: int
    kernel_memory: int
    reason: str

    @property
    def error(self) -> float:
        """Largest predicted relative error of the field."""
        return max(math.sqrt(self.alias_energy), self.paraxial_error, self.ring_error)

    @property
    def remedy(self) -> str:
        """What would hold where the error is too large."""
        if self.method in TRANSFERS:
            return "more padding, a finer pitch of the source, or an output of its pitch, would hold"
        number = f"|z| of at least {self.critical:.3g} m or a finer pitch would hold"
        return f"{number}, or method='auto' where another was asked for"

    def __str__(self) -> str:
        limits = ", ".join(f"{y:.3f} x {x:.3f}" for y, x in self.band_limit)
        lines = [
            f"method        {self.method}: {self.reason}",
            f"transform     {self.shape[0]} x {self.shape[1]} samples"
            f" ({self.padding[0]:.3g} x {self.padding[1]:.3g} of the window)",
            f"band limit    sin(theta) {limits} (y x x, per wavelength)",
            f"alias energy  {self.alias_energy:.2g}, cut because it misses the window {self.cut_energy:.2g}",
            f"memory        {self.memory / 2**20:.3g} MiB per field,"
            f" {self.kernel_memory / 2**20:.3g} MiB for the kernel",
        ]
        if self.paraxial_error:
            lines.insert(4, f"paraxial      relative error {self.paraxial_error:.2g}")
        return "\n".join(lines)


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
    strict: bool = False,
) -> Plan:
    """Say how `propagate` would go from ``grid`` to ``output``, without propagating anything.

    Without ``field`` it is arithmetic with a few numbers, and remembered. With one, its spectrum is taken.

    Args:
        grid: samples of the source plane.
        wavelength: one or more wavelengths in m.
        distance: along the axis in m, finite, negative to trace back.
        output: samples of the destination plane; the source's when None.
        method: one of `METHODS`; ``auto`` takes the Rayleigh-Sommerfeld convolution where the pitch
            samples the impulse response over the whole window, else the angular spectrum, padded on
            each axis until no light the pitch can hold wraps around. A destination of another pitch
            always takes the angular spectrum.
        padding: None for a linear convolution (twice the window), 1 for a periodic window.
        dtype: of the field, for the memory.
        field: [..., L, y, x] or [y, x]; when given, the energies are those of its spectrum (one Fourier
            transform for each wavelength).
        strict: raise when the predicted error is above 1 %.

    Returns:
        A `Plan`.

    Raises:
        InvalidArgument: a distance that is not finite, no `photonet.Grid`, a combination without meaning.
        GridMismatch: another pitch of the output, with a method that cannot change it.
        SamplingError: an output window that no light of this pitch can reach; with ``strict``, a predicted
            error above 1 %.
        UnknownName: a method that does not exist.

    Source of the band limit: Matsushima and Shimobaba, Opt. Express 17, 19662 (2009), eq. (13); of the
    shifted one: Matsushima, Opt. Express 18, 18453 (2010).

    Example:
        >>> p = plan(Grid(1600, 586e-9), [635e-9, 532e-9, 450e-9], 2.4e-3)
        >>> p.method, [round(float(y), 3) for y, x in p.band_limit]
        ('rayleigh_sommerfeld', [0.364, 0.364, 0.364])
    """
    checks.choice("method", method, METHODS)
    checks.instance("grid", grid, Grid, "a photonet.Grid")
    output = checks.instance("output", grid if output is None else output, Grid, "a photonet.Grid")
    waves = numbers(checks.wavelength(wavelength))
    z = checks.real("distance", plain(distance), "a finite length in m")
    arguments = (grid, waves, z, output, method, _padding(padding), dtype)
    found = _remembered(*arguments) if field is None else _decide(*arguments, field)
    if strict:
        announce(found.error, f"{found.method} over |z| = {abs(z):.3g} m", found.remedy, strict)
    return found


def _decide(
    grid: Grid,
    waves: tuple[float, ...],
    z: float,
    output: Grid,
    method: str,
    factors: tuple[float, float] | None,
    dtype: torch.dtype,
    field: torch.Tensor | None = None,
) -> Plan:
    periodic = factors == (1.0, 1.0)
    if periodic and not output.matches(grid):
        raise InvalidArgument("padding", "None when the output is not the source's grid", 1)
    # sideways ways from source samples to output samples, per axis
    ways = [
        (c_out - c_in - (w_in + w_out) / 2, c_out - c_in + (w_in + w_out) / 2)
        for c_out, c_in, w_out, w_in in zip(
            output.centre, grid.centre, output.extent, grid.extent, strict=True
        )
    ]
    far = [max(-low, high) for low, high in ways]
    same_pitch = all(abs(a / b - 1) < 1e-9 for a, b in zip(grid.pitch, output.pitch, strict=True))
    # where the impulse response oscillates at the sampling limit of the shortest wave
    critical = max(critical_distance(w, d, r) for w in waves for d, r in zip(grid.pitch, far, strict=True))
    sampled, auto = abs(z) >= critical, method == "auto"
    if auto:
        method = "rayleigh_sommerfeld" if sampled and same_pitch and not periodic else "angular_spectrum"
    _check_method(method, periodic, z, same_pitch, output)
    paraxial = method in ("fresnel", "fresnel_response", *ZOOMS)
    reason = (
        f"|z| = {abs(z):.4g} m {'>=' if sampled else '<'} {critical:.4g} m, "
        "from where the pitch samples the impulse response over the whole window"
    )
    if auto and not same_pitch:
        reason = "the output has another pitch, so the spectrum is summed at its samples"

    shape, everything = list(grid.shape), (-math.inf, math.inf)
    reach, band = [everything, everything], [everything, everything]
    for axis, (low, high) in enumerate(ways if not periodic and method not in ZOOMS else []):
        d = grid.pitch[axis]
        least = full = math.ceil((high - low) / d - 1e-6)
        if factors is not None:
            least = max(least, math.ceil(factors[axis] * grid.shape[axis]))
        widest = sideways(max(waves), d, z)
        if auto and method == "angular_spectrum":
            # room for the steepest wave the pitch can hold, so that none comes back and none is cut
            least = max(least, math.ceil(min(max(high + widest, widest - low) / d, 2 * full)))
        if not same_pitch and factors is None and method in TRANSFERS:
            # no sharp end may ring between the samples: room to fade it out
            fade = min(widest, math.hypot(far[axis], math.sqrt(FADE_ZONES * max(waves) * abs(z))))
            least = max(
                least, math.ceil(min(max(high + fade, fade - low) / d, max(MOST_PADDING * full, SMALL)))
            )
        shape[axis] = fast_length(least)
        reach[axis] = _sines(low, high, z, paraxial)
        room = (high - shape[axis] * d, low + shape[axis] * d)
        band[axis] = reach[axis] if method in RESPONSES else _sines(*room, z, paraxial)
    nyquist = [(w / (2 * grid.pitch[0]), w / (2 * grid.pitch[1])) for w in waves]
    _check_reach(reach, nyquist, output)
    if not same_pitch and method in TRANSFERS:
        band = [
            _before(kept, arriving, 0.999 * min(limit[axis] for limit in nyquist))
            for axis, (kept, arriving) in enumerate(zip(band, reach, strict=True))
        ]
    band_limit = tuple((min(max(map(abs, band[0])), y), min(max(map(abs, band[1])), x)) for y, x in nyquist)
    smooth = (
        auto
        and method == "angular_spectrum"
        and not periodic
        and all(
            kept[axis] == limit[axis] < 1 and sideways(w, d, z) > SMOOTH_SAMPLES * d
            for w, kept, limit in zip(waves, band_limit, nyquist, strict=True)
            for axis, d in enumerate(grid.pitch)
        )
    )
    alias = cut = error = ring = 0.0
    response = method not in TRANSFERS
    if paraxial or field is not None or (response and not sampled):
        alias, cut, error = predict(response, grid, waves, z, band, far, paraxial, field)
    elif not response:
        parts = [_kept(band, limit) for limit in nyquist]
        cut = 1 - sum(parts) / len(parts)
    if method in TRANSFERS and not smooth:
        alias += fade_error(grid, waves, z, reach, band, field) ** 2
        centred = all(abs(low + high) <= 1e-9 * (high - low) for low, high in ways)
        if field is not None and same_pitch and centred and not periodic and not paraxial:
            period = [n * d for n, d in zip(shape, grid.pitch, strict=True)]
            ring = ring_error(grid, waves, z, far, period, band_limit, field)
    if method == "fraunhofer" and field is not None:
        error = max(error, curvature_error(field, grid, min(waves), z))
    item = 16 if dtype in (torch.complex128, torch.float64) else 8
    samples = max(grid.shape[0], output.shape[0]) * shape[1] + output.shape[0] * output.shape[1]
    return Plan(
        method=method,
        shape=(shape[0], shape[1]),
        padding=(shape[0] / grid.shape[0], shape[1] / grid.shape[1]),
        reach=(reach[0], reach[1]),
        band=(band[0], band[1]),
        band_limit=band_limit,
        alias_energy=alias,
        cut_energy=cut,
        paraxial_error=error,
        ring_error=ring,
        critical=critical,
        smooth=smooth,
        memory=item * samples * len(waves),
        kernel_memory=item * shape[0] * shape[1] * len(waves),
        reason=reason,
    )


_remembered = functools.lru_cache(maxsize=256)(_decide)


def _padding(padding: Any) -> tuple[float, float] | None:
    if padding is None:
        return None
    factors = tuple(checks.positive("padding", p) for p in checks.pair("padding", padding))
    if factors != (1.0, 1.0) and min(factors) < 2:
        raise InvalidArgument("padding", "None, 1 (periodic) or at least 2", padding)
    return factors[0], factors[1]


def _check_method(method: str, periodic: bool, z: float, same_pitch: bool, output: Grid) -> None:
    if method in (*RESPONSES, *ZOOMS) and (periodic or z == 0):
        raise InvalidArgument("method", "a transfer function for zero distance or a periodic window", method)
    if method in RESPONSES and not same_pitch:
        raise GridMismatch(
            "output",
            "the pitch of the source",
            f"{output}",
            f"method {method!r} cannot change it; use 'auto'",
        )


def _check_reach(reach: list[tuple[float, float]], nyquist: list[tuple[float, float]], output: Grid) -> None:
    """Refuse a window that lies beyond the steepest light the source's pitch can hold."""
    for axis, (low, high) in enumerate(reach):
        steepest = max(limit[axis] for limit in nyquist)
        if low >= steepest or high <= -steepest:
            raise SamplingError(
                "output",
                f"a window within the source's steepest light, sin(theta) = {steepest:.3g}",
                f"{output}, where sin(theta) is at least {min(abs(low), abs(high)):.3g}",
                "sample the source more finely or move the window towards the axis",
            )


def _before(band: tuple[float, float], reach: tuple[float, float], limit: float) -> tuple[float, float]:
    """``band`` ended at the sampling limit, where the light that arrives leaves room to fade the rest."""
    low = max(band[0], -limit) if reach[0] > -limit else band[0]
    high = min(band[1], limit) if reach[1] < limit else band[1]
    return low, high


def _kept(band: list[tuple[float, float]], nyquist: tuple[float, float]) -> float:
    """Fraction of a white spectrum of travelling light inside ``band``."""
    part = 1.0
    for (low, high), limit in zip(band, (min(n, 1.0) for n in nyquist), strict=True):
        part *= max(0.0, min(high, limit) - max(low, -limit)) / (2 * limit)
    return part


def _sines(low: float, high: float, z: float, paraxial: bool) -> tuple[float, float]:
    """``sin(theta)`` of the rays that go that far sideways over z; paraxial optics takes the tangent."""
    if z == 0:
        return (-math.inf, math.inf)
    sines = sorted(
        math.copysign(1.0, z) * r / (abs(z) if paraxial else math.hypot(r, z)) for r in (low, high)
    )
    return sines[0], sines[1]
