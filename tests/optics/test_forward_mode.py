"""Forward-mode derivatives, of which ``requires_grad`` knows nothing, with kernels cached and not."""

import pytest
import torch
from torch.autograd import forward_ad

from photonet import Grid
from photonet.optics import gaussian_beam, irradiance, propagate, rotate_plane
from photonet.optics.transfer import _cache, clear_cache

# torch itself, where it first reads its table of forward derivatives
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

GRID, WAVE = Grid(16, 2e-6), torch.tensor(5e-7, dtype=torch.float64)
U = gaussian_beam(GRID, 5e-7, waist=8e-6) * torch.exp(1j * torch.arange(16) ** 2 / 20)
FINE = Grid(9, 1e-6)


def one(value):
    return torch.tensor(value, dtype=torch.float64)


def slope(f, x):
    return torch.func.jvp(f, (x,), (torch.ones_like(x),))[1]


def at(distance, wave=WAVE, u=U, **options):
    return irradiance(propagate(u, GRID, wave, distance, carrier=False, **options))[0, 3, 4]


@pytest.fixture(autouse=True)
def cold():
    clear_cache()


@pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
@pytest.mark.parametrize(
    ("distance", "options"),
    [
        (1e-4, {}),
        (1e-3, {}),
        (1e-4, {"output": FINE}),
        (1e-2, {"method": "fresnel_zoom", "output": FINE}),
        (1e-2, {"method": "fresnel_zoom", "output": Grid(300, 1e-7)}),
        (0.0, {}),
    ],
)
def test_forward_mode_agrees_with_reverse_mode_though_the_kernel_is_cached(distance, options):
    z = one(distance)
    at(z, **options)
    for f, x in ((lambda q: at(q, **options), z), (lambda q: at(z, q, **options), WAVE)):
        expected = torch.func.jacrev(f)(x)
        size = 1e-9 * float(expected.abs()) + 1e-12
        for found in (slope(f, x), slope(f, x), torch.func.jacfwd(f)(x)):
            assert float(found) == pytest.approx(float(expected), abs=size)


def test_tangents_do_not_stay_in_the_cache():
    z = one(1e-4)
    expected = float(torch.func.jacrev(at)(z))
    with forward_ad.dual_level():
        for times in (1.0, 5.0):
            found = forward_ad.unpack_dual(at(forward_ad.make_dual(z, one(times)))).tangent
            assert float(found) == pytest.approx(times * expected)
        assert forward_ad.unpack_dual(at(z)).tangent is None


@pytest.mark.parametrize("options", [{}, {"method": "fresnel_zoom", "output": FINE}])
@pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
def test_kernels_made_in_a_transform_are_kept_without_its_wrappers(options):
    def power(u):
        return at(1e-3, 5e-7, u, **options)

    found = torch.func.vmap(torch.func.grad(lambda u: power(torch.complex(u, U.imag))))(U.real[None])
    kept = list(_cache.values())
    assert kept
    assert not any(torch._C._functorch.is_functorch_wrapped_tensor(kernel) for kernel in kept)
    u = U.real.clone().requires_grad_()
    power(torch.complex(u, U.imag)).backward()
    torch.testing.assert_close(found[0], u.grad)
    assert [id(k) for k in _cache.values()] == [id(k) for k in kept]  # they are used again


def test_tilts_have_forward_derivatives_at_none():
    def f(angle):
        return irradiance(rotate_plane(U, GRID, WAVE, about_y=angle))[0, 3, 4]

    assert float(slope(f, one(0.0))) == pytest.approx(float(torch.func.jacrev(f)(one(0.0))))
