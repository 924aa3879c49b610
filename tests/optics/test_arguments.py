"""What does not fit is named, wherever torch would complain of its own inside."""

import pytest
import torch

from photonet import Field, Grid, Mask, simulate
from photonet.errors import GridMismatch, InvalidArgument
from photonet.nn import Aperture, Lens, PhaseMask
from photonet.optics import (
    aspheric_sag,
    bin_pixels,
    blazed_grating,
    convolve_low_rank,
    convolve_patches,
    focal_plane,
    four_f,
    irradiance,
    levels,
    rotate_plane,
    shift,
    wavefront,
    zernike,
    zone_plate,
)

GRID, WAVES = Grid((6, 5), 2e-6), [4e-7, 5e-7, 6e-7]
PLANE, POINT = torch.ones(6, 5), torch.tensor(0.5)


def field(*lead):
    return torch.ones(*lead, 6, 5, dtype=torch.complex64)


def send_batches():
    mask = Mask.from_phase(torch.zeros(2, 6, 5), pitch=2e-6)
    light = Field.from_array(field(3, 1), pitch=2e-6, wavelength=5e-7)
    simulate(mask, light, distance=1e-4)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Lens(GRID, WAVES, 1e-3)(field(2)), "u"),
        (lambda: Lens(GRID, 5e-7, 1e-3)(field(2)), "u"),
        (lambda: PhaseMask(PLANE, wavelength=WAVES, design_wavelength=5e-7)(field(2)), "u"),
        (lambda: PhaseMask(PLANE.expand(3, 6, 5))(field(2, 1)), "u"),
        (lambda: Aperture(PLANE.expand(3, 6, 5))(field(2, 1)), "u"),
        (send_batches, "field"),
        (lambda: four_f(field(1), GRID, 5e-7, 1e-2, pupil=torch.ones(7, 7)), "pupil"),
        (lambda: shift(PLANE.expand(3, 6, 5), torch.zeros(2), 1), "dy"),
    ],
)
def test_axes_that_do_not_fit_are_named(call, name):
    with pytest.raises(GridMismatch, match=f"^{name}: expected"):
        call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: PhaseMask(PLANE)(5), "u"),
        (lambda: four_f(field(1), GRID, 5e-7, 1e-2, pupil="open"), "pupil"),
        (lambda: blazed_grating(3, 5e-7), "grid"),
        (lambda: zone_plate(3, 5e-7, 1e-3), "grid"),
        (lambda: aspheric_sag(3, 0.1), "grid"),
        (lambda: zernike(2, 0, 1.0, POINT), "y"),
        (lambda: zernike(2, 0, POINT, 0.5), "x"),
        (lambda: zernike(2, 0.0, POINT, POINT), "m"),
        (lambda: wavefront(GRID, 1e-5, [1, 2]), "coefficients"),
        (lambda: irradiance(PLANE), "u"),
        (lambda: bin_pixels(torch.ones(3), 1), "irradiance"),
        (lambda: bin_pixels([1.0], 1), "irradiance"),
        (lambda: shift(PLANE.long(), 1, 1), "irradiance"),
        (lambda: shift(PLANE.half(), 1, 1), "irradiance"),
        (lambda: shift(PLANE + 0j, 1, 1), "irradiance"),
        (lambda: rotate_plane([1], GRID, 5e-7), "u"),
        (lambda: focal_plane([1], GRID, 5e-7, 1e-2, GRID), "u"),
        (lambda: convolve_patches([1], torch.zeros(1, 1, 1, 1)), "scene"),
        (lambda: convolve_patches(PLANE, [1]), "psfs"),
        (lambda: convolve_low_rank(PLANE, [1], [2]), "modes"),
        (lambda: levels([1.0], 3), "phase"),
    ],
)
def test_arguments_of_another_kind_are_named(call, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        call()
