import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.fabrication import Geometry, displace

PITCH = (2e-6, 3e-6)


def random_phasors(shape, seed=0):
    phase = (
        2 * math.pi * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    )
    return torch.polar(torch.ones_like(phase), phase)


def moved(t, dy, dx):
    shift = tuple(torch.as_tensor(d, dtype=torch.float64).reshape(1, 1) for d in (dy, dx))
    return displace(t, Geometry(shape=t.shape[-2:], pitch=PITCH, shift_y=shift[0], shift_x=shift[1]))


@given(
    ny=st.integers(2, 9),
    nx=st.integers(2, 9),
    dy=st.floats(-0.5, 0.5),
    dx=st.floats(-0.5, 0.5),
)
@settings(deadline=None, max_examples=40)
def test_a_sub_sample_shift_is_a_phase_ramp_on_the_spectrum(ny, nx, dy, dx):
    t = random_phasors((1, ny, nx))
    out = moved(t, dy * PITCH[0], dx * PITCH[1])
    spectrum, expected = torch.fft.fft2(out), torch.fft.fft2(t)
    torch.testing.assert_close(spectrum.abs(), expected.abs(), rtol=1e-9, atol=1e-9 * ny * nx)
    torch.testing.assert_close(moved(out, -dy * PITCH[0], -dx * PITCH[1]), t, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("y", "x"), [(1, 0), (-2, 3), (0, -1)])
def test_whole_samples_move_and_nothing_wraps_around(y, x):
    t = random_phasors((2, 7, 8))
    expected = torch.roll(t, (y, x), (-2, -1))
    rows, columns = torch.arange(7) - y, torch.arange(8) - x
    expected = expected * ((rows >= 0) & (rows < 7))[:, None] * ((columns >= 0) & (columns < 8))
    torch.testing.assert_close(moved(t, y * PITCH[0], x * PITCH[1]), expected)


def test_a_smooth_pattern_moves_by_the_length_asked_for():
    y = (torch.arange(64, dtype=torch.float64) - 32)[:, None] * PITCH[0]
    x = (torch.arange(64, dtype=torch.float64) - 32)[None, :] * PITCH[1]

    def spot(cy, cx):
        return torch.exp(-(((y - cy) / 1e-5) ** 2) - ((x - cx) / 1.5e-5) ** 2).to(torch.complex128)[None]

    # the Gaussian is 1e-17 at the edges and its spectrum below 1e-10 at Nyquist
    torch.testing.assert_close(moved(spot(0, 0), 3.3e-6, -7.1e-6), spot(3.3e-6, -7.1e-6), rtol=0, atol=1e-9)


def test_each_device_has_its_own_shift_for_all_masks_and_wavelengths():
    t = random_phasors((3, 2, 6, 6))  # masks, wavelengths, y, x
    shifts = torch.tensor([0.0, 1e-6, 7e-6], dtype=torch.float64).reshape(3, 1, 1, 1)
    geometry = Geometry(shape=(3, 6, 6), pitch=PITCH, shift_y=shifts, shift_x=-shifts)
    out = displace(t, geometry)
    assert out.shape == (3, 3, 2, 6, 6)
    for device, metres in enumerate(shifts.flatten().tolist()):
        for mask in range(3):
            torch.testing.assert_close(out[device, mask], moved(t[mask], metres, -metres))


def test_jitter_matches_the_exact_sum_over_elements():
    """Direct Fourier sum over displaced elements: sum t_i exp(-i q (x_i + d_i))."""
    ny, nx, sigma = 6, 7, 0.03
    t = random_phasors((1, ny, nx))
    g = torch.Generator().manual_seed(1)
    dy, dx = (sigma * p * torch.randn(ny, nx, dtype=torch.float64, generator=g) for p in PITCH)
    out = displace(t, Geometry(shape=(ny, nx), pitch=PITCH, jitter_y=dy, jitter_x=dx))
    qy, qx = (
        2 * math.pi * torch.fft.fftfreq(n, p, dtype=torch.float64)
        for n, p in zip((ny, nx), PITCH, strict=True)
    )
    y = torch.arange(ny)[:, None] * PITCH[0] + dy
    x = torch.arange(nx)[None, :] * PITCH[1] + dx
    exact = torch.einsum(
        "ij,ijkl->kl", t[0], torch.exp(-1j * (qy[:, None] * y[..., None, None] + qx * x[..., None, None]))
    )
    # third order of the series: (q d)^3 / 6 with q d up to pi * 0.03 * 3.5 along each axis, added up
    # incoherently over the elements
    bound = 2 * (math.pi * sigma * 3.5) ** 3 / 6 * math.sqrt(ny * nx)
    error = (torch.fft.fft2(out)[0] - exact).abs().max().item()
    assert error < bound
    assert (torch.fft.fft2(t)[0] - exact).abs().max().item() > 5 * error  # and the jitter does act


def test_gradients_reach_transmission_shift_and_jitter():
    t = random_phasors((1, 4, 5))
    shift = torch.tensor([[0.3]], dtype=torch.float64)
    jitter = 0.05 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def run(t, dy, dx, jy, jx):
        return displace(
            t, Geometry(shape=(4, 5), pitch=(1.0, 1.0), shift_y=dy, shift_x=dx, jitter_y=jy, jitter_x=jx)
        )

    arguments = [v.clone().requires_grad_() for v in (t, shift, -shift, jitter, -jitter)]
    assert torch.autograd.gradcheck(run, arguments)


def test_without_displacement_nothing_is_touched():
    t = random_phasors((1, 4, 4))
    assert displace(t, Geometry(shape=(4, 4), pitch=PITCH)) is t
    assert moved(t.to(torch.complex64), 1e-6, 0).dtype == torch.complex64
