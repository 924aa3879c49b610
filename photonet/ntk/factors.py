"""Jacobians of one parameter for n samples and m output directions, kept factored as long as that is cheap.

A linear layer's per-sample gradient is a sum of outer products, so most kernels never need the gradient
itself: with J[n, m, o, i] = sum_t delta[n, m, t, o] act[n, t, i] the kernel of two samples is
sum_tt' (act_t . act'_t') (delta_t . delta'_t') (Novak et al., ICML 2022, arXiv 2206.08720).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..precision import full_precision, single
from .correlate import ConvGeometry, correlate, patches

__all__ = ["Correlation", "Factor", "Outer", "dense", "full_product", "merge", "trace_product"]


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

    def dense(self) -> Tensor:
        """[n, m, g o i]."""
        act, delta = self.act, self.delta
        n, _, g, _, i = act.shape
        o = delta.shape[-1]
        # The direction axis joins the side that has it, so that one batched product per sample is enough.
        if act.shape[1] == 1:
            left = delta.permute(0, 2, 1, 4, 3).flatten(2, 3)  # [n, g, m o, t]
            product = left @ act[:, 0]  # [n, g, m o, i]
            return product.reshape(n, g, -1, o * i).transpose(1, 2).flatten(2)
        right = act.permute(0, 2, 3, 1, 4).flatten(3)  # [n, g, t, m i]
        product = delta[:, 0].mT @ right  # [n, g, o, m i]
        return product.reshape(n, g, o, -1, i).permute(0, 3, 1, 2, 4).flatten(2)


@dataclass(frozen=True)
class Correlation:
    """The Jacobian of a convolution's weight; as an `Outer`, its positions are those of the output.

    Args:
        x: padded input, cropped to what the windows reach, [n, m or 1, c, *space].
        delta: gradient at the output, [n, m or 1, q, *positions].
        geometry: of the convolution, whose weight is [q, c / groups, *kernel].
    """

    x: Tensor
    delta: Tensor
    geometry: ConvGeometry

    def dense(self) -> Tensor:
        """[n, m, q c / groups prod(kernel)]."""
        n, m = self.x.shape[:2]
        if m == 1:
            return correlate(self.x[:, 0], self.delta, self.geometry).flatten(2)
        delta = self.delta.expand(n, m, *self.delta.shape[2:]).flatten(0, 1).unsqueeze(1)
        return correlate(self.x.flatten(0, 1), delta, self.geometry).reshape(n, m, -1)

    def outer(self) -> Outer:
        """The same with all windows written out."""
        n, m, positions = len(self.x), self.x.shape[1], self.delta.shape[3:].numel()
        windows = patches(self.x.flatten(0, 1), self.geometry)
        return Outer(
            windows.reshape(n, m, self.geometry.groups, -1, positions).mT,
            self.delta.reshape(n, self.delta.shape[1], self.geometry.groups, -1, positions).mT,
        )


# Inner products already taken, under the identities of the two tensors that come with them.
Known = dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]]

# A dense factor is a plain tensor [n, m, *parameter shape].
Factor = Outer | Correlation | Tensor


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
        return factor.reshape(*factor.shape[:2], -1)  # of a single number too, which flatten would refuse
    return factor.dense()


def merge(factors: Sequence[Factor]) -> Factor:
    """The Jacobian of a parameter that is used several times: the uses add before any product is taken."""
    if len(factors) == 1:
        return factors[0]
    pairs = [f for f in factors if isinstance(f, Outer)]
    alike = {(f.act.shape[1:3], f.act.shape[4], f.delta.shape[1], f.delta.shape[4]) for f in pairs}
    if len(pairs) == len(factors) and len(alike) == 1:
        return Outer(torch.cat([f.act for f in pairs], dim=3), torch.cat([f.delta for f in pairs], dim=3))
    return functools.reduce(torch.add, [dense(f) for f in factors])


@dataclass(frozen=True)
class _Sizes:
    """n samples, t positions, m directions; ``shared`` and ``directed``: widths without and with them."""

    n: int
    t: int
    m: int
    shared: int
    directed: int


def _sizes(factor: Outer | Correlation) -> _Sizes:
    if isinstance(factor, Outer):
        n, m_act, _, t, i = factor.act.shape
        m, o = factor.delta.shape[1], factor.delta.shape[4]
    else:
        n, m_act, c = factor.x.shape[:3]
        t, i = factor.delta.shape[3:].numel(), c // factor.geometry.groups * math.prod(factor.geometry.kernel)
        m, o = factor.delta.shape[1], factor.delta.shape[2] // factor.geometry.groups
    return _Sizes(n, t, m, i, o) if m_act == 1 else _Sizes(n, t, m_act, o, i)


def _outer_pair(a: Factor, b: Factor, full: bool) -> tuple[Outer, Outer] | None:
    """Both factors as outer products if multiplying Grams takes fewer multiplications, else None."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return None
    p, q = _sizes(a), _sizes(b)
    pairs = p.m * q.m if full else p.m
    products = p.n * q.n * p.t * q.t * (p.shared + pairs * p.directed)
    explicit = p.m * p.shared * p.directed * (p.n * p.t + q.n * q.t + p.n * q.n * (q.m if full else 1))
    if products >= explicit and p.t * q.t > 1:
        return None
    left = a if isinstance(a, Outer) else a.outer()
    right = left if b is a else b if isinstance(b, Outer) else b.outer()
    return left, right


def _sides(a: Outer, b: Outer) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((shared, shared'), (directed, directed')): the directed side is the one with the axis m."""
    if a.act.shape[1] == 1 and b.act.shape[1] == 1:
        return (a.act, b.act), (a.delta, b.delta)
    return (a.delta, b.delta), (a.act, b.act)


class _SelfProduct(torch.autograd.Function):
    """A A^T, whose gradient takes one product instead of the two of a general A B^T."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return a @ a.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        with full_precision(a):
            return (gradients[0] + gradients[0].mT) @ a


def _product(a: Tensor, b: Tensor) -> Tensor:
    """A B^T of [..., n, c] and [..., n2, c], at least in single precision."""
    left = single(a)
    with full_precision(left):
        product: Tensor = _SelfProduct.apply(left) if b is a else left @ single(b).mT
    return product


def _rows(u: Tensor) -> Tensor:
    """[n, m, g, t, c] -> [g, n t, m c]."""
    if u.shape[2:4] == (1, 1):
        return u.flatten(1).unsqueeze(0)
    return u.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def _pairs(u: Tensor, v: Tensor) -> Tensor:
    """Inner products over the direction and the last axis: [n, m, g, t, c] x2 -> [g, n t, n2 t2]."""
    left = _rows(u)
    return _product(left, left if v is u else _rows(v))


def trace_product(a: Factor, b: Factor, known: Known | None = None) -> Tensor:
    """Kernel summed over directions, sum_m J[n, m] . J'[n2, m].

    Args:
        a, b: factors of the same parameter.
        known: inner products already taken; a layer's weight and bias share those of its gradient.

    Returns:
        [n, n2].

    Example:
        >>> j = torch.eye(3).reshape(3, 1, 3)
        >>> trace_product(j, j).equal(torch.eye(3))
        True
    """
    pair = _outer_pair(a, b, full=False)
    if pair is None:
        left = dense(a).flatten(1)
        return _product(left, left if b is a else dense(b).flatten(1))
    (u, v), (p, q) = _sides(*pair)
    known = {} if known is None else known
    if (id(p), id(q)) not in known:
        known[id(p), id(q)] = (p, q, _pairs(p, q))  # kept alive, or another tensor could take their identity
    directed = known[id(p), id(q)][2]
    n, t, n2, t2 = u.shape[0], u.shape[3], v.shape[0], v.shape[3]
    product = _pairs(u, v) * directed
    return product[0] if product.shape == (1, n, n2) else product.reshape(-1, n, t, n2, t2).sum((0, 2, 4))


def full_product(a: Factor, b: Factor) -> Tensor:
    """Kernel between all pairs of directions, J[n, m] . J'[n2, m2].

    Returns:
        [n, n2, m, m2].
    """
    pair = _outer_pair(a, b, full=True)
    if pair is None:
        left = dense(a)
        right = left if b is a else dense(b)
        rows = left.flatten(0, 1)
        product = _product(rows, rows if b is a else right.flatten(0, 1))
        return product.reshape(*left.shape[:2], *right.shape[:2]).transpose(1, 2)
    (u, v), (p, q) = ([single(side) for side in sides] for sides in _sides(*pair))
    with full_precision(u):
        shared = torch.einsum("ngti,NgTi->ngtNT", u[:, 0], v[:, 0])
        directed = torch.einsum("nmgto,NMgTo->nmgtNMT", p, q)
        return torch.einsum("ngtNT,nmgtNMT->nNmM", shared, directed)
