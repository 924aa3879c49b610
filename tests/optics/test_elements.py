import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Grid
from photonet.errors import InvalidArgument
from photonet.optics import (
    aspheric_sag,
    circular_aperture,
    ideal_lens,
    propagate,
    quadratic_lens,
    rectangular_aperture,
)


def test_ideal_lens_focuses_to_its_diffraction_limit():
    """Peak on the axis, and the irradiance there is (A / (wavelength f))^2 to the paraxial order."""
    grid, wave, f, diameter = Grid(256, 2e-6), 633e-9, 10e-3, 400e-6
    hole = circular_aperture(grid, diameter)
    u = hole * torch.exp(1j * ideal_lens(grid, wave, f))
    v = propagate(u, grid, wave, f)[0].abs().square()
    assert divmod(int(v.argmax()), 256) == (128, 128)
    assert float(v.max()) == pytest.approx((math.pi * diameter**2 / 4 / wave / f) ** 2, rel=1e-3)


def test_design_wavelength_keeps_the_phase():
    grid = Grid(32, 1e-6)
    phase = ideal_lens(grid, [450e-9, 635e-9], 1e-3, design_wavelength=532e-9)
    torch.testing.assert_close(phase[0], phase[1])
    torch.testing.assert_close(phase[:1], ideal_lens(grid, 532e-9, 1e-3))


@settings(deadline=None, max_examples=30)
@given(
    st.floats(2.0, 20.0), st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.sampled_from([(30, 31), (41, 36)])
)
def test_apertures_have_their_exact_area_wherever_they_lie(size, cy, cx, shape):
    grid, centre = Grid(shape, (0.9, 1.1)), (cy, cx)
    disc = circular_aperture(grid, size, centre=centre)
    assert float(disc.sum()) * grid.cell == pytest.approx(math.pi * size**2 / 4, rel=1e-12)
    box = rectangular_aperture(grid, (size, size / 2), centre=centre)
    assert float(box.sum()) * grid.cell == pytest.approx(size**2 / 2, rel=1e-12)
    for hole in (disc, box):
        assert 0 <= float(hole.min()) <= float(hole.max()) <= 1


def test_edge_samples_hold_their_part_of_the_circle():
    """Against counting 400 x 400 points in every sample."""
    grid = Grid(8, 1.0)
    t = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 - 0.5
    y, x = (a[..., None, None] for a in grid.mesh())
    counted = (((y + t[:, None]) ** 2 + (x + t) ** 2) <= 2.7**2).double().mean((-2, -1))
    torch.testing.assert_close(circular_aperture(grid, 5.4), counted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: circular_aperture(g, 1e-6, centre=(math.nan, 0)), "centre: expected a finite position"),
        (lambda g: rectangular_aperture(g, 1e-6, centre=(0, math.nan)), "centre: expected a finite position"),
        (lambda g: circular_aperture("grid", 1e-6), "grid: expected a Grid, got str"),
        (lambda g: rectangular_aperture(None, 1e-6), "grid: expected a Grid"),
        (lambda g: ideal_lens((8, 8), 5e-7, 1e-3), "grid: expected a Grid"),
        (lambda g: aspheric_sag(g, 0.1, coefficients=[math.nan]), "coefficients: expected finite numbers"),
    ],
)
def test_bad_elements_are_named(call, words):
    with pytest.raises(InvalidArgument, match=f"^{words}"):
        call(Grid(8, 1e-6))


@pytest.mark.parametrize("hole", [circular_aperture, rectangular_aperture])
def test_place_and_size_of_an_aperture_have_gradients(hole):
    place, size = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([0.2, 0.1], [3.3, 3.7]))
    size = size if hole is rectangular_aperture else size[0].detach().requires_grad_()

    def transmission(size, place):
        return hole(Grid((5, 6), 1.0), size, centre=place)

    assert torch.autograd.gradcheck(transmission, (size, place))
    assert torch.autograd.gradgradcheck(transmission, (size, place))


@pytest.mark.parametrize(("diameter", "centre"), [(5.0, (-0.5, -0.5)), (4.9, (0.0, 0.0)), (5.0, (0.0, 0.5))])
def test_circles_that_touch_the_lattice_have_gradients(diameter, centre):
    """Their edge ends on edges of samples, where the area has a slope but its parts have none."""
    grid = Grid(10, 1.0)
    weight = torch.randn(10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def light(place):
        return (circular_aperture(grid, diameter, centre=place) * weight).sum()

    place = torch.tensor(centre, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(light(place), place)
    for axis in (0, 1):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = 1e-6
        difference = (light(place.detach() + step) - light(place.detach() - step)) / 2e-6
        # beside an edge that only just touches, the area goes with the power 3/2 of the step
        assert float(slope[axis]) == pytest.approx(float(difference), abs=1e-2)


def test_the_area_of_a_circle_grows_by_its_circumference():
    diameter = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    circular_aperture(Grid(10, 1.0), diameter).sum().backward()
    assert float(diameter.grad) == pytest.approx(math.pi * 5.0 / 2, rel=1e-9)


@pytest.mark.parametrize("lens", [ideal_lens, quadratic_lens])
def test_lens_without_focus_is_refused(lens):
    with pytest.raises(InvalidArgument, match=r"^focal_length: expected"):
        lens(Grid(8, 1e-6), 5e-7, 0.0)
