"""Scalar wave optics as pure functions on tensors: propagation, light sources, elements, imaging."""

from __future__ import annotations

from .beams import gaussian_schell, hermite_beam, laguerre_beam
from .elements import circular_aperture, ideal_lens, quadratic_lens, rectangular_aperture
from .gratings import aspheric_sag, blazed_grating, levels, zone_plate
from .irradiance import irradiance
from .ledger import Entry, Ledger
from .plan import Plan, plan
from .propagate import propagate
from .psf import bin_pixels, convolve, psf, shift
from .relay import focal_plane, four_f, pupil_grid
from .scenes import collected_power, image_display
from .sources import gaussian_beam, plane_wave, point_source
from .streaming import stream_psf
from .tilted import rotate_plane
from .varying import convolve_low_rank, convolve_patches, low_rank
from .zernike import noll, osa, wavefront, zernike

__all__ = [
    "Entry",
    "Ledger",
    "Plan",
    "aspheric_sag",
    "bin_pixels",
    "blazed_grating",
    "circular_aperture",
    "collected_power",
    "convolve",
    "convolve_low_rank",
    "convolve_patches",
    "focal_plane",
    "four_f",
    "gaussian_beam",
    "gaussian_schell",
    "hermite_beam",
    "ideal_lens",
    "image_display",
    "irradiance",
    "laguerre_beam",
    "levels",
    "low_rank",
    "noll",
    "osa",
    "plan",
    "plane_wave",
    "point_source",
    "propagate",
    "psf",
    "pupil_grid",
    "quadratic_lens",
    "rectangular_aperture",
    "rotate_plane",
    "shift",
    "stream_psf",
    "wavefront",
    "zernike",
    "zone_plate",
]
