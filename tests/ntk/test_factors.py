from __future__ import annotations

import pytest
import torch

from photonet.ntk.correlate import ConvGeometry, correlate
from photonet.ntk.factors import Correlation, Factor, Outer, dense, full_product, merge, trace_product


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def factor(kind: str, n: int, seed: int = 0) -> Factor:
    """Three directions; few or many positions, so that both ways to multiply are taken."""
    few, many = (2, 40)
    if kind == "dense":
        return normal(n, 3, 5, 4, seed=seed)
    if kind in ("few", "many"):
        t = few if kind == "few" else many
        return Outer(normal(n, 1, 2, t, 20, seed=seed), normal(n, 3, 2, t, 15, seed=seed + 1))
    if kind == "directed activations":
        return Outer(normal(n, 3, 2, few, 20, seed=seed), normal(n, 1, 2, few, 15, seed=seed + 1))
    side = 3 if kind == "small map" else 9
    x, delta = normal(n, 1, 4, side + 2, side + 1, seed=seed), normal(n, 3, 6, side, side, seed=seed + 1)
    return Correlation(x, delta, ConvGeometry((3, 2), (1, 1), (1, 1), groups=2))


@pytest.mark.parametrize("kind", ["dense", "few", "many", "directed activations", "small map", "large map"])
def test_products_are_those_of_the_jacobians(kind: str) -> None:
    a, b = factor(kind, 4), factor(kind, 3, seed=5)
    p, q = dense(a), dense(b)
    expected = torch.einsum("amp,bnp->abmn", p, q)
    torch.testing.assert_close(full_product(a, b), expected)
    torch.testing.assert_close(trace_product(a, b), expected.diagonal(dim1=2, dim2=3).sum(2))
    torch.testing.assert_close(trace_product(a, a), torch.einsum("amp,bmp->ab", p, p))
    if isinstance(a, Correlation):
        torch.testing.assert_close(dense(a.outer()), p)


def test_uses_of_one_parameter_add() -> None:
    for kinds in (("few", "few"), ("few", "many"), ("dense", "dense"), ("small map", "large map")):
        uses = [factor(kind, 4, seed=3 * k) for k, kind in enumerate(kinds)]
        torch.testing.assert_close(dense(merge(uses)), dense(uses[0]) + dense(uses[1]))


def test_second_derivatives_of_the_products() -> None:
    act, delta = normal(3, 1, 1, 2, 2).requires_grad_(), normal(3, 1, 1, 2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda a, d: trace_product(f := Outer(a, d), f), (act, delta), check_fwd_over_rev=False
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_second_derivatives_of_a_correlation(groups: int, mirrored: bool) -> None:
    def jacobian(x: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        return Correlation(x, delta, ConvGeometry((2, 1), (2, 1), (1, 1), groups, mirrored)).dense()

    for m in (1, 2):  # either side may be the one with directions
        x = normal(2, m, 2, 4, 2).requires_grad_()
        delta = normal(2, 3 - m, 2, 2, 2, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(jacobian, (x, delta))
        assert torch.autograd.gradgradcheck(jacobian, (x, delta))


def test_blocks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    f = factor("small map", 5)
    whole = dense(f)
    monkeypatch.setattr("photonet.ntk.correlate.BLOCK", 2000)  # two samples at a time
    torch.testing.assert_close(dense(f), whole)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_correlation_in_half_precision_is_that_of_its_numbers(stride: int) -> None:
    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        x = normal(4, 3, 9, 9).bfloat16().to(dtype).requires_grad_()
        side = (9 - 3) // stride + 1
        delta = normal(4, 2, 6, side, side, seed=1).bfloat16().to(dtype).requires_grad_()
        found = correlate(x, delta, ConvGeometry((3, 3), (stride, stride), (1, 1)))
        weight = normal(*found.shape, seed=2).bfloat16().to(dtype)
        return [found, *torch.autograd.grad((found * weight).sum(), (x, delta))]

    for half, exact in zip(gradients(torch.bfloat16), gradients(torch.float64), strict=True):
        assert half.dtype == torch.bfloat16
        largest = float(exact.detach().abs().max())
        torch.testing.assert_close(half.double(), exact, rtol=0, atol=0.02 * largest)
