"""From geometry to light: pure functions that give the complex transmission of each sample.

All return [..., L, y, x] for lengths [..., y, x] and wavelengths [L], in the precision of the lengths: phases
are computed and wrapped in float64, then cast.
"""

from __future__ import annotations

import math
from typing import cast

import torch

from ..arrays import complex_dtype
from ..fabrication import Geometry, fringed_phases, overlay_cells
from ..materials import Material, MetaAtomLibrary
from ..optics.phase import wrapped

__all__ = ["phase_response", "pillar_response", "relief_response", "turn_height"]

# Gauss-Legendre points over the height of a pillar (foot at +1/2) and their weights: for a taper of 80 nm
# within 5e-6 rad of the integral
SLABS = ((-(0.15**0.5), 5 / 18), (0.0, 8 / 18), (0.15**0.5, 5 / 18))


def phase_response(
    geometry: Geometry, base: torch.Tensor, wavelength: torch.Tensor, design: float | None
) -> torch.Tensor:
    """exp(i phi), with phi as it is at the design wavelength and scaled by design / wavelength elsewhere.

    Args:
        geometry: with ``phase`` in rad, and the crosstalk of its pixels if there is one.
        base: what to add to that phase, [..., 1, 1].
        wavelength: in m, [L].
        design: design wavelength in m; None for a phase that is the same at every wavelength.
    """
    like = cast(torch.Tensor, geometry.phase)
    scale = torch.ones_like(wavelength[:1]) if design is None else design / wavelength
    scale = _column(scale, like)
    t = torch.zeros((), dtype=complex_dtype(like.dtype), device=like.device)
    for weight, phase in fringed_phases(geometry):
        t = t + weight * _phasor(_layer(phase + base) * scale, like)
    return t.expand(*t.shape[:-3], wavelength.numel(), -1, -1)


def relief_response(
    geometry: Geometry, wavelength: torch.Tensor, material: Material, surround: Material
) -> torch.Tensor:
    """exp(i 2 pi h (n - n_surround) / wavelength), averaged over the parts of a sample that differ.

    Args:
        geometry: with ``height`` and ``index``, and an overlay of masks if there is one.
        wavelength: in m, [L].
        material, surround: of the relief and of the space beside it; a complex index absorbs.
    """
    height = cast(torch.Tensor, geometry.height)
    contrast = _column(material.index(wavelength) - surround.index(wavelength), height)
    contrast = contrast + _layer(cast(torch.Tensor, geometry.index))
    per_metre = 2 * math.pi * contrast / _column(wavelength, height)
    t = torch.zeros((), dtype=complex_dtype(height.dtype), device=height.device)
    for area, extra in overlay_cells(geometry):
        phase = (_layer(height) + _layer(extra.to(height.device))) * per_metre
        part = _phasor(phase.real, height)
        if phase.is_complex():
            part = part * torch.exp(-phase.imag).to(part.real)
        t = t + _layer(area).to(part.real) * part
    return t


def turn_height(material: Material, surround: Material, wavelength: float) -> float:
    """Height in m of a relief that delays light of that wavelength in m by one turn.

    Example:
        >>> from photonet.materials import load
        >>> round(turn_height(load("SiO2"), load("air"), 525e-9) * 1e9)
        1139
    """
    contrast = material.index(wavelength) - surround.index(wavelength)
    return wavelength / float(contrast.real)


def pillar_response(geometry: Geometry, wavelength: torch.Tensor, library: MetaAtomLibrary) -> torch.Tensor:
    """exp(i phi) of pillars: phi from the library, in proportion to height, averaged over leaning walls.

    Args:
        geometry: with ``width`` and ``height``, and ``taper`` and ``missing`` if there are such.
        wavelength: in m, [L], of those in the library.
        library: where width becomes phase. An empty cell is its zero of phase and transmits 1.
    """
    width = cast(torch.Tensor, geometry.width)
    scale = _layer(cast(torch.Tensor, geometry.height)) / library.height
    if geometry.taper is None:
        phase = scale * library.phase(width, wavelength)
    else:
        phase = torch.zeros((), dtype=torch.float64, device=width.device)
        for depth, weight in SLABS:
            slab = (width + depth * geometry.taper).clamp(0, library.period)
            slab = torch.where(width > 0, slab, width)
            phase = phase + weight * scale * library.phase(slab, wavelength)
    t = _phasor(phase, width)
    if geometry.missing is None:
        return t
    return t + geometry.missing[..., None, :, :].to(t.real) * (1 - t)


def _phasor(phase: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """exp(i phase) of a float64 phase in the precision of ``like``, wrapped before the cast."""
    angle = wrapped(phase, like.dtype)
    return torch.complex(torch.cos(angle), torch.sin(angle))


def _layer(values: torch.Tensor) -> torch.Tensor:
    """[..., y, x] in float64 with an axis for the wavelength: [..., 1, y, x]."""
    return values.to(torch.float64)[..., None, :, :]


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[L] -> [L, 1, 1] on the device of ``like``."""
    return values.to(like.device)[:, None, None]
