import pytest
import torch

from photonet.optics.convolution import convolve_kernel
from photonet.optics.fourier import mirror


def plain(u, kernel, size, shape):
    return torch.fft.ifft2(torch.fft.fft2(u, s=size) * kernel.mT)[..., : shape[0], : shape[1]]


@pytest.mark.parametrize(("source", "shape"), [((5, 6), (5, 6)), ((5, 6), (8, 3)), ((70, 3), (2, 70))])
@pytest.mark.parametrize("lead", [(2,), (1,), (3, 2), (2, 3, 1)])
def test_it_is_the_padded_transform(random_field, source, shape, lead):
    size = (source[0] + shape[0], source[1] + shape[1])
    u, kernel = random_field(*lead, *source), random_field(2, size[1], size[0], seed=1)
    torch.testing.assert_close(convolve_kernel(u, kernel, size, shape), plain(u, kernel, size, shape))


@pytest.mark.parametrize("size", [(8, 10), (9, 7), (8, 90)])
def test_half_stands_for_the_even_kernel(random_field, size):
    u = random_field(2, 3, 4, 3)
    half = random_field(3, size[1] // 2 + 1, size[0], seed=1)
    kernel = mirror(half, size[1], -2)
    torch.testing.assert_close(convolve_kernel(u, half, size, (4, 3)), plain(u, kernel, size, (4, 3)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("lead", [(2,), (1,), (2, 1)])
def test_adjoint_and_its_adjoint(random_field, lead):
    u = random_field(*lead, 2, 3).requires_grad_()
    kernel = random_field(2, 6, 5, seed=1).requires_grad_()

    def run(u, kernel):
        return convolve_kernel(u, kernel, (5, 6), (3, 2))

    assert torch.autograd.gradcheck(run, (u, kernel), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(run, (u, kernel))


def test_function_transforms_see_the_same_operator(random_field):
    u, kernel = random_field(4, 1, 3, 3), random_field(1, 6, 6, seed=1)

    def energy(u, kernel):
        return convolve_kernel(u, kernel, (6, 6), (3, 3)).abs().square().sum()

    batched = torch.func.vmap(torch.func.grad(energy), (0, None))(u, kernel)
    torch.testing.assert_close(batched[2], torch.func.grad(energy)(u[2], kernel))
    kernels = torch.stack([kernel, 2 * kernel])
    values = torch.func.vmap(energy, (None, 0))(u[0], kernels)
    torch.testing.assert_close(values[1], 4 * values[0])


def test_nothing_but_the_kernel_is_kept_for_the_field_gradient(random_field):
    u, kernel = random_field(1, 8, 8).requires_grad_(), random_field(1, 16, 16, seed=1)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        convolve_kernel(u, kernel, (16, 16), (8, 8))
    assert kept == [kernel.data_ptr()]
