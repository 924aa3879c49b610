import pytest
import torch

from photonet.optics import irradiance


def test_value_and_all_gradients():
    u = torch.randn(
        3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    torch.testing.assert_close(irradiance(u), u.abs() ** 2)
    assert torch.autograd.gradcheck(irradiance, (u,))
    assert torch.autograd.gradgradcheck(irradiance, (u,))


def test_darkness_has_a_gradient_of_zero():
    u = torch.zeros(2, dtype=torch.complex64, requires_grad=True)
    irradiance(u).sum().backward()
    assert u.grad.tolist() == [0, 0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_function_transforms():
    u = torch.randn(3, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    tangent = torch.ones_like(u)
    _, slope = torch.func.jvp(irradiance, (u,), (tangent,))
    torch.testing.assert_close(slope, 2 * u.real)
    grads = torch.func.vmap(torch.func.grad(lambda v: irradiance(v).sum()))(u)
    torch.testing.assert_close(grads, 2 * u)
