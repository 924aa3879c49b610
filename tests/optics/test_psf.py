import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Grid
from photonet.errors import GridMismatch, InvalidArgument, SamplingError, SamplingWarning
from photonet.optics import bin_pixels, circular_aperture, convolve, ideal_lens, psf, shift


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


@pytest.mark.parametrize(
    ("scene", "kernel", "words"),
    [
        (torch.ones(3, 4, 4), torch.ones(2, 3, 3), "leading axes that broadcast"),
        (torch.ones(4, 4), torch.ones(0, 3), "not empty"),
        (torch.ones(4), torch.ones(3, 3), "real tensors"),
        (torch.ones(4, 4), torch.ones(3, 3, dtype=torch.complex64), "real tensors"),
        (torch.ones(4, 4).half(), torch.ones(3, 3).half(), "single or double precision"),
    ],
)
def test_what_cannot_be_convolved_is_named(scene, kernel, words):
    with pytest.raises(InvalidArgument, match=f"scene and psf: expected .*{words}"):
        convolve(scene, kernel)
    with pytest.raises(InvalidArgument, match="psf: expected a real tensor"):
        convolve(scene, [[1.0]])


@pytest.mark.parametrize("wrong", [float("nan"), torch.tensor([0.0, math.inf]), "1", True])
def test_a_shift_by_no_number_is_refused(wrong):
    with pytest.raises(InvalidArgument, match="^dx: expected"):
        shift(torch.ones(2, 4, 4), 0, wrong)


@pytest.mark.parametrize("source", [None, 1e-3])
def test_a_transmission_of_another_kind_is_named(source):
    for wrong, error, words in [
        (torch.ones(1, 8, 9) + 0j, GridMismatch, r"shape \(..., L, 8, 8\)"),
        (torch.ones(8, 8) + 0j, GridMismatch, "shape"),
        (torch.ones(1, 8, 8), InvalidArgument, "a complex field"),
        ([[1]], InvalidArgument, "a complex tensor"),
    ]:
        with pytest.raises(error, match=f"^transmission: expected {words}"):
            psf(wrong, Grid(8, 1e-6), 5e-7, 1e-3, source=source)


@pytest.mark.parametrize("place", [0.0, 80e-6, 112e-6, 128e-6, 170e-6])
@pytest.mark.parametrize("diagonal", [False, True])
def test_a_point_so_far_beside_the_axis_that_the_pitch_cannot_hold_its_light_is_announced(place, diagonal):
    """Against the same lens at a fourth of the pitch; 2 um hold sin(theta) = 0.13."""
    wave, focus, d, z = 525e-9, 1e-3, 4e-3, 4e-3 / 3
    centre = (place, place if diagonal else 0.0)

    def image(grid, **options):
        y, x = grid.mesh()
        lens = torch.exp(-1j * math.pi * (y**2 + x**2) / (wave * focus))[None]
        point = {"source": d, "position": [-3 * c for c in centre]}
        return psf(lens, grid, wave, z, **point, output=Grid(64, 2e-6, centre), **options)

    grid, fine = Grid(64, 2e-6), Grid(256, 0.5e-6, (-0.75e-6, -0.75e-6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        found, expected = image(grid), image(fine, strict=True)
    true = float((found - expected).norm() / expected.norm())
    if true < 0.01:
        image(grid, strict=True)
    else:
        with pytest.warns(SamplingWarning, match=r"% of the light of a point at .* is too steep"):
            image(grid)
        with pytest.raises(SamplingError, match="a finer pitch of the mask"):
            image(grid, strict=True)


def test_a_point_so_near_that_the_pitch_cannot_hold_its_wave_is_announced():
    grid, clear = Grid(64, 2e-6), torch.ones(1, 64, 64, dtype=torch.complex128)
    with pytest.warns(SamplingWarning, match=r"62.*% of the light of a point"):
        psf(clear, grid, 525e-9, 1e-3, source=3e-4)
    psf(clear, grid, 525e-9, 1e-3, source=6e-4, strict=True)
    # what the mask does not let through does not count
    y, x = grid.mesh()
    psf(clear * (torch.hypot(y, x) < 35e-6), grid, 525e-9, 1e-3, source=3e-4, strict=True)


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
