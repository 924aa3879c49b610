import math

import pytest
import torch

from photonet import Grid
from photonet.errors import GridMismatch, SamplingError, SamplingWarning
from photonet.optics import gaussian_beam, propagate
from photonet.optics.fourier import matrix_transform, zoom_transform


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("shape", [(40, 31), (300, 21)])
def test_other_pitches_see_the_same_beam(exact_gaussian, shape):
    grid, wave = Grid((128, 150), (10e-6, 8e-6)), 633e-9
    out = Grid(shape, (1.5e-6, 7e-6), centre=(30e-6, -50e-6))
    u = propagate(gaussian_beam(grid, wave, waist=100e-6), grid, wave, 0.02, output=out)[0]
    assert relative(u, exact_gaussian(out, 100e-6, wave, 0.02)) < 1e-9


def test_chirp_is_the_fine_transform():
    u = torch.randn(3, 33, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    fine = torch.fft.fft(u, n=33 * 16)

    def one(value):
        return torch.tensor(value, dtype=torch.float64)

    chirp = zoom_transform(u, 1, one(1 / (33 * 16)), one(100 / (33 * 16)), one(0.0), 50)
    assert relative(chirp, fine[:, 100:150]) < 1e-10
    f = torch.arange(100, 150, dtype=torch.float64) / (33 * 16)
    matrix = matrix_transform(
        u,
        one(0.0)[None] + torch.arange(3).double() / 3,
        torch.arange(3).double(),
        f,
        torch.arange(33).double(),
    )
    assert relative(matrix, torch.fft.fft(fine, dim=0)[:, 100:150]) < 1e-12


@pytest.mark.parametrize("count", [24, 257])
@pytest.mark.parametrize("method", ["fresnel_zoom", "fraunhofer"])
def test_one_sum_gives_the_paraxial_beam(method, count):
    wave, waist = 633e-9, 100e-6
    grid = Grid(129, 12e-6)
    z = 0.2 if method == "fresnel_zoom" else 20.0  # 20 m is 400 Rayleigh lengths
    width = waist * math.hypot(1, z * wave / (math.pi * waist**2))
    out = Grid(count, 3 * width / count, centre=(0.1 * width, 0))
    u = propagate(gaussian_beam(grid, wave, waist=waist), grid, wave, z, output=out, method=method)
    expected = gaussian_beam(out, wave, waist=waist, distance=z)
    # Fraunhofer leaves out the source's curvature, of the order of Rayleigh length over distance
    assert relative(u, expected) < (1e-9 if method == "fresnel_zoom" else 5e-3)


@pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
@pytest.mark.parametrize("count", [3, 260])
def test_zoomed_fields_have_gradients(random_field, count):
    grid, out = Grid((4, 3), 5e-6), Grid((2, count), (4e-6, 0.1e-6))
    u = random_field(1, 4, 3).requires_grad_()
    z = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    wave = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    for method in ("auto", "fresnel_zoom"):

        def run(u, z, wave, method=method):
            v = propagate(u, grid, wave * 1e-6, z * 1e-4, output=out, method=method)
            return v if count < 10 else v[..., ::100]

        assert torch.autograd.gradcheck(run, (u, z, wave), eps=1e-8, atol=1e-2, rtol=1e-4)


def test_methods_that_keep_the_pitch_say_so(random_field):
    with pytest.raises(GridMismatch, match="output: expected the pitch of the source"):
        propagate(
            random_field(1, 8, 8),
            Grid(8, 1e-6),
            5e-7,
            1e-3,
            output=Grid(8, 2e-6),
            method="rayleigh_sommerfeld",
        )


def test_window_beyond_the_steepest_light_is_refused(random_field):
    far = Grid(8, 4e-6, centre=(0, 1e-3))
    with pytest.raises(SamplingError, match=r"output: expected a window within .* 0\.0625"):
        propagate(random_field(1, 8, 8), Grid(8, 4e-6), 5e-7, 1e-3, output=far)


def test_unsuitable_methods_warn_with_both_numbers_or_raise(random_field):
    grid, wave = Grid(64, 2e-6), 5e-7
    noise = random_field(1, 64, 64)
    with pytest.warns(SamplingWarning, match=r"over \|z\| = 0.0006 m .* of at least 0.00102 m or"):
        propagate(noise, grid, wave, 6e-4, method="rayleigh_sommerfeld")
    with pytest.raises(SamplingError, match="paraxial"):
        propagate(noise, grid, wave, 6e-4, method="fresnel", strict=True)
    # the same methods with light that suits them keep quiet
    beam = gaussian_beam(grid, wave, waist=20e-6)
    propagate(beam, grid, wave, 6e-4, method="rayleigh_sommerfeld")
    propagate(beam, grid, wave, 2e-3, method="fresnel", strict=True)


def test_predicted_paraxial_error_is_the_real_one():
    from photonet.optics import plan

    grid, wave = Grid(256, 0.5e-6), 500e-9
    beam = gaussian_beam(grid, wave, waist=2e-6)
    predicted = plan(grid, wave, 3e-4, method="fresnel", field=beam).paraxial_error
    exact = propagate(beam, grid, wave, 3e-4)
    with pytest.warns(SamplingWarning, match="paraxial"):
        real = relative(propagate(beam, grid, wave, 3e-4, method="fresnel"), exact)
    assert real == pytest.approx(predicted, rel=0.05)


def test_fraunhofer_too_near_says_how_far(random_field):
    grid, wave = Grid(65, 10e-6), 633e-9
    beam = gaussian_beam(grid, wave, waist=100e-6)
    with pytest.warns(SamplingWarning, match="leaves out the curvature of the source"):
        propagate(beam, grid, wave, 0.2, output=Grid(8, 50e-6), method="fraunhofer")


@pytest.mark.parametrize("count", [9, 300])
def test_tracing_back_is_the_conjugate(count):
    grid, wave, out = Grid(65, 10e-6), 633e-9, Grid((count, 20), 10e-6)
    beam = gaussian_beam(grid, wave, waist=100e-6)  # real at its waist
    forth, back = (propagate(beam, grid, wave, z, output=out, method="fresnel_zoom") for z in (0.1, -0.1))
    torch.testing.assert_close(back, forth.conj())


@pytest.mark.parametrize("pitch", [5e-6, 2e-6])
def test_zero_distance_resamples(pitch):
    grid, out = Grid(96, 5e-6), Grid((40, 51), pitch, centre=(12e-6, -20e-6))
    u = propagate(gaussian_beam(grid, 633e-9, waist=40e-6), grid, 633e-9, 0.0, output=out)
    assert relative(u, gaussian_beam(out, 633e-9, waist=40e-6)) < 1e-9
