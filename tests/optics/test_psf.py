import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Grid
from photonet.errors import InvalidArgument
from photonet.optics import bin_pixels, circular_aperture, convolve, ideal_lens, psf, shift, signed


def test_psf_sums_to_the_fraction_that_arrives():
    grid, wave, f = Grid(256, 2e-6), [532e-9, 633e-9], 5e-3
    hole = circular_aperture(grid, 300e-6)
    image = psf(hole * torch.exp(1j * ideal_lens(grid, wave, f)), grid, wave, f)
    open_part = float(hole.square().sum()) / hole.numel()
    # the window of 512 um holds all but the faint far rings of the Airy pattern (1 - 1e-2)
    torch.testing.assert_close(image.sum((-2, -1)), torch.full((2,), open_part).double(), rtol=1e-2, atol=0)
    assert (image.sum((-2, -1)) <= open_part).all()


@settings(deadline=None, max_examples=25)
@given(*(st.integers(1, 12) for _ in range(4)))
def test_convolution_is_the_sum_over_source_points(h, w, kh, kw):
    generator = torch.Generator().manual_seed(h + 13 * w)
    scene = torch.rand(2, h, w, dtype=torch.float64, generator=generator)
    kernel = torch.rand(3, 1, kh, kw, dtype=torch.float64, generator=generator)
    expected = torch.zeros(3, 2, h, w, dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            for a in range(kh):
                for b in range(kw):
                    y, x = i + a - kh // 2, j + b - kw // 2
                    if 0 <= y < h and 0 <= x < w:
                        expected[:, :, y, x] += scene[:, i, j] * kernel[:, :, a, b]
    torch.testing.assert_close(convolve(scene, kernel), expected)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n", [16, 17, 20, 21, 23])
def test_pixels_keep_the_axis_sample_in_the_axis_pixel(factor, n):
    spot = torch.zeros(n, n + 1)
    spot[n // 2, (n + 1) // 2] = 1
    pixels = bin_pixels(spot, factor)
    my, mx = pixels.shape
    assert pixels[my // 2, mx // 2] == 1
    assert pixels.sum() == 1
    # at most one pixel's worth of samples is left out on either side
    assert n - my * factor < 2 * factor
    position = torch.arange(n, dtype=torch.float64)[:, None].expand(n, n)
    mean = bin_pixels(position, factor)[my // 2, 0] / factor**2
    assert mean == n // 2 - (0 if factor % 2 else 0.5)


def test_pixels_larger_than_the_window_are_refused():
    with pytest.raises(InvalidArgument, match=r"^factor: expected"):
        bin_pixels(torch.zeros(4, 4), 9)


def test_signed_is_the_difference_and_checks_shapes():
    assert signed(torch.ones(2), torch.full((2,), 3.0)).tolist() == [-2, -2]
    with pytest.raises(InvalidArgument, match=r"^negative"):
        signed(torch.ones(2), torch.ones(3))


@pytest.mark.parametrize("shape", [(16, 17), (15, 20)])
def test_shift_moves_a_smooth_spot_exactly(shape):
    y, x = Grid(shape, 1.0).mesh()

    def spot(cy, cx):
        return torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 3)

    # at the sampling limit the spot's spectrum is exp(-3 pi^2 / 4) = 6e-4 of its peak
    torch.testing.assert_close(shift(spot(0, 0), 0.3, -0.7), spot(0.3, -0.7), atol=2e-3, rtol=0)
    moved = shift(spot(0, 0), torch.tensor([0.0, 1.0]), 2)
    torch.testing.assert_close(moved[1], spot(0, 0).roll((1, 2), (0, 1)), atol=1e-12, rtol=0)
    assert moved.sum((-2, -1)).tolist() == pytest.approx([float(spot(0, 0).sum())] * 2)


def test_a_near_point_is_imaged_through_a_lens_to_its_place_and_a_far_one_is_a_plane_wave():
    grid, wave, d, z = Grid(64, 2e-6), 525e-9, 6e-3, 2e-3
    lens = torch.exp(1j * ideal_lens(grid, wave, 1 / (1 / d + 1 / z)))
    place = (-30e-6, 60e-6)
    image = psf(lens, grid, wave, z, source=d, position=place)[0]
    # upside down and a third as far from the axis: +10 and -20 um
    assert divmod(int(image.argmax()), 64) == (32 + 5, 32 - 10)
    clear = torch.ones(1, 64, 64, dtype=torch.complex128)
    # at 1 km the wave bends by k rho^2 / 2 d = 5e-5 rad over the window
    torch.testing.assert_close(
        psf(clear, grid, wave, z, source=1e3), psf(clear, grid, wave, z), rtol=1e-3, atol=1e-9
    )
    with pytest.raises(InvalidArgument, match="position: expected the distance of the point"):
        psf(clear, grid, wave, z, position=place)
    with pytest.raises(InvalidArgument, match="source: expected a finite length in m, not zero"):
        psf(clear, grid, wave, z, source=0.0)


def test_shift_and_psf_have_gradients():
    picture = torch.rand(
        5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    d = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shift, (picture, d, d))
    grid = Grid(6, 1e-6)
    phase = torch.rand(
        1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda p: psf(torch.exp(1j * p), grid, 5e-7, 2e-5), (phase,))
