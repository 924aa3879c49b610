import math

import pytest
import torch

from photonet import Grid
from photonet.errors import InvalidArgument
from photonet.optics import aspheric_sag, blazed_grating, levels, propagate, zone_plate


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_first_order_of_a_stepped_grating_is_sinc_squared(count):
    """Steps of 16 fine samples each, so that the sampling itself costs sinc^2(1 / (16 count)) only."""
    n = 16 * count
    phase = blazed_grating(Grid((1, n), 1e-6, centre=(0, (n // 2 + 0.5) * 1e-6)), n * 1e-6)
    stepped = levels(phase - math.pi / count, count)  # steps centred on the ramp
    order = torch.fft.fft(torch.exp(1j * stepped))[0, 1].abs() / n
    sinc = math.sin(math.pi / count) / (math.pi / count)
    fine = math.sin(math.pi / n) / (math.pi / n)
    assert float(order) ** 2 * fine**2 == pytest.approx(sinc**2, rel=1e-9)


def test_blazed_grating_sends_light_to_its_angle():
    grid, wave, period = Grid(256, 1e-6), 500e-9, 8e-6
    y, x = grid.mesh()
    beam = torch.exp(-(y**2 + x**2) / (30e-6) ** 2) * torch.exp(1j * blazed_grating(grid, period, angle=0.5))
    v = propagate(beam[None], grid, wave, 1e-3)[0].abs().square()
    sine = wave / period
    way = 1e-3 * sine / math.sqrt(1 - sine**2)
    assert float((v * x).sum() / v.sum()) == pytest.approx(way * math.cos(0.5), rel=5e-3)
    assert float((v * y).sum() / v.sum()) == pytest.approx(way * math.sin(0.5), rel=5e-3)


def test_zone_plate_focuses_a_tenth_of_the_light():
    grid, wave, f = Grid(512, 1e-6), 500e-9, 4e-3
    y, x = grid.mesh()
    pupil = (y**2 + x**2 < (200e-6) ** 2).double()
    plate = (zone_plate(grid, wave, f) * pupil).to(torch.complex128)
    peak = float(propagate(plate, grid, wave, f)[0, 256, 256].abs())
    perfect = float(pupil.sum()) * grid.cell / wave / f
    assert peak / perfect == pytest.approx(1 / math.pi, rel=0.02)


def test_conic_surfaces():
    grid = Grid((1, 5), 1e-3)
    sphere = aspheric_sag(grid, 10e-3)
    assert float(sphere[0, 4]) == pytest.approx(10e-3 - math.sqrt(96e-6))
    assert float(aspheric_sag(grid, -10e-3)[0, 4]) == pytest.approx(-float(sphere[0, 4]))
    assert float(aspheric_sag(grid, 1.0, conic=-1, coefficients=(2.0, 3.0))[0, 4]) == pytest.approx(
        2e-6 + 2.0 * (2e-3) ** 4 + 3.0 * (2e-3) ** 6
    )
    with pytest.raises(InvalidArgument, match="radius"):
        aspheric_sag(grid, 0)
