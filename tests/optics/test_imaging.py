import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.errors import GridMismatch, InvalidArgument
from photonet.optics.imaging import bin_kernel, image_by_kernels
from photonet.optics.psf import convolve


def rand(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def direct_sum(scene, kernels):
    """y_k(r) = sum over c and u of K_kc(u) x_c(r - u), loop by loop, darkness outside."""
    n, _, height, width = scene.shape
    k, _, ky, kx = kernels.shape
    out = torch.zeros(n, k, height, width, dtype=scene.dtype)
    for y in range(height):
        for x in range(width):
            for v in range(ky):
                for u in range(kx):
                    row, column = y - (v - ky // 2), x - (u - kx // 2)
                    if 0 <= row < height and 0 <= column < width:
                        out[:, :, y, x] += scene[:, :, row, column] @ kernels[:, :, v, u].T
    return out


@pytest.mark.parametrize("size", [(3, 3), (4, 3), (2, 4), (1, 5)])
@pytest.mark.parametrize("binning", [1, 2])
def test_a_convolution_is_the_direct_sum(size, binning):
    scene, kernels = rand(2, 2, 6, 8), rand(3, 2, *size, seed=1)
    expected = F.avg_pool2d(direct_sum(scene, kernels), binning)
    # a few dozen products of numbers of order 1: rounding is far below 1e-13
    torch.testing.assert_close(image_by_kernels(scene, kernels, binning), expected, atol=1e-13, rtol=0)


def test_compact_and_whole_plane_convolution_agree():
    scene, kernel = rand(1, 1, 9, 8).abs(), rand(1, 1, 5, 5, seed=1).abs()
    torch.testing.assert_close(image_by_kernels(scene, kernel)[0, 0], convolve(scene, kernel)[0, 0])


@settings(deadline=None, max_examples=20)
@given(dy=st.integers(-2, 2), dx=st.integers(-2, 2), scale=st.floats(-3, 3), seed=st.integers(0, 99))
def test_the_image_is_linear_and_moves_with_the_scene(dy, dx, scale, seed):
    kernels = rand(2, 1, 3, 3, seed=seed)
    scene = F.pad(rand(1, 1, 6, 6, seed=seed + 1), (4, 4, 4, 4))  # far from the edges
    other = F.pad(rand(1, 1, 6, 6, seed=seed + 2), (4, 4, 4, 4))
    image = image_by_kernels(scene, kernels)
    moved = image_by_kernels(scene.roll((dy, dx), (-2, -1)), kernels)
    torch.testing.assert_close(moved, image.roll((dy, dx), (-2, -1)))
    together = image_by_kernels(scene + scale * other, kernels)
    torch.testing.assert_close(together, image + scale * image_by_kernels(other, kernels))


def test_light_that_stays_in_the_window_is_kept():
    scene = F.pad(rand(1, 1, 4, 4).abs(), (3, 3, 3, 3))
    kernel = rand(1, 1, 5, 5, seed=1).abs()
    total = image_by_kernels(scene, kernel / kernel.sum()).sum()
    torch.testing.assert_close(total, scene.sum())


@settings(deadline=None, max_examples=10)
@given(binning=st.integers(1, 4), size=st.integers(1, 5))
def test_a_binned_kernel_keeps_its_sum_and_knows_its_size(binning, size):
    kernel = rand(2, 3, size, size)
    wide = bin_kernel(kernel, binning)
    assert wide.shape == (2, 3, size + binning - 1, size + binning - 1)
    torch.testing.assert_close(wide.sum((-2, -1)), kernel.sum((-2, -1)))


def test_gradients_reach_scene_and_kernels():
    scene, kernels = rand(1, 2, 4, 4).requires_grad_(), rand(2, 2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, k: image_by_kernels(s, k, 2), (scene, kernels))


@pytest.mark.parametrize(
    ("scene", "kernels", "binning", "error", "words"),
    [
        ((4, 4), (1, 1, 3, 3), 1, InvalidArgument, "scene: expected axes"),
        ((1, 1, 4, 4), (3, 3), 1, InvalidArgument, "kernels: expected axes"),
        ((1, 3, 4, 4), (1, 1, 3, 3), 1, GridMismatch, "1 colour channels"),
        (
            (1, 1, 4, 6),
            (1, 1, 3, 3),
            4,
            InvalidArgument,
            "scene: expected rows and columns in multiples of 4",
        ),
        ((1, 1, 4, 4), (1, 1, 3, 3), 0, InvalidArgument, "binning: expected a whole number"),
    ],
)
def test_bad_input_is_named(scene, kernels, binning, error, words):
    with pytest.raises(error, match=words):
        image_by_kernels(torch.zeros(scene), torch.zeros(kernels), binning)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (torch.uint8, "floating-point irradiance, got torch.uint8; divide bytes by 255"),
        (torch.int64, "floating-point irradiance"),
        (torch.complex64, "floating-point irradiance"),
        (torch.float16, "torch.float32, as the kernels have, got torch.float16"),
    ],
)
def test_scenes_of_other_numbers_are_named(dtype, words):
    with pytest.raises(InvalidArgument, match=f"^scene: expected {words}"):
        image_by_kernels(torch.ones(1, 1, 4, 4, dtype=dtype), torch.ones(1, 1, 3, 3))


def test_autocast_takes_scenes_of_half_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = image_by_kernels(torch.ones(1, 1, 4, 4).bfloat16(), torch.ones(1, 1, 3, 3))
    assert float(image[0, 0, 1, 1]) == 9
