"""Jacobians of one parameter for n samples and m output directions, kept factored as long as that is cheap.

A linear layer's per-sample gradient is a sum of outer products, so most kernels never need the gradient
itself: with J[n, m, o, i] = sum_t delta[n, m, t, o] act[n, t, i] the kernel of two samples is
sum_tt' (act_t . act'_t') (delta_t . delta'_t') (Novak et al., ICML 2022, arXiv 2206.08720).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Factor", "Outer", "dense", "full_product", "merge", "trace_product"]


@dataclass(frozen=True)
class Outer:
    """A Jacobian as a sum of outer products over positions: J[n, m, g, o, i] = sum_t delta act.

    Read row by row, (g, o, i) is the layout of the parameter itself.

    Args:
        act: [n, m or 1, g, t, i], what multiplies the parameter (activations, patches).
        delta: [n, m or 1, g, t, o], the gradient that reaches the layer's output. At most one of the two
            depends on the direction m.
    """

    act: Tensor
    delta: Tensor

    @property
    def directions(self) -> int:
        return max(self.act.shape[1], self.delta.shape[1])


# A dense factor is a plain tensor [n, m, *parameter shape].
Factor = Outer | Tensor


def dense(factor: Factor) -> Tensor:
    """The Jacobian itself.

    Returns:
        [n, m, p], p the number of elements of the parameter.

    Example:
        >>> act, delta = torch.ones(4, 1, 1, 1, 3), torch.ones(4, 2, 1, 1, 5)
        >>> dense(Outer(act, delta)).shape
        torch.Size([4, 2, 15])
    """
    if isinstance(factor, Tensor):
        return factor.flatten(2)
    act, delta, m = factor.act, factor.delta, factor.directions
    n, _, g, _, i = act.shape
    o = delta.shape[-1]
    # The direction axis joins the side that has it, so that one batched product per sample is enough.
    if act.shape[1] == 1:
        left = delta.permute(0, 2, 1, 4, 3).flatten(2, 3)  # [n, g, m o, t]
        product = left @ act[:, 0]  # [n, g, m o, i]
        return product.reshape(n, g, m, o, i).transpose(1, 2).reshape(n, m, g * o * i)
    right = act.permute(0, 2, 3, 1, 4).flatten(3)  # [n, g, t, m i]
    product = delta[:, 0].mT @ right  # [n, g, o, m i]
    return product.reshape(n, g, o, m, i).permute(0, 3, 1, 2, 4).reshape(n, m, g * o * i)


def merge(factors: Sequence[Factor]) -> Factor:
    """The Jacobian of a parameter that is used several times: the uses add before any product is taken."""
    first = factors[0]
    if len(factors) == 1:
        return first
    sides = {_side(f) for f in factors}
    if len(sides) == 1 and isinstance(first, Outer):
        pairs = [f for f in factors if isinstance(f, Outer)]
        return Outer(torch.cat([f.act for f in pairs], dim=3), torch.cat([f.delta for f in pairs], dim=3))
    return torch.stack([dense(f) for f in factors]).sum(0)


def _side(factor: Factor) -> tuple[int, ...]:
    """What two factors must share so that their positions can simply be joined."""
    if isinstance(factor, Tensor):
        return ()
    a, d = factor.act.shape, factor.delta.shape
    return (a[1], a[2], a[4], d[1], d[4])


def _products_are_cheaper(a: Outer, b: Outer, full: bool) -> bool:
    """Compare the multiplications of the product of Grams with those of the explicit Jacobians."""
    n, n2 = a.act.shape[0], b.act.shape[0]
    t, t2, i, o, m = a.act.shape[3], b.act.shape[3], a.act.shape[4], a.delta.shape[4], a.directions
    inner, outer = (i, o) if a.act.shape[1] == 1 else (o, i)
    pairs = m * m if full else m
    products = n * n2 * t * t2 * (inner + pairs * outer)
    explicit = m * i * o * (n * t + n2 * t2 + n * n2 * (m if full else 1))
    return products < explicit


def _sides(a: Outer, b: Outer) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((shared, shared'), (directed, directed')): the directed side is the one with the axis m."""
    if a.act.shape[1] == 1 and b.act.shape[1] == 1:
        return (a.act, b.act), (a.delta, b.delta)
    return (a.delta, b.delta), (a.act, b.act)


def _pairs(u: Tensor, v: Tensor) -> Tensor:
    """Inner products over the direction and the last axis: [n, m, g, t, c] x2 -> [g, n t, n2 t2]."""
    left = u.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    right = v.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return left @ right.mT


def trace_product(a: Factor, b: Factor) -> Tensor:
    """Kernel summed over directions, sum_m J[n, m] . J'[n2, m].

    Returns:
        [n, n2].

    Example:
        >>> j = torch.eye(3).reshape(3, 1, 3)
        >>> trace_product(j, j).equal(torch.eye(3))
        True
    """
    if isinstance(a, Outer) and isinstance(b, Outer) and _products_are_cheaper(a, b, full=False):
        (u, v), (p, q) = _sides(a, b)
        n, t, n2, t2 = u.shape[0], u.shape[3], v.shape[0], v.shape[3]
        product = _pairs(u, v) * _pairs(p, q)
        if product.shape == (1, n, n2):
            return product[0]
        return product.reshape(-1, n, t, n2, t2).sum((0, 2, 4))
    return dense(a).flatten(1) @ dense(b).flatten(1).mT


def full_product(a: Factor, b: Factor) -> Tensor:
    """Kernel between all pairs of directions, J[n, m] . J'[n2, m2].

    Returns:
        [n, n2, m, m2].
    """
    if isinstance(a, Outer) and isinstance(b, Outer) and _products_are_cheaper(a, b, full=True):
        (u, v), (p, q) = _sides(a, b)
        shared = torch.einsum("ngti,NgTi->ngtNT", u[:, 0], v[:, 0])
        directed = torch.einsum("nmgto,NMgTo->nmgtNMT", p, q)
        return torch.einsum("ngtNT,nmgtNMT->nNmM", shared, directed)
    left, right = dense(a), dense(b)
    n, m, _ = left.shape
    n2, m2, _ = right.shape
    product = left.flatten(0, 1) @ right.flatten(0, 1).mT
    return product.reshape(n, m, n2, m2).transpose(1, 2)
