"""What free space does to light: transfer functions (frequency) and impulse responses (space).

All are even in both axes, so callers evaluate them on a quadrant. Phases are computed in float64 with
the carrier ``k z`` taken out before the subtraction can cost digits, and the carrier is put back as one
wrapped scalar per wavelength: ``k z`` is 1e7 rad at 1 m, where float32 has no phase left and even
float64 keeps only 1e-9 rad.

Shapes: coordinates ``y`` [ny, 1] and ``x`` [1, nx] (or frequencies ``fy``, ``fx``) in m (1/m), wavelength
[L] in m, distance a scalar in m, all float64; the results are complex128 [L, ny, nx]. Cast them afterwards: a
phase cast down before its sine is taken shares its rounding with its neighbours, 9e-7 of a smooth field.
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


def _turns(wavelength: torch.Tensor, distance: torch.Tensor, envelope: bool) -> torch.Tensor:
    """The carrier in turns, [L, 1, 1]."""
    turns = torch.zeros_like(wavelength) if envelope else torch.fmod(distance, wavelength) / wavelength
    return turns[:, None, None]


def _circle(turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of turns; much faster than `torch.polar`."""
    phase = 2 * math.pi * (turns - turns.detach().round())
    return phase.cos(), phase.sin()


def angular_spectrum(
    fy: torch.Tensor,
    fx: torch.Tensor,
    wavelength: torch.Tensor,
    distance: torch.Tensor,
    *,
    travelling: bool = False,
    envelope: bool = False,
) -> torch.Tensor:
    """Exact transfer function ``exp(i z sqrt(k^2 - kx^2 - ky^2))``.

    With ``travelling`` the caller says that evanescent waves do not matter; they do not decay then.

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
    # kz - k = -k sin^2 / (1 + cos): no cancellation at small angles
    turns = sine2.clamp_max(1) / (1 + cosine2.clamp_min(1e-300).sqrt()) * (-distance / wave)
    cosine, sine = _circle(turns + _turns(wavelength, distance, envelope))
    if travelling:
        return torch.complex(cosine, sine)
    decay = (cosine2.neg().clamp_min(1e-300).sqrt() * (-2 * math.pi * distance.abs() / wave)).exp()
    return torch.complex(decay * cosine, decay * sine)


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
    turns = -(wavelength * distance)[:, None, None] / 2 * (fy**2 + fx**2)
    return torch.complex(*_circle(turns + _turns(wavelength, distance, envelope)))


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
    z, wave = distance.abs(), wavelength[:, None, None]
    rho2 = y**2 + x**2
    r = (rho2 + z**2).sqrt()
    # the path beyond |z|, without cancellation; backwards the phase turns the other way
    way = torch.where(distance < 0, -1.0, 1.0) / wave
    cosine, sine = _circle(rho2 / (r + z) * way + _turns(wavelength, distance, envelope))
    inverse = r.reciprocal()
    square = inverse * inverse
    near = square * inverse * (z / (2 * math.pi))
    far = square * (z * way)
    return torch.complex(near * cosine + far * sine, near * sine - far * cosine)


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
    turns = (y**2 + x**2) / (2 * area) + _turns(wavelength, distance, envelope)
    cosine, sine = _circle(turns)
    return torch.complex(sine, -cosine) / area
