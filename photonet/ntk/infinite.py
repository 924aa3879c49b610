"""Kernels of infinitely wide students in closed form: convolution, average pool, ReLU, dense layers.

All layers are in the NTK parameterisation: weights are normal numbers of unit variance, divided by
sqrt(fan in). The convolution has infinitely many kernels, so the covariance of its pooled maps is that of
pooled patches; after flattening, a dense layer sees the mean over positions. ReLUs follow the
arc-cosine recursion (Cho and Saul, NeurIPS 2009; Jacot et al., NeurIPS 2018, arXiv 1806.07572).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks
from ..errors import InvalidArgument

__all__ = ["infinite_gram", "relu_expectations"]

TILE = 256
"""Samples along each axis at a time: what is between stays in the processor's cache, six times as fast."""


def relu_expectations(cross: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """E[relu(u) relu(v)] and E[relu'(u) relu'(v)] of normal u, v.

    Args:
        cross: their covariance, [..., n, n2].
        a: variance of u, [..., n, 1].
        b: variance of v, [..., 1, n2].

    Returns:
        two tensors [..., n, n2]; the first is s (sqrt(1 - c^2) + c (pi - arccos c)) / 2 pi and the second
        (pi - arccos c) / 2 pi, with s = sqrt(a b) and c = cross / s.

    Example:
        >>> one = torch.ones(1, 1)
        >>> [round(e.item(), 4) for e in relu_expectations(one, one, one)]
        [0.5, 0.5]
    """
    scale = (a * b).sqrt()
    cosine = (cross / scale.clamp_min(torch.finfo(scale.dtype).tiny)).clamp(-1, 1)
    angle = math.pi - torch.arccos(cosine)
    value = scale * ((1 - cosine.square()).clamp_min(0).sqrt() + cosine * angle) / (2 * math.pi)
    return value, angle / (2 * math.pi)


def _pooled_patches(x: Tensor, kernel: int, padding: int, pool: int) -> Tensor:
    """[n, positions, c kernel^2]: convolution and mean are linear, so the scene may be averaged first."""
    box = F.avg_pool2d(F.pad(x, (padding,) * 4), pool, stride=1)
    return F.unfold(box, kernel, stride=pool).mT


def _rectified(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Behind a ReLU on each map: covariance [n, n2], variances [n, 1] and [1, n2], and what kernels learn.

    Weights of a dense layer are independent between positions, so only equal ones meet.
    """
    positions, width = left.shape[1:]
    a = left.square().mean(2).T[..., None]  # [positions, n, 1]
    b = right.square().mean(2).T[:, None]  # [positions, 1, n2]
    value, learnt = left.new_zeros(2, len(left), len(right))
    for i in range(0, len(left), TILE):
        for j in range(0, len(right), TILE):
            rows, columns = slice(i, i + TILE), slice(j, j + TILE)
            for p in range(positions):
                cross = left[rows, p] @ right[columns, p].mT / width
                here, slope = relu_expectations(cross, a[p, rows], b[p, :, columns])
                value[rows, columns] += here / positions
                learnt[rows, columns] += slope * cross / positions
    return value, a.mean(0) / 2, b.mean(0) / 2, learnt


def infinite_gram(
    x: Tensor,
    x2: Tensor | None = None,
    *,
    kernel: int,
    padding: int | None = None,
    pool: int = 1,
    rectified: bool = False,
    hidden: int = 1,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    frontend: str = "trained",
) -> tuple[Tensor, Tensor]:
    """Kernels of the hybrid student with infinitely many optical kernels and infinitely wide hidden layers.

    Args:
        x: images [n, c, y, x].
        x2: [n2, c, y, x]; None for x itself.
        kernel: side of the optical kernels, pixels.
        padding: pixels of zeros around the image; None keeps the size, which odd kernels can.
        pool: side of the average pool behind the convolution (the sensor's binning).
        rectified: whether a ReLU acts on the pooled maps; without it the optics are linear up to the first
            hidden layer.
        hidden: ReLU layers between the feature maps and the readout; 0 is the linear readout.
        weight_variance: of the dense weights; 2 keeps the scale through ReLU layers (He et al. 2015).
        bias_variance: of the dense biases.
        frontend: ``"trained"`` counts the gradients of the kernels, ``"frozen"`` keeps them random.

    Returns:
        (covariance of the outputs, tangent kernel), each [n, n2].

    Raises:
        InvalidArgument: not images of the same size, an even kernel without padding, or a pool larger than
            the maps.

    Example:
        >>> x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> covariance, tangent = infinite_gram(x, kernel=3, pool=2)
        >>> tangent.shape, bool((torch.linalg.eigvalsh(tangent) > 0).all())
        (torch.Size([4, 4]), True)
    """
    checks.choice("frontend", frontend, ("trained", "frozen"))
    kernel, pool = checks.count("kernel", kernel), checks.count("pool", pool)
    weights = checks.positive("weight_variance", weight_variance)
    biases = checks.non_negative("bias_variance", bias_variance)
    other = x if x2 is None else x2
    for name, images in (("x", x), ("x2", other)):
        if not isinstance(images, Tensor) or not images.is_floating_point():
            got = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise InvalidArgument(name, "a tensor of images [n, c, y, x], floating-point", got)
    if other.dtype != x.dtype:
        raise InvalidArgument("x2", f"the dtype of x, {x.dtype}", other.dtype)
    if x.ndim != 4 or other.shape[1:] != x.shape[1:]:
        raise InvalidArgument(
            "x", "images [n, c, y, x], all alike", f"{tuple(x.shape)}, {tuple(other.shape)}"
        )
    if padding is None and kernel % 2 == 0:
        raise InvalidArgument("padding", f"pixels, as no border keeps the size for an even {kernel}", None)
    border = kernel // 2 if padding is None else checks.count("padding", padding, 0)
    if min(x.shape[2:]) + 2 * border - kernel + 1 < pool:
        raise InvalidArgument("pool", "at most the side of the feature maps", pool)

    left = _pooled_patches(x, kernel, border, pool)
    right = left if x2 is None else _pooled_patches(other, kernel, border, pool)
    # means over elements of a kernel and over positions: the division by sqrt(fan in) of both layers
    if rectified:
        maps, a, b, learnt = _rectified(left, right)
    else:
        u, v = left.flatten(1), right.flatten(1)
        maps = learnt = u @ v.mT / u.shape[1]
        a, b = u.square().mean(1, keepdim=True), v.square().mean(1)[None]
    cross, a, b = weights * maps + biases, weights * a + biases, weights * b + biases
    tangent = cross + (weights * learnt if frontend == "trained" else 0)
    for _ in range(checks.count("hidden", hidden, 0)):
        value, slope = relu_expectations(cross, a, b)
        cross, a, b = weights * value + biases, weights * a / 2 + biases, weights * b / 2 + biases
        tangent = cross + weights * slope * tangent
    return cross, tangent
