import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, jacrev

from photonet import ntk
from photonet.errors import GridMismatch, InvalidArgument
from photonet.nn import OpticalConv2d, merge_signed, replace_optics, split_signed
from photonet.ntk.factors import dense, trace_product
from photonet.optics.imaging import image_by_kernels


def rand(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def layer(*arguments, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OpticalConv2d(*arguments, **options).double()


@settings(deadline=None, max_examples=20)
@given(kernels=st.integers(1, 4), colours=st.integers(1, 3), size=st.integers(1, 5), seed=st.integers(0, 99))
def test_split_and_merge_are_inverse_and_no_psf_is_negative(kernels, colours, size, seed):
    kernel = rand(kernels, colours, size, size, seed=seed)
    psf, gain = split_signed(kernel)
    assert bool((psf >= 0).all())
    power = psf.sum((-3, -2, -1))
    torch.testing.assert_close(power, (gain > 0).to(power))  # unit power, or nothing to measure
    torch.testing.assert_close(merge_signed(psf, gain), kernel)


def test_scale_goes_to_the_gain_and_an_empty_part_has_none():
    psf, gain = split_signed(torch.tensor([[[[2.0, 6.0]]]]))
    assert gain.tolist() == [[8.0], [0.0]]
    assert psf.flatten(1).tolist() == [[0.25, 0.75], [0.0, 0.0]]
    assert torch.equal(split_signed(10 * torch.tensor([[[[2.0, 6.0]]]]))[0], psf)


def test_two_captures_and_their_difference_are_one_signed_convolution():
    optics, scene = layer(2, 3, 5), rand(2, 2, 8, 8).abs()
    (positive, negative), gain = optics.psf()
    captures = [image_by_kernels(scene, part) * g[:, None, None]
                for part, g in zip((positive, negative), gain, strict=True)]  # fmt: skip
    torch.testing.assert_close(captures[0] - captures[1], optics(scene))


def check_factor(optics, scene):
    """The factor and its product with itself against the Jacobian by torch, and in both of its forms."""
    delta = rand(len(scene), 4, *optics(scene).shape[1:], seed=1)
    factor = optics.ntk_factors(scene, delta)["weight"]
    jacobian = jacrev(lambda w: functional_call(optics, {"weight": w}, (scene,)))(optics.weight.detach())
    expected = torch.einsum("nmkvu,nkvuabcd->nmabcd", delta, jacobian).flatten(2)
    for found in (dense(factor), dense(factor.outer())):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    product = torch.einsum("amp,bmp->ab", expected, expected)
    torch.testing.assert_close(trace_product(factor, factor), product, atol=1e-10, rtol=1e-12)


@pytest.mark.parametrize("binning", [1, 2, 4])
@pytest.mark.parametrize("size", [3, 5])
def test_per_sample_gradients_agree_with_torch(binning, size):
    check_factor(layer(2, 3, size, binning), rand(2, 2, 8, 12))


@pytest.mark.parametrize("binning", [1, 3])
def test_per_sample_gradients_of_even_kernels_too(binning):
    optics = layer(2, 2, 3, binning)
    optics.set_kernels(rand(2, 2, 4, 2))  # what a real optic has may be even
    check_factor(optics, rand(2, 2, 6, 6))


def test_the_kernel_behind_another_layer_and_its_gradient():
    """The scene may depend on parameters too, and a layer may be called twice, which adds dense factors."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.optics = layer(1, 1, 3), layer(1, 1, 3)

        def forward(self, scene):
            return self.optics(torch.tanh(self.optics(torch.tanh(self.scale(scene))))).flatten(1)[:, ::5]

    model, scene = Twice(), rand(3, 1, 4, 4)
    grams = [ntk.gram(model, scene, method=method) for method in ("structured", "jacobian")]
    torch.testing.assert_close(*grams, atol=1e-10, rtol=1e-10)
    weight = rand(3, 3, seed=2)
    gradients = [torch.autograd.grad((gram * weight).sum(), list(model.parameters())) for gram in grams]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_set_kernels_keeps_type_and_whether_it_trains():
    optics = layer(1, 2, 3)
    optics.requires_grad_(False)
    mine = torch.rand(2, 1, 5, 5)
    optics.set_kernels(mine)
    assert not optics.weight.requires_grad
    assert optics.weight.dtype == torch.float64
    mine.zero_()
    assert bool((optics.weight != 0).any())  # a copy


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0, 1, 3), "in_channels"), ((1, 0, 3), "out_channels"), ((1, 1, 4), "kernel_size"),
     ((1, 1, 3, 0), "binning"), ((1, 1, 3.0), "kernel_size")],
)  # fmt: skip
def test_bad_sizes_are_named(arguments, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        OpticalConv2d(*arguments)


def test_kernels_of_another_number_or_with_nan_are_refused():
    optics = layer(1, 2, 3)
    with pytest.raises(InvalidArgument, match=r"kernels: expected shape \[2, 1, y, x\]"):
        optics.set_kernels(torch.zeros(3, 1, 3, 3))
    with pytest.raises(InvalidArgument, match="1 NaN or infinite"):
        optics.set_kernels(torch.tensor([[[[1.0]]], [[[float("nan")]]]]))
    with pytest.raises(InvalidArgument, match="of real numbers, got .* of torch.complex64"):
        optics.set_kernels(torch.zeros(2, 1, 3, 3, dtype=torch.complex64))
    optics.set_kernels(torch.ones(2, 1, 3, 3).numpy())
    assert bool((optics.weight == 1).all())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda k: split_signed(k[0]), "kernel: expected real numbers with the axes"),
        (lambda k: split_signed(k.to(torch.int64)), "kernel: expected real numbers"),
        (lambda k: split_signed(k.tolist()), "kernel: expected a tensor"),
        (lambda k: merge_signed(k, k[0, 0]), "psf: expected real numbers with the axes"),
        (lambda k: merge_signed(torch.stack([k, k]), k[0, 0]), "gain: expected axes"),
        (lambda k: merge_signed(torch.stack([k, k]), 1.0), "gain: expected a tensor"),
    ],
)
def test_kernels_that_do_not_fit_are_named(call, words):
    with pytest.raises(InvalidArgument, match=f"^{words}"):
        call(torch.ones(3, 1, 5, 5))


def test_a_scene_of_other_colours_is_refused():
    with pytest.raises(GridMismatch, match="scene: expected 2 colour channels"):
        layer(2, 1, 3)(torch.zeros(1, 3, 4, 4, dtype=torch.float64))


def test_what_is_added_to_a_replaced_frontend_stays_there():
    front = nn.Sequential(nn.AvgPool2d(2), OpticalConv2d(1, 2, 3))
    other = replace_optics(front, lambda layer: nn.Identity())
    other.register_buffer("mark", torch.ones(1))
    other.register_forward_hook(lambda *_: None)
    assert "mark" not in dict(front.named_buffers())
    assert not front._forward_hooks
