"""What free space does to light: transfer functions (frequency) and impulse responses (space).

All are even in both axes, so callers evaluate them on a quadrant. Phases are computed in float64 with
the carrier ``k z`` taken out before the subtraction can cost digits, and the carrier is put back as one
wrapped scalar per wavelength: ``k z`` is 1e7 rad at 1 m, where float32 has no phase left and even
float64 keeps only 1e-9 rad.

Shapes: coordinates ``y`` [ny, 1] and ``x`` [1, nx] (or frequencies ``fy``, ``fx``) in m (1/m), wavelength
[L] in m, distance a scalar in m, all float64; the results are complex128 [L, ny, nx].
Negative distances give the conjugate (light traced back); evanescent waves decay in both directions,
because their growth cannot be computed back from finite digits. With ``envelope`` the carrier is left out.
"""

from __future__ import annotations

import math

import torch

__all__ = ["angular_spectrum", "carrier", "fresnel", "fresnel_response", "rayleigh_sommerfeld"]


def carrier(wavelength: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Phase of ``exp(i k z)`` within one turn, float64 [L] in rad: the remainder of z / wavelength is exact.

    Example:
        >>> w, z = torch.tensor([5e-7], dtype=torch.float64), torch.tensor(1.0000001, dtype=torch.float64)
        >>> round(float(carrier(w, z)) / (2 * math.pi), 6)
        0.2
    """
    return 2 * math.pi * (torch.fmod(distance, wavelength) / wavelength)


def _start(wavelength: torch.Tensor, distance: torch.Tensor, envelope: bool) -> torch.Tensor:
    return (
        torch.zeros_like(wavelength)[:, None, None]
        if envelope
        else carrier(wavelength, distance)[:, None, None]
    )


def angular_spectrum(
    fy: torch.Tensor,
    fx: torch.Tensor,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    *,
    envelope: bool = False,
) -> torch.Tensor:
    """Exact transfer function ``exp(i z sqrt(k^2 - kx^2 - ky^2))``.

    Source: Goodman, Introduction to Fourier Optics, 3rd ed., eq. (3-74).

    Example:
        >>> f = torch.zeros(1, 1, dtype=torch.float64)
        >>> w, z = torch.tensor([5e-7], dtype=torch.float64), torch.tensor(1e-6, dtype=torch.float64)
        >>> angular_spectrum(f, f, w, z).abs().item()
        1.0
    """
    wave = wavelength[:, None, None]
    sine2 = (wave * fy) ** 2 + (wave * fx) ** 2
    cosine2 = 1 - sine2
    travels = cosine2 >= 0
    cosine = cosine2.abs().clamp_min(1e-300).sqrt()
    k = 2 * math.pi / wave
    # kz - k = -k sin^2 / (1 + cos): no cancellation at small angles
    phase = torch.where(travels, -k * distance * sine2 / (1 + cosine), -k * distance)
    decay = torch.where(travels, 0.0, -k * distance.abs() * cosine).exp()
    return torch.polar(decay, phase + _start(wavelength, distance, envelope))


def fresnel(
    fy: torch.Tensor,
    fx: torch.Tensor,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    *,
    envelope: bool = False,
) -> torch.Tensor:
    """Paraxial transfer function ``exp(i k z) exp(-i pi wavelength z (fx^2 + fy^2))``.

    The phase error against the exact one is ``k z sin^4 / 8``.
    Source: Goodman, Introduction to Fourier Optics, 3rd ed., eq. (4-21).
    """
    phase = -math.pi * (wavelength * distance)[:, None, None] * (fy**2 + fx**2)
    phase = phase + _start(wavelength, distance, envelope)
    return torch.polar(torch.ones_like(phase), phase)


def rayleigh_sommerfeld(
    y: torch.Tensor,
    x: torch.Tensor,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    *,
    envelope: bool = False,
) -> torch.Tensor:
    """Exact impulse response (first Rayleigh-Sommerfeld solution) in 1/m^2.

    ``h = |z| / (2 pi) (1 / r - i k) exp(i k r) / r^2``, conjugate for negative z.
    Source: Goodman, Introduction to Fourier Optics, 3rd ed., eq. (3-42) with its near-field term.
    """
    z = distance.abs()
    rho2 = y**2 + x**2
    r = (rho2 + z**2).sqrt()
    k = (2 * math.pi / wavelength)[:, None, None]
    # the path beyond |z|, without cancellation
    phase = k * (rho2 / (r + z)) + _start(wavelength, z, envelope)
    strength = z / (2 * math.pi * r**2)
    near, far = strength / r, strength * k
    cosine, sine = phase.cos(), phase.sin()
    imaginary = near * sine - far * cosine
    return torch.complex(near * cosine + far * sine, imaginary if distance >= 0 else -imaginary)


def fresnel_response(
    y: torch.Tensor,
    x: torch.Tensor,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    *,
    envelope: bool = False,
) -> torch.Tensor:
    """Paraxial impulse response ``exp(i k z) / (i w z) exp(i pi (x^2 + y^2) / (w z))`` in 1/m^2.

    Source: Goodman, Introduction to Fourier Optics, 3rd ed., eq. (4-16).
    """
    area = (wavelength * distance)[:, None, None]
    phase = math.pi * (y**2 + x**2) / area + _start(wavelength, distance, envelope)
    return torch.complex(phase.sin(), -phase.cos()) / area
