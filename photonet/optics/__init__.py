"""Scalar wave optics as pure functions on tensors: propagation, light sources, elements, imaging."""

from __future__ import annotations

from .elements import circular_aperture, ideal_lens, quadratic_lens, rectangular_aperture
from .plan import Plan, plan
from .propagate import propagate
from .psf import bin_pixels, convolve, psf, shift, signed
from .sources import gaussian_beam, plane_wave, point_source

__all__ = [
    "Plan",
    "bin_pixels",
    "circular_aperture",
    "convolve",
    "gaussian_beam",
    "ideal_lens",
    "plan",
    "plane_wave",
    "point_source",
    "propagate",
    "psf",
    "quadratic_lens",
    "rectangular_aperture",
    "shift",
    "signed",
]
