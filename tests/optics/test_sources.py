import math

import pytest
import torch

from photonet import Grid
from photonet.errors import InvalidArgument
from photonet.optics import gaussian_beam, gaussian_schell, plane_wave, point_source, propagate


def test_tilted_plane_wave_moves_by_its_angle():
    grid, wave = Grid(256, 2e-6), 633e-9
    envelope = gaussian_beam(grid, wave, waist=40e-6)
    v = propagate(envelope * plane_wave(grid, wave, angle=(0.03, -0.02)), grid, wave, 2e-3)[0].abs().square()
    y, x = grid.mesh()
    # the centre of gravity moves by the mean ray slope, tan(theta) up to the spread of the beam squared
    sy, sx = math.sin(0.03), math.sin(-0.02)
    cz = math.sqrt(1 - sy**2 - sx**2)
    assert float((v * y).sum() / v.sum()) == pytest.approx(2e-3 * sy / cz, rel=1e-4)
    assert float((v * x).sum() / v.sum()) == pytest.approx(2e-3 * sx / cz, rel=1e-4)


def test_gaussian_has_its_width_curvature_and_gouy_phase():
    grid, wave, w0, z = Grid(201, 5e-6), 633e-9, 100e-6, 0.08
    rayleigh = math.pi * w0**2 / wave
    u = gaussian_beam(grid, wave, waist=w0, distance=z)[0]
    w = w0 * math.hypot(1, z / rayleigh)
    assert float(u[100, 120].abs() / u[100, 100].abs()) == pytest.approx(math.exp(-((100e-6 / w) ** 2)))
    phase = 2 * math.pi * math.fmod(z, wave) / wave - math.atan(z / rayleigh)
    expected = complex(math.cos(phase), math.sin(phase)) * math.sqrt(2 / math.pi) / w
    assert complex(u[100, 100]) == pytest.approx(expected)
    radius = z + rayleigh**2 / z
    bend = float((u[100, 102] / u[100, 100]).angle())
    assert bend == pytest.approx(math.pi / wave * (10e-6) ** 2 / radius)


def test_power_of_a_gaussian_is_one_at_every_wavelength():
    grid = Grid((128, 130), 4e-6)
    u = gaussian_beam(grid, [450e-9, 635e-9], waist=50e-6, distance=[-1e-3, 1e-3][0])
    torch.testing.assert_close(u.abs().square().sum((-2, -1)) * grid.cell, torch.ones(2, dtype=torch.float64))


def test_converging_wave_is_the_conjugate_and_converges():
    grid, wave = Grid(128, 1e-6), 500e-9
    out, back = (point_source(grid, wave, distance=s * 1e-3, position=(3e-6, 0)) for s in (1, -1))
    torch.testing.assert_close(back, out.conj())
    focus = propagate(back, grid, wave, 1e-3)[0].abs()
    assert divmod(int(focus.argmax()), 128) == (64 + 3, 64)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda g: plane_wave(g, 5e-7, angle=(1.2, 1.2)), "angle"),
        (lambda g: gaussian_beam(g, 5e-7, waist=-1e-6), "waist"),
        (lambda g: gaussian_beam(g, 5e-7, waist=1e-6, distance=math.nan), "distance"),
        (lambda g: point_source(g, 5e-7, distance=0), "distance"),
        (lambda g: plane_wave(g.shape, 5e-7), "grid"),
        (lambda g: gaussian_beam(None, 5e-7, waist=1e-6), "grid"),
        (lambda g: point_source("grid", 5e-7, distance=1e-3), "grid"),
        (lambda g: gaussian_schell("grid", 5e-7, waist=1e-5, coherence=1e-5), "grid"),
    ],
)
def test_bad_light_names_the_argument(call, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        call(Grid(8, 1e-6))


def test_gradients_of_beam_parameters():
    grid = Grid((4, 5), 2e-6)
    waist = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    z = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b: gaussian_beam(grid, 5e-7, waist=a * 1e-6, distance=b * 1e-6), (waist, z), atol=1e-3
    )
