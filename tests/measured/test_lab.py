"""The bench's physics against analytic pictures, and the device that composes it."""

import math

import pytest
import torch

from photonet.design import kernels_to_masks
from photonet.errors import InvalidArgument
from photonet.measured import ERRORS, make_devices
from photonet.measured.lab import cos4_falloff, soft_saturation, warp


def gaussian(size, centre, width):
    y, x = (torch.arange(size, dtype=torch.float64) - size // 2 for _ in range(2))
    return torch.exp(-((y[:, None] - centre[0]).square() + (x - centre[1]).square()) / (2 * width**2))


@pytest.mark.parametrize("size", [48, 49])
def test_warp_moves_a_gaussian_to_where_geometry_says(size):
    rotation, scale, dy, dx = 0.2, 0.1, 1.3, -0.6
    y, x = 5.0, 7.0
    moved = warp(gaussian(size, (y, x), 3.0), rotation, scale, dy, dx)
    cos, sin = math.cos(rotation), math.sin(rotation)
    to = (1.1 * (sin * x + cos * y) + dy, 1.1 * (cos * x - sin * y) + dx)
    # the spline errs by f''''/384: 3/(384 * 81) = 1e-4 for a spot of width 3, more where it meets the border
    torch.testing.assert_close(moved, gaussian(size, to, 3.3) / 1.21, atol=1e-3, rtol=0)
    assert moved.sum().item() == pytest.approx(2 * math.pi * 9, rel=2e-3)


@pytest.mark.parametrize("size", [(1, 5), (40, 7), (7, 200)])
def test_the_spline_goes_through_every_sample(size):
    pictures = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp(pictures), pictures, atol=1e-13, rtol=0)
    moved = warp(pictures, shift_x=2.0)
    torch.testing.assert_close(moved[..., 2:], pictures[..., :-2], atol=1e-13, rtol=0)
    # beyond the border the spline runs out within its last two pieces
    assert not bool(warp(pictures, shift_x=size[1] + 2.0).any())


def test_warp_has_gradients_for_every_parameter():
    picture = gaussian(12, (1, 2), 2.0)[None].requires_grad_(True)
    parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.1, 0.05, 0.3, -0.2)]
    assert torch.autograd.gradcheck(warp, (picture, *parameters))


def test_what_cannot_be_is_refused():
    with pytest.raises(InvalidArgument, match="scale"):
        warp(torch.zeros(4, 4), scale=-1.0)
    with pytest.raises(InvalidArgument, match="images"):
        warp(torch.zeros(4))
    with pytest.raises(InvalidArgument, match="images"):
        warp(torch.zeros(3, 4, 0))
    with pytest.raises(InvalidArgument, match="loss"):
        cos4_falloff((4, 4), 1.0)
    with pytest.raises(InvalidArgument, match="saturation"):
        soft_saturation(torch.zeros(4), -1.0)


@pytest.fixture(scope="module")
def design():
    kernels = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    return kernels_to_masks(
        kernels, wavelength=525e-9, distance=0.3e-3, pitch=1e-6, pixel=6, samples=42, steps=40
    )


SCENES = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def measure(design, **draws):
    return make_devices(design, {k: [v] for k, v in draws.items()}, [3])[0]


@pytest.mark.parametrize("error", sorted(ERRORS))
def test_every_error_changes_what_is_measured(design, error):
    size = {"defocus": 40e-6, "drift": 0.2, "warming": 120.0}.get(error, 0.1)
    straight = measure(design).measure(SCENES, time=3600.0).features
    wrong = measure(design, **{error: size}).measure(SCENES, time=3600.0).features
    assert (wrong - straight).norm() > 0.01 * straight.norm()


def test_drift_needs_time(design):
    device = measure(design, drift=-0.5)
    early = device.measure(SCENES).features
    late = device.measure(SCENES, time=torch.full((4,), 3600.0)).features
    ratio = (late * early).sum() / early.square().sum()
    assert ratio.item() == pytest.approx(math.exp(-0.5), abs=0.01)
    with pytest.raises(InvalidArgument, match="time"):
        device.measure(SCENES, time=torch.zeros(3))
