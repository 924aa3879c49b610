import math

import pytest
import torch

from photonet import Grid
from photonet.errors import InvalidArgument
from photonet.optics import gaussian_beam, kernels, propagate, rotate_plane

WAVE = 633e-9


def tilted_points(grid, about_y, about_x):
    """Positions in the old coordinates of the new plane's samples."""
    y, x = (a.expand(grid.shape) for a in grid.mesh())
    cy, sy, cx, sx = math.cos(about_y), math.sin(about_y), math.cos(about_x), math.sin(about_x)
    return x * cy + y * sy * sx, y * cx, -x * sy + y * cy * sx


@pytest.mark.parametrize(("about_y", "about_x"), [(0.3, 0.0), (0.0, -0.2), (0.25, 0.15)])
def test_tilted_plane_agrees_with_the_direct_sum(about_y, about_x):
    grid, z = Grid((64, 60), 1e-6), 60e-6
    source = gaussian_beam(grid, WAVE, waist=6e-6)
    plane = propagate(source, grid, WAVE, z)
    tilted = rotate_plane(plane, grid, WAVE, about_y=about_y, about_x=about_x)[0]
    px, py, pz = tilted_points(grid, about_y, about_x)
    (ys, xs), wave = grid.mesh(), torch.tensor([WAVE], dtype=torch.float64)
    size = float(tilted.abs().max())
    for i, j in [(32, 30), (22, 24), (40, 37), (28, 20)]:
        response = kernels.rayleigh_sommerfeld(py[i, j] - ys, px[i, j] - xs, wave, z + pz[i, j])
        expected = complex((source * response).sum() * grid.cell)
        # the window that is rotated holds all but 1e-9 of the beam
        assert abs(complex(tilted[i, j]) - expected) < 1e-6 * size


def test_rotating_back_gives_the_field_again():
    grid = Grid(64, 1e-6)
    u = gaussian_beam(grid, WAVE, waist=7e-6)
    back = rotate_plane(rotate_plane(u, grid, WAVE, about_y=0.1), grid, WAVE, about_y=-0.1)
    assert float((back - u).norm() / u.norm()) < 1e-6


def test_angle_has_a_gradient():
    grid = Grid(4, 1e-6)
    u = gaussian_beam(grid, WAVE, waist=2e-6).requires_grad_()
    angle = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda u, a: rotate_plane(u * 1e-5, grid, WAVE, about_y=a, about_x=0.1), (u, angle)
    )


@pytest.mark.parametrize("angle", [0.0, 0.1])
@pytest.mark.parametrize(
    ("u", "words"),
    [
        (torch.ones(1, 16, 16), "u: expected a complex field"),
        (torch.ones(1, 8, 12, dtype=torch.complex64), "u: expected shape"),
        (torch.ones(3, 16, 16, dtype=torch.complex64), "u: expected a wavelength axis"),
    ],
)
def test_a_field_that_does_not_fit_is_named(u, words, angle):
    with pytest.raises(InvalidArgument, match=words):
        rotate_plane(u, Grid(16, 1e-6), WAVE, about_y=angle)


@pytest.mark.parametrize(
    "still", [lambda u, *to: rotate_plane(u, *to), lambda u, *to: propagate(u, *to, 0.0)], ids=["tilt", "way"]
)
def test_none_at_all_gives_a_copy_for_every_wavelength(still, random_field):
    u = random_field(2, 1, 16, 16)
    v = still(u, Grid(16, 1e-6), [4e-7, 5e-7, 6e-7])
    torch.testing.assert_close(v, u.expand(2, 3, 16, 16), rtol=0, atol=0)
    v.zero_()
    assert bool(u.any())
