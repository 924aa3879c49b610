import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.optics import convolve, convolve_low_rank, convolve_patches, low_rank


@pytest.fixture
def psfs():
    p = torch.rand(3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return p / p.sum((-2, -1), keepdim=True)


def test_point_at_a_lattice_point_gets_its_own_psf(psfs):
    scene = torch.zeros(21, 31, dtype=torch.float64)
    scene[10, 20] = 1  # lattice point (1, 2)
    image = convolve_patches(scene, psfs)
    torch.testing.assert_close(image[8:13, 18:23], psfs[1, 2])
    scene.zero_()[10, 25] = 1  # half way to (1, 3)
    torch.testing.assert_close(convolve_patches(scene, psfs)[8:13, 23:28], psfs[1, 2:].mean(0))


def test_power_is_kept_inside(psfs):
    scene = torch.zeros(30, 40, dtype=torch.float64)
    scene[5:25, 5:35] = torch.rand(20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert float(convolve_patches(scene, psfs).sum()) == pytest.approx(float(scene.sum()))


def test_low_rank_is_exact_at_full_rank_and_best_below(psfs):
    scene = torch.rand(2, 16, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    full = convolve_patches(scene, psfs)
    torch.testing.assert_close(convolve_low_rank(scene, *low_rank(psfs, 12)), full)
    one_mode = psfs[:1, :1] * torch.linspace(1, 2, 12, dtype=torch.float64).reshape(3, 4, 1, 1)
    torch.testing.assert_close(
        convolve_low_rank(scene, *low_rank(one_mode, 1)), convolve_patches(scene, one_mode)
    )
    with pytest.raises(InvalidArgument, match="rank"):
        low_rank(psfs, 13)


def test_batches_and_gradients(psfs):
    scene = torch.rand(
        2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    ).requires_grad_()
    one = psfs[:2, :2, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(convolve_patches, (scene, one))
    assert convolve(scene, psfs[0, 0]).shape == scene.shape


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, p: convolve_patches(x, p[:0]), "psfs: expected axes"),
        (lambda x, p: low_rank(p * torch.nan, 2), "psfs: expected finite values"),
        (lambda x, p: low_rank(p[0], 2), "psfs: expected real numbers with the axes"),
        (lambda x, p: low_rank(p, 1.5), "rank: expected a whole number"),
        (lambda x, p: convolve_low_rank(x, p[0], p[0, :3]), "modes and weights: expected axes"),
        (lambda x, p: convolve_low_rank(x, p, p), "modes and weights: expected axes"),
    ],
)
def test_psfs_that_do_not_fit_are_named(call, words, psfs):
    with pytest.raises(InvalidArgument, match=f"^{words}"):
        call(torch.rand(8, 8, dtype=torch.float64), psfs)
