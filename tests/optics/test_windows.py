"""Output windows anywhere: beside the axis, of another size or pitch, forwards and backwards."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Grid
from photonet.errors import SamplingError, SamplingWarning
from photonet.optics import gaussian_beam, kernels, plan, propagate

WAVE, PITCH = 532e-9, 0.6e-6
SOURCE = Grid((48, 45), PITCH)


def relative(a, b):
    return float((a - b).norm() / b.norm())


def tilted_beam(grid, waist, sines):
    """A Gaussian that leaves under sin(theta) = (y, x)."""
    y, x = grid.mesh()
    way = sines[0] * y + sines[1] * x
    return torch.exp(-(y**2 + x**2) / waist**2 + 2j * math.pi / WAVE * way)


def direct_sum(u, grid, output, z, response=kernels.rayleigh_sommerfeld):
    """Over all source samples with their impulse response, row by row of the output."""
    wave, distance = torch.tensor([WAVE], dtype=torch.float64), torch.tensor(z, dtype=torch.float64)
    (ys, xs), rows = grid.mesh(), []
    for y in output.y:
        ways = (output.x[:, None] - xs).reshape(-1, 1)
        h = response((y - ys).reshape(1, -1), ways, wave, distance)[0].unflatten(0, (-1, grid.shape[1]))
        rows.append(torch.einsum("oxy,yx->o", h, u) * grid.cell)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("method", "pitch"),
    [
        *((m, PITCH) for m in ("auto", "angular_spectrum", "rayleigh_sommerfeld", "fresnel")),
        *((m, (1e-6, 0.45e-6)) for m in ("auto", "angular_spectrum", "fresnel")),
    ],
)
@pytest.mark.parametrize("z", [1.2e-4, -1.2e-4])
def test_each_quadrant_gets_the_light_that_lands_there(z, method, pitch):
    """Backwards the same beam comes from the other side, so the window is there."""
    response = kernels.fresnel_response if method == "fresnel" else kernels.rayleigh_sommerfeld
    steep = 0.05 if method == "fresnel" else 0.2  # paraxial within 1 % of the field
    for sy, sx in [(1, 1), (1, -1), (-1, 1), (-1, -1), (0, -1), (1, 0)]:
        sines = (steep * sy, 0.7 * steep * sx)
        u = tilted_beam(SOURCE, 7e-6, sines)
        ray = z / math.sqrt(1 - sines[0] ** 2 - sines[1] ** 2)
        output = Grid((16, 21), pitch, (ray * sines[0] + 1e-6, ray * sines[1]))
        found = propagate(u[None], SOURCE, WAVE, z, output=output, method=method)[0]
        # the fade of the light beside the window rings with 1e-3; light that is lost would be 0.3 to 1
        assert relative(found, direct_sum(u, SOURCE, output, z, response)) < 2e-3


@pytest.mark.parametrize("method", ["auto", "rayleigh_sommerfeld", "angular_spectrum", "fresnel"])
@pytest.mark.parametrize("z", [4e-5, -4e-5])
def test_a_corner_is_the_crop_of_the_whole(method, z):
    """The first sample upon the source's first: no shift, but lags further one way than the other."""
    u, z = tilted_beam(SOURCE, 7e-6, (0.02, -0.03)), 10 * z if method == "rayleigh_sommerfeld" else z
    whole = propagate(u[None], SOURCE, WAVE, z, method=method)[0]
    (height, width), (rows, columns) = SOURCE.shape, (23, 20)
    for top in (0, height - rows):
        for left in (0, width - columns):
            middle = float(SOURCE.y[top + rows // 2]), float(SOURCE.x[left + columns // 2])
            output = Grid((rows, columns), PITCH, middle)
            part = propagate(u[None], SOURCE, WAVE, z, output=output, method=method)[0]
            expected = whole[top : top + rows, left : left + columns]
            # the transfer functions of the two windows keep other bands
            assert relative(part, expected) < (1e-12 if method == "rayleigh_sommerfeld" else 2e-3)


@pytest.mark.filterwarnings("ignore:predicted error")  # there is no light to compare what rings with
@pytest.mark.parametrize("pitch", [2e-6, 3e-6])
@pytest.mark.parametrize("z", [1e-2, -1e-2])
def test_a_window_that_the_light_misses_is_announced(z, pitch):
    grid, output = Grid(128, 2e-6), Grid(64, pitch, (0.0, 1e-3))
    beam = gaussian_beam(grid, WAVE, waist=30e-6)
    with pytest.warns(SamplingWarning, match=r"the output misses the light: 64 x 64 .* of it goes"):
        assert float(propagate(beam, grid, WAVE, z, output=output).abs().max()) < 1e-3 * float(
            beam.abs().max()
        )
    with pytest.raises(SamplingError, match="output: expected a window that the light reaches"):
        propagate(beam, grid, WAVE, z, output=output, strict=True)
    _, x = grid.mesh()
    tilted = beam * torch.exp(2j * math.pi / WAVE * math.copysign(0.1, z) * x)
    propagate(tilted, grid, WAVE, z, output=output, strict=True)
    propagate(0 * beam, grid, WAVE, z, output=output, strict=True)  # no light, nowhere to look for it


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    first=st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
    backwards=st.booleans(),
)
def test_any_window_on_the_lattice_is_a_part_of_any_larger_one(shape, first, backwards):
    """Rows and columns ``first`` on, counted from the source's own, by the exact convolution of both."""
    z = -5e-4 if backwards else 5e-4
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(1, *SOURCE.shape, dtype=torch.complex128, generator=generator)

    def window(first, shape):
        middle = [f + n // 2 - m // 2 for f, n, m in zip(first, shape, SOURCE.shape, strict=True)]
        output = Grid(shape, PITCH, [i * PITCH for i in middle])
        return propagate(u, SOURCE, WAVE, z, output=output, method="rayleigh_sommerfeld")

    large = window((-60, -60), (190, 190))
    top, left = (f + 60 for f in first)
    expected = large[:, top : top + shape[0], left : left + shape[1]]
    torch.testing.assert_close(window(first, shape), expected, rtol=0, atol=1e-11 * float(large.abs().max()))


@pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
@settings(deadline=None, max_examples=30)
@given(
    sines=st.tuples(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25)),
    pitch=st.floats(0.3, 1.2),
    z=st.floats(5e-5, 5e-4),
    backwards=st.booleans(),
)
def test_the_light_is_in_any_window_on_its_way(sines, pitch, z, backwards):
    u = tilted_beam(SOURCE, 5e-6, sines)
    z = -z if backwards else z
    ray = z / math.sqrt(1 - sines[0] ** 2 - sines[1] ** 2)
    n = max(3, round(12 / pitch))
    output = Grid(n, pitch * 1e-6, (ray * sines[0], ray * sines[1]))
    found = propagate(u[None], SOURCE, WAVE, z, output=output)[0]
    predicted = plan(SOURCE, WAVE, z, output, field=u[None]).error
    assert relative(found, direct_sum(u, SOURCE, output, z)) < max(2e-3, 3 * predicted)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.0, 45e-6)])
def test_a_sharp_end_is_predicted_at_the_pitch_of_the_source_too(centre):
    """Of unlike pitches (y, x): the spectrum along x is cut next to the light that arrives, and rings."""
    grid, z = Grid((52, 34), (1.8e-6, 0.26e-6)), 4e-4
    y, x = grid.mesh()
    u = torch.exp(-((y / 12e-6) ** 2) - (x / 1e-6) ** 2 + 2j * math.pi / WAVE * 0.09 * x)
    output = Grid((25, 43), grid.pitch, centre)
    with pytest.warns(SamplingWarning, match="rings, because there is little room .* more padding"):
        found = propagate(u[None], grid, WAVE, z, output=output)[0]
    true = relative(found, direct_sum(u, grid, output, z))
    predicted = plan(grid, WAVE, z, output, field=u[None]).error
    assert 0.01 < true < predicted < 30 * true
    with pytest.raises(SamplingError, match="rings"):
        propagate(u[None], grid, WAVE, z, output=output, method="angular_spectrum", strict=True)


@pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
def test_the_sharp_end_of_the_spectrum_does_not_ring_beside_the_axis_either():
    """A window so wide that light of all slopes arrives: the kernels are mixed (`Plan.smooth`).

    Of one bright sample, on the source's lattice and where the pitch samples it, the result is then the
    impulse response itself. Left of the axis the mixture was made for the wrong lags: 1e-2.
    """
    grid, z = Grid(41, PITCH), -5e-4
    output = Grid((15, 36), (60 * PITCH, 30 * PITCH), (0.0, 250 * PITCH))
    u = torch.zeros(grid.shape, dtype=torch.complex128)
    u[20, 20] = 1
    assert plan(grid, WAVE, z, output).smooth
    found = propagate(u[None], grid, WAVE, z, output=output)[0]
    y, x = output.mesh()
    near = ((y / z).abs() < 0.2) & ((x / z).abs() < 0.2)
    assert relative(found[near], direct_sum(u, grid, output, z)[near]) < 1e-11


def test_a_window_around_the_axis_keeps_half_a_kernel():
    """Half the memory and half the time; even a window of another pitch."""
    from photonet.optics.transfer import transfer

    waves, z = torch.tensor([WAVE], dtype=torch.float64), torch.tensor(1e-3, dtype=torch.float64)
    steps = tuple(torch.tensor(PITCH, dtype=torch.float64) for _ in range(2))
    for output in (SOURCE, Grid((30, 31), 1e-6)):
        choice = plan(SOURCE, waves, 1e-3, output)
        kernel = transfer(choice, SOURCE, waves, z, output, steps, torch.complex64)
        assert kernel.shape == (1, choice.shape[1] // 2 + 1, choice.shape[0])
