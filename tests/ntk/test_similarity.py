from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import ntk
from photonet.errors import InvalidArgument


def kernel(n: int, seed: int) -> torch.Tensor:
    features = torch.randn(n, n + 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return features @ features.mT


@settings(deadline=None, max_examples=20)
@given(n=st.integers(4, 12), seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_scale_and_order_do_not_matter(n: int, seed: int, scale: float) -> None:
    a, b = kernel(n, seed), kernel(n, seed + 1)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for kind in ("cka", "cosine", "unbiased"):
        value = ntk.alignment(a, b, kind)
        torch.testing.assert_close(ntk.alignment(scale * a, b, kind), value, rtol=1e-9, atol=1e-12)
        shuffled = ntk.alignment(a[order][:, order], b[order][:, order], kind)
        torch.testing.assert_close(shuffled, value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(ntk.alignment(b, a, kind), value)
        assert ntk.alignment(a, a, kind).item() == pytest.approx(1)
    assert 0 <= ntk.alignment(a, b, "cka") <= 1


@pytest.mark.parametrize("kind", ["cka", "cosine", "unbiased"])
@pytest.mark.parametrize("scales", [(1e20, 1), (1e25, 1e25), (1e12, 1e12), (1e-12, 1e-12), (1e-25, 1e30)])
def test_scale_does_not_matter_in_single_precision(kind: str, scales: tuple[float, float]) -> None:
    a, b = kernel(6, 0).float().requires_grad_(), kernel(6, 1).float()
    scaled = (a.detach() * scales[0]).requires_grad_()
    wanted, found = ntk.alignment(a, b, kind), ntk.alignment(scaled, b * scales[1], kind)
    torch.testing.assert_close(found, wanted)
    slope, scaled_slope = torch.autograd.grad(wanted, a)[0], torch.autograd.grad(found, scaled)[0]
    torch.testing.assert_close(scaled_slope * scales[0], slope, rtol=1e-4, atol=1e-6)


def test_centred_kernel_is_that_of_centred_features() -> None:
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centred = x - x.mean(0)
    torch.testing.assert_close(ntk.center(x @ x.mT), centred @ centred.mT)


def test_unbiased_alignment_of_independent_kernels_is_zero_on_average() -> None:
    values = torch.stack(
        [ntk.alignment(kernel(8, 2 * s), kernel(8, 2 * s + 1), "unbiased") for s in range(400)]
    )
    # four standard errors of the mean
    assert abs(values.mean()) < 4 * values.std() / 20
    biased = torch.stack([ntk.alignment(kernel(8, 2 * s), kernel(8, 2 * s + 1)) for s in range(400)])
    assert biased.mean() > 0.5


def test_alignment_has_a_gradient() -> None:
    a, b = kernel(5, 0).requires_grad_(), kernel(5, 1)
    for kind in ("cka", "cosine", "unbiased"):
        assert torch.autograd.gradcheck(lambda k, kind=kind: ntk.alignment(k, b, kind), (a,))


@pytest.mark.parametrize("kind", ["cka", "cosine", "unbiased"])
def test_a_kernel_of_nothing_is_not_alike_anything_and_has_no_gradient(kind: str) -> None:
    flat = (torch.zeros(6, 6) if kind == "cosine" else torch.ones(6, 6)).requires_grad_()
    other = kernel(6, 1).float()
    alike = ntk.alignment(flat, other, kind)
    assert alike.item() == 0
    assert torch.equal(torch.autograd.grad(alike, flat)[0], torch.zeros(6, 6))
    assert ntk.alignment(torch.full((6, 6), torch.nan), other, kind).isnan()


def test_bad_kernels_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least 2 samples"):
        ntk.center(torch.ones(1, 1))
    with pytest.raises(InvalidArgument, match="same 3 samples"):
        ntk.alignment(torch.eye(3), torch.eye(4))
    with pytest.raises(InvalidArgument, match=r"\[\.\.\., n, n\]"):
        ntk.alignment(torch.ones(3), torch.eye(3))
    with pytest.raises(InvalidArgument, match=r"shape \(0, 0\)"):
        ntk.alignment(torch.ones(0, 0), torch.ones(0, 0), "cosine")
    with pytest.raises(InvalidArgument, match="at least 4"):
        ntk.alignment(torch.eye(3), torch.eye(3), "unbiased")


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"b: expected kernels that go with a, \(2, 3, 3\)"):
        ntk.alignment(torch.rand(2, 3, 3), torch.rand(3, 3, 3))
    with pytest.raises(InvalidArgument, match="k: expected a kernel .* floating-point numbers.*int64"):
        ntk.center(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(InvalidArgument, match="k: expected a real kernel .* of torch.int64"):
        ntk.regress(torch.ones(3, 3, dtype=torch.int64), torch.ones(3))
    with pytest.raises(InvalidArgument, match="y: expected targets .* of torch.complex64"):
        ntk.regress(torch.eye(3), torch.ones(3, dtype=torch.complex64))


def test_features_that_are_all_zero_have_no_error() -> None:
    assert float(ntk.sketch_error(torch.zeros(3, 2, 8))) == 0
