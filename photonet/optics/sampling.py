"""How much of the light a method would put in the wrong place, and what to say about it."""

from __future__ import annotations

import math
import os
import warnings

import torch

from ..errors import MemoryEstimateError, SamplingError, SamplingWarning
from ..grid import Grid

__all__ = ["Prediction", "announce", "check_memory", "critical_distance", "predict", "sideways"]

LIMIT = 0.01
"""Predicted relative error of the field from which a warning is given."""

WHITE_SAMPLES = 1024
"""Frequencies per axis by which a white spectrum is judged: masks may have too many to list them all."""

Prediction = tuple[float, float, float]


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
        Fractions of the energy folded and cut, and the relative L2 error of the paraxial phase, each
        averaged over wavelengths, for the spectrum of ``field`` [..., L, y, x] or else for a white one.
    """
    device = field.device if field is not None else None
    axes = [
        torch.fft.fftfreq(n, d, device=device).double() for n, d in zip(grid.shape, grid.pitch, strict=True)
    ]
    if field is None:  # a white spectrum has the same parts when it is sampled more coarsely
        axes = [f[:: max(1, len(f) // WHITE_SAMPLES)] for f in axes]
    folded = cut = error = 0.0
    for index, wave in enumerate(waves):
        power = axes[0].new_ones(len(axes[0]), len(axes[1])) if field is None else _power(field, index)
        total = power.sum().clamp_min(1e-300)
        s2 = (wave * axes[0][:, None]) ** 2 + (wave * axes[1]) ** 2
        wrong, lost = [], []
        for f, d, (low, high), reach in zip(axes, grid.pitch, band, far, strict=True):
            sine = wave * f
            lost.append(((sine < low) | (sine > high)).double())
            if response:
                steepest = reach / (abs(z) if paraxial else math.hypot(reach, z)) / wave
                wrong.append((f.abs() > 1 / d - steepest).double())
            else:
                wrong.append(torch.zeros_like(f))
        folded += float((power * (1 - (1 - wrong[0][:, None]) * (1 - wrong[1]))).sum() / total)
        cut += float((power * (1 - (1 - lost[0][:, None]) * (1 - lost[1]))).sum() / total)
        if paraxial:
            exact = s2 / (1 + (1 - s2).clamp_min(0).sqrt())
            phase = 2 * math.pi / wave * z * (exact - s2 / 2)
            # of the light that arrives in the window
            near = [((wave * f).abs() * abs(z) <= r).double() for f, r in zip(axes, far, strict=True)]
            arriving = power * near[0][:, None] * near[1]
            wrong_power = (arriving * (2 * torch.sin(phase / 2)) ** 2).sum()
            error += float((wrong_power / arriving.sum().clamp_min(1e-300)).sqrt())
    return folded / len(waves), cut / len(waves), error / len(waves)


def _power(field: torch.Tensor, index: int) -> torch.Tensor:
    one = field.detach()[..., min(index, field.shape[-3] - 1), :, :] if field.ndim > 2 else field.detach()
    power = torch.fft.fft2(one).abs().square().double()
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
