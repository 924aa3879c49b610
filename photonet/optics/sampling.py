"""How much of the light a method would put in the wrong place, and what to say about it."""

from __future__ import annotations

import math
import os
import warnings

import torch

from ..errors import MemoryEstimateError, SamplingError, SamplingWarning
from ..grid import Grid
from ..transforms import unwrapped

__all__ = [
    "Prediction",
    "announce",
    "arriving",
    "check_memory",
    "critical_distance",
    "curvature_error",
    "fade_error",
    "predict",
    "sideways",
    "too_steep",
]

LIMIT = 0.01
"""Predicted relative error of the field from which a warning is given."""

WHITE_SAMPLES = 1024
"""Frequencies per axis by which a white spectrum is judged: masks may have too many to list them all."""

STEEPEST = 1 - 1e-9
"""``sin(theta)`` beyond which nothing lands anywhere; intervals of it may be infinite."""

Prediction = tuple[float, float, float]
Intervals = tuple[tuple[float, float], tuple[float, float]]


def critical_distance(wavelength: float, pitch: float, reach: float) -> float:
    """Distance in m from which ``pitch`` samples the impulse response out to ``reach`` (all in m).

    At ``reach`` the response has ``sin(theta) / wavelength`` cycles per m; half a cycle per sample is
    the limit. Below half a wavelength of pitch every distance of some wavelengths will do.

    Example:
        >>> round(critical_distance(532e-9, 4e-6, 4.096e-3), 4)
        0.0615
    """
    sine = wavelength / (2 * pitch)
    if sine >= 1:
        return 4 * wavelength
    return max(reach * math.sqrt(1 - sine**2) / sine, 4 * wavelength)


def sideways(wavelength: float, pitch: float, distance: float) -> float:
    """How far sideways in m the steepest wave goes that ``pitch`` can hold; infinite if it holds all."""
    sine = wavelength / (2 * pitch)
    return math.inf if sine >= 1 else abs(distance) * sine / math.sqrt(1 - sine**2)


END_SAMPLES = 2
"""Of a spectrum at each end, whose light rings where nothing fades it."""


def walking(sine: torch.Tensor) -> torch.Tensor:
    """``sin(theta)`` of the travelling wave that goes as far sideways as that of spatial frequency ``sine``.

    An evanescent wave, of a frequency above 1 (in waves per wavelength), does not travel but spreads: over z
    by ``z s / sqrt(s^2 - 1)``, where a travelling one walks ``z s / sqrt(1 - s^2)``. Nearly as far as grazing
    light just above 1, and by z, as light at 45 degrees, in the limit of fine structure.

    Example:
        >>> [round(s, 3) for s in walking(torch.tensor([0.5, 1.0, 1.2, -100.0])).tolist()]
        [0.5, 1.0, 0.875, -0.707]
    """
    size = sine.abs()
    return torch.where(size > 1, sine / (2 * size**2 - 1).clamp_min(1).sqrt(), sine)


def predict(
    response: bool,
    grid: Grid,
    waves: tuple[float, ...],
    z: float,
    band: list[tuple[float, float]],
    far: list[float],
    paraxial: bool,
    field: torch.Tensor | None,
) -> Prediction:
    """Parts of the energy that are folded into the wrong place and cut, and the paraxial error.

    Each frequency is followed along its ray. Of an impulse response (``response``) light is folded whose
    ghost, one sampling frequency further on, lands in the window; a transfer function cuts what is
    outside ``band``.

    Returns:
        Fraction of the energy folded, at the worst wavelength, as good ones do not mend a bad one; fraction
        cut, of all wavelengths; relative L2 error of the paraxial phase, at the worst. For the spectrum of
        ``field`` [..., L, y, x], or else for a white one.
    """
    axes = _frequencies(grid, field)
    folded = cut = error = 0.0
    for index, wave in enumerate(waves):
        power = _power(field, index, axes)
        total = power.sum().clamp_min(1e-300)
        s2 = (wave * axes[0][:, None]) ** 2 + (wave * axes[1]) ** 2
        wrong, lost = [], []
        for f, d, (low, high), reach in zip(axes, grid.pitch, band, far, strict=True):
            sine = wave * f if paraxial else walking(wave * f)
            lost.append(((sine < low) | (sine > high)).double())
            if response:
                steepest = reach / (abs(z) if paraxial else math.hypot(reach, z)) / wave
                wrong.append((f.abs() > 1 / d - steepest).double())
            else:
                wrong.append(torch.zeros_like(f))
        part = (power * (1 - (1 - wrong[0][:, None]) * (1 - wrong[1]))).sum() / total
        folded = max(folded, float(part))
        cut += float((power * (1 - (1 - lost[0][:, None]) * (1 - lost[1]))).sum() / total)
        if paraxial:
            exact = s2 / (1 + (1 - s2).clamp_min(0).sqrt())
            phase = 2 * math.pi / wave * z * (exact - s2 / 2)
            # of the light that arrives in the window
            near = [((wave * f).abs() * abs(z) <= r).double() for f, r in zip(axes, far, strict=True)]
            arriving = power * near[0][:, None] * near[1]
            wrong_power = (arriving * (2 * torch.sin(phase / 2)) ** 2).sum()
            error = max(error, float((wrong_power / arriving.sum().clamp_min(1e-300)).sqrt()))
    return folded, cut / len(waves), error


def fade_error(
    grid: Grid,
    waves: tuple[float, ...],
    z: float,
    reach: list[tuple[float, float]],
    band: list[tuple[float, float]],
    field: torch.Tensor | None,
) -> float:
    """Estimated relative error by light beside the window that is faded out from ``reach`` to ``band``.

    The end of a spectrum rings. A fade of infinite smoothness over n Fresnel zones (the rays' landing places
    ``x`` from the middle of ``reach``, as ``x^2 / (wavelength z)``) rings with ``exp(-sqrt(n))``, as much as
    there is light to fade: the density of the spectrum outside of ``reach`` against that inside. The factor
    was measured against direct sums, from 12 to 90 zones, of hard-edged and soft lenses and random masks: the
    estimate is up to 10 times too high, and up to 3 times too low where less than a hundredth of the light
    lands in the window. Of an output of the source's pitch there may be no room for a fade at all; from
    0 to 10 zones it was up to 100 times too high for beams and up to 6 times too low for their faint tails.
    """
    axes = _frequencies(grid, field)
    worst = 0.0
    for index, wave in enumerate(waves):
        zones, inside = [], []
        for f, d, (low, high), kept in zip(axes, grid.pitch, reach, band, strict=True):
            limit = min(wave / (2 * d), 1)
            middle = (_landing(low, z) + _landing(high, z)) / 2
            for first, last, side in ((-low, -kept[0], -1), (high, kept[1], 1)):
                if first < limit and last < limit:
                    ways = [_landing(sine, z) - side * middle for sine in (first, last)]
                    zones.append((ways[1] ** 2 - ways[0] ** 2) / (wave * abs(z)))
            sines = walking(wave * f)
            inside.append(((sines >= low) & (sines <= high)).double())
        if not zones:
            continue
        power, arrives = _power(field, index, axes), inside[0][:, None] * inside[1]
        within = (power * arrives).sum() / arrives.sum().clamp_min(1)
        beside = (power * (1 - arrives)).sum() / (1 - arrives).sum().clamp_min(1)
        density = float((beside / within.clamp_min(1e-300)).clamp(max=1))
        worst = max(worst, 4 * math.sqrt(density) * math.exp(-math.sqrt(max(min(zones), 0.0))))
    return min(worst, 1.0)


def ring_error(
    grid: Grid,
    waves: tuple[float, ...],
    z: float,
    far: list[float],
    period: list[float],
    band_limit: tuple[tuple[float, ...], ...],
    field: torch.Tensor | None,
) -> float:
    """Estimated relative error by the sharp end of a spectrum at the sampling limit, where nothing fades it.

    The kernel rings beside the place where the steepest wave lands, and from the next period into the window.
    Measured against Fourier integrals over 12 windows, of 64 and 128 samples: white light (a random phase in
    each sample) errs by ``0.44 s / (1 - s / 2) / sqrt(n)`` within 20 %, s the part of the window that the
    steepest wave walks and n the samples across. Other light errs by the root of the density of its spectrum
    at the end: apertures within a factor of 2, what has two equal samples each way less than that.

    Args:
        grid, waves, z, field: as for `predict`.
        far: longest way from a source sample to an output sample in m, for y and x.
        period: of the transform in m, for y and x.
        band_limit: largest ``sin(theta)`` that is kept, for each wavelength and for y and x.
    """
    axes, worst = _frequencies(grid, field), 0.0
    for index, (wave, kept) in enumerate(zip(waves, band_limit, strict=True)):
        rings = [0.0]
        for d, r, p, limit in zip(grid.pitch, far, period, kept, strict=True):
            if limit == wave / (2 * d) < 1:  # else it is faded, or there is no end
                part = min(sideways(wave, d, z) / r, 1.0)
                rings.append(0.44 * part / (1 - part / 2) * math.sqrt(d / r) * (2 * r / p) ** 2)
        density = 1.0
        if field is not None and max(rings) > 0:
            power = _power(field, index, axes)
            rows, columns = (
                f.abs() * d >= 0.5 - END_SAMPLES / len(f) for f, d in zip(axes, grid.pitch, strict=True)
            )
            end = power[rows[:, None] | columns]
            density = float(end.mean() / power.mean().clamp_min(1e-300))
        worst = max(worst, max(rings) * math.sqrt(density))
    return min(worst, 1.0)


def arriving(field: torch.Tensor, grid: Grid, waves: tuple[float, ...], reach: Intervals) -> float:
    """Fraction of the light whose ``sin(theta)`` lies within ``reach``, at the wavelength that has most."""
    axes, best = _frequencies(grid, field), 0.0
    for index, wave in enumerate(waves):
        power = _power(field, index, axes)
        part = (power * _inside([walking(wave * f) for f in axes], reach)).sum() / power.sum().clamp_min(
            1e-300
        )
        best = max(best, float(part))
    return best


def too_steep(
    field: torch.Tensor,
    grid: Grid,
    waves: tuple[float, ...],
    source: float,
    position: tuple[float, float],
    reach: Intervals,
) -> float:
    """Part of a near point's power that is too steep for the pitch, before or behind the mask.

    Before it, where the spherical wave itself has more than half a cycle per sample. Behind it, where the
    wave of a point beside the axis and the mask turn light the same way: the spectrum is continued on both
    sides of the wave's own frequency in the middle of the mask, and what of it lies beyond the sampling limit
    appears one sampling frequency away. It counts if it leaves the window, or comes into it.

    Args:
        field: behind the mask, [..., L, y, x].
        grid: samples of the mask.
        waves: wavelengths in m.
        source: distance of the point in m.
        position: of the point (y, x) in m.
        reach: ``sin(theta)`` of the light that arrives in the output, for y and x.

    Returns:
        A fraction, at the worst wavelength. Behind lenses it was the relative error (L2) of the PSF within a
        factor of 2. A mask that bends a steep wave back may do so rightly on its samples; that counts as
        wrong all the same, as such a mask is steeper than its own pitch.
    """
    offsets = [c - p for c, p in zip(grid.centre, position, strict=True)]
    slopes = [o / math.hypot(*offsets, source) * math.copysign(1, source) for o in offsets]
    limits = [min(waves) / (2 * d) for d in grid.pitch]
    edges = [abs(o) + w / 2 for o, w in zip(offsets, grid.extent, strict=True)]
    before = any(edge / math.hypot(edge, source) > limit for edge, limit in zip(edges, limits, strict=True))
    behind = any(
        s != 0 and max(-low, high) > limit - abs(s)
        for s, (low, high), limit in zip(slopes, reach, limits, strict=True)
    )
    if not (before or behind):
        return 0.0
    axes, (y, x) = _frequencies(grid, field), grid.mesh(field.device)
    ways = (y - position[0], x - position[1])
    r = (ways[0] ** 2 + ways[1] ** 2 + source**2).sqrt()
    worst = 0.0
    for index, wave in enumerate(waves):
        light = field.detach()[..., min(index, field.shape[-3] - 1), :, :]
        light = unwrapped(light).abs().square().double()
        steep = [way.abs() / r > wave / (2 * d) for way, d in zip(ways, grid.pitch, strict=True)]
        parts = [(light, steep[0] | steep[1])]
        # by how much each frequency has been folded, in cycles per m
        turns = [((s / wave - f) * d).round() / d for f, d, s in zip(axes, grid.pitch, slopes, strict=True)]
        seen = [
            _inside([wave * f for f in axes], reach),
            _inside([wave * (f + turn) for f, turn in zip(axes, turns, strict=True)], reach),
        ]
        folded = (turns[0] != 0)[:, None] | (turns[1] != 0)
        parts.append((_power(field, index, axes), folded & (seen[0] | seen[1])))
        worst = max(worst, *(float((p * bad).sum() / p.sum().clamp_min(1e-300)) for p, bad in parts))
    return worst


def _inside(sines: list[torch.Tensor], reach: Intervals) -> torch.Tensor:
    """Which directions (y, x) lie within two intervals, [y, x]."""
    rows, columns = ((s >= low) & (s <= high) for s, (low, high) in zip(sines, reach, strict=True))
    return rows[:, None] & columns


def _landing(sine: float, z: float) -> float:
    sine = min(max(sine, -STEEPEST), STEEPEST)
    return abs(z) * sine / math.sqrt(1 - sine**2)


def curvature_error(field: torch.Tensor, grid: Grid, wave: float, z: float) -> float:
    """Relative error of Fraunhofer's formula by the curvature of the source that it leaves out."""
    y, x = grid.mesh(field.device)
    power = unwrapped(field.detach()).abs().square().double()
    power = power.flatten(0, -3).sum(0) if power.ndim > 2 else power
    bend = (math.pi * (y**2 + x**2) / (wave * abs(z))).clamp(max=math.pi)
    wrong = (power * (2 * torch.sin(bend / 2)) ** 2).sum()
    return float((wrong / power.sum().clamp_min(1e-300)).sqrt())


def _frequencies(grid: Grid, field: torch.Tensor | None) -> list[torch.Tensor]:
    """Along y and x; a white spectrum has the same parts when it is sampled more coarsely."""
    device = field.device if field is not None else None
    axes = [
        torch.fft.fftfreq(n, d, device=device).double() for n, d in zip(grid.shape, grid.pitch, strict=True)
    ]
    return axes if field is not None else [f[:: max(1, len(f) // WHITE_SAMPLES)] for f in axes]


def _power(field: torch.Tensor | None, index: int, axes: list[torch.Tensor]) -> torch.Tensor:
    """Energy spectrum at one wavelength [y, x]."""
    if field is None:
        return axes[0].new_ones(len(axes[0]), len(axes[1]))
    one = field.detach()[..., min(index, field.shape[-3] - 1), :, :] if field.ndim > 2 else field.detach()
    # torch 2.6 on x86 cannot transform what was expanded
    power = torch.fft.fft2(unwrapped(one).contiguous()).abs().square().double()
    return power.flatten(0, -3).sum(0) if power.ndim > 2 else power


def announce(error: float, what: str, remedy: str, strict: bool) -> None:
    """Warn, or raise when ``strict``, if the predicted relative ``error`` is above `LIMIT`.

    Args:
        error: predicted relative error.
        what: the number that breaks.
        remedy: the number that would hold.
        strict: raise `SamplingError` instead of warning.
    """
    if not error > LIMIT:
        return
    if strict:
        raise SamplingError("method", f"a predicted error below {LIMIT:.0%}", f"{error:.2g} ({what})", remedy)
    warnings.warn(f"predicted error {error:.2g}: {what}; {remedy}", SamplingWarning, stacklevel=4)


def check_memory(needed: int, device: torch.device, remedy: str) -> None:
    """Raise `MemoryEstimateError` if ``needed`` bytes are more than what is free on ``device``."""
    if needed < 2**28:
        return
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    if needed > free:
        raise MemoryEstimateError(
            f"this needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; {remedy}"
        )


def _free_memory() -> int:
    """Bytes that can still be used; what the kernel says where it says so, else all physical memory."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 2**63 - 1
