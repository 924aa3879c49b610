"""How alike two kernels are, whatever their scale."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ..errors import InvalidArgument

__all__ = ["alignment", "center"]


def _square(name: str, k: Tensor) -> Tensor:
    square = isinstance(k, Tensor) and k.ndim > 1 and k.shape[-1] == k.shape[-2] > 0
    if not square or not k.is_floating_point():
        got = f"shape {tuple(k.shape)} of {k.dtype}" if isinstance(k, Tensor) else type(k).__name__
        raise InvalidArgument(name, "a kernel [..., n, n] of floating-point numbers", got)
    return k


def center(k: Tensor) -> Tensor:
    """The kernel of features whose mean over the batch is removed: H K H, H = I - 1/n.

    Args:
        k: [..., n, n].

    Raises:
        InvalidArgument: not square, or a batch of one (it would be zero).

    Example:
        >>> center(torch.ones(3, 3) + torch.eye(3)).sum(1).abs().max() < 1e-6
        tensor(True)
    """
    if _square("k", k).shape[-1] < 2:
        raise InvalidArgument("k", "a batch of at least 2 samples to centre", k.shape[-1])
    rows, columns = k.mean(-1, keepdim=True), k.mean(-2, keepdim=True)
    return k - rows - columns + rows.mean(-2, keepdim=True)


def alignment(a: Tensor, b: Tensor, kind: str = "cka") -> Tensor:
    """Similarity of two kernels on the same samples; the scale of either does not matter.

    Args:
        a, b: [..., n, n].
        kind: ``"cosine"`` is <A, B> / (|A| |B|) (kernel alignment, Cristianini et al. 2001); ``"cka"`` the
            same of the centred kernels (Cortes et al., JMLR 13:795, 2012; Kornblith et al., ICML 2019);
            ``"unbiased"`` is CKA with the unbiased HSIC of Song et al. (JMLR 13:1393, 2012), which does
            not grow as the batch shrinks, and may be negative.

    Returns:
        [...], in [0, 1] for positive semidefinite kernels (unbiased: at most about 1).

    Raises:
        InvalidArgument: shapes differ, too few samples, or an unknown kind.

    Example:
        >>> k = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> alignment(k, 7 * k).item()
        1.0
    """
    checks.choice("kind", kind, ("cka", "cosine", "unbiased"))
    if _square("a", a).shape[-1] != _square("b", b).shape[-1]:
        raise InvalidArgument("b", f"a kernel of the same {a.shape[-1]} samples", f"shape {tuple(b.shape)}")
    with checks.reworded("b", f"kernels that go with a, {tuple(a.shape)}", f"shape {tuple(b.shape)}"):
        torch.broadcast_shapes(a.shape, b.shape)
    a, b = _scaled(a), _scaled(b)
    if kind == "unbiased":
        if a.shape[-1] < 4:
            raise InvalidArgument("a", "a batch of at least 4 samples for kind='unbiased'", a.shape[-1])
        cross = _hsic(a, b)
        # A nearly empty kernel can have a negative estimate of its own norm; it is then not alike anything.
        own, other = _hsic(a, a), _hsic(b, b)
        none = (own <= 0) | (other <= 0)
        return over(cross, torch.where(none, 1.0, own * other).sqrt() * ~none)
    if kind == "cka":
        a, b = center(a), center(b)
    return over((a * b).sum((-2, -1)), torch.linalg.matrix_norm(a) * torch.linalg.matrix_norm(b))


def _scaled(k: Tensor) -> Tensor:
    """The kernel with its largest magnitude in [1, 2): products of four leave the range of single precision.

    By a power of two, which rounds nothing. The gradient does not go through the scale, on which nothing that
    is made of the kernel depends.
    """
    largest = k.detach().abs().amax((-2, -1), keepdim=True)
    power = largest / (2 * torch.frexp(largest).mantissa)
    return k / torch.where(largest == 0, 1.0, power)


def over(cross: Tensor, scale: Tensor) -> Tensor:
    """``cross / scale``; 0, and without a gradient, where the scale is none. NaN stays NaN."""
    none = scale <= torch.finfo(scale.dtype).tiny
    return torch.where(none, 0.0, cross / torch.where(none, 1.0, scale))


def _hsic(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, Eq. 5)."""
    n = a.shape[-1]
    off = 1 - torch.eye(n, dtype=a.dtype, device=a.device)
    a, b = a * off, b * off
    inner = (a * b).sum((-2, -1))
    totals = a.sum((-2, -1)) * b.sum((-2, -1)) / ((n - 1) * (n - 2))
    rows = (a.sum(-1) * b.sum(-2)).sum(-1) * 2 / (n - 2)
    return (inner + totals - rows) / (n * (n - 3))
