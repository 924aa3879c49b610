"""Per-sample gradients of a convolution's weight, without keeping the windows of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ConvGeometry", "correlate", "crop", "patches"]

# Windows of so many elements at a time, which bounds memory and lets them stay in the processor's cache.
BLOCK = 2**20

CONV_TRANSPOSE: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class ConvGeometry(NamedTuple):
    """How a convolution's windows lie.

    Args:
        kernel, stride, dilation: one value per spatial axis.
        groups: as in `torch.nn.Conv2d`.
        mirrored: for a true convolution, whose kernel's samples run against those of the window; those of
            torch are correlations.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    mirrored: bool = False


def patches(x: Tensor, geometry: ConvGeometry) -> Tensor:
    """The windows a convolution sees, as a view unless mirrored, in any number of dimensions.

    Args:
        x: [n, c, *space], already padded.
        geometry: of the convolution.

    Returns:
        [n, c, *kernel, *positions].

    Example:
        >>> patches(torch.arange(5.0).reshape(1, 1, 5), ConvGeometry((3,), (1,), (1,))).shape
        torch.Size([1, 1, 3, 3])
    """
    kernel, stride, dilation, _, mirrored = geometry
    dims = len(kernel)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
        x = x.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    x = x.permute(0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims))
    return x.flip(*range(2, 2 + dims)) if mirrored else x


def crop(x: Tensor, positions: tuple[int, ...], geometry: ConvGeometry) -> Tensor:
    """``x`` without the samples at its end that none of the windows at ``positions`` reaches."""
    kernel, stride, dilation, *_ = geometry
    for axis, (p, k, s, d) in enumerate(zip(positions, kernel, stride, dilation, strict=True)):
        x = x.narrow(axis - len(positions), 0, (p - 1) * s + d * (k - 1) + 1)
    return x


def correlate(x: Tensor, delta: Tensor, geometry: ConvGeometry) -> Tensor:
    """Gradient of each sample's convolution with respect to the weight; differentiable any number of times.

    Args:
        x: padded input, cropped to what the windows reach, [n, c, *space].
        delta: gradients of m directions at the output, [n, m, q, *positions].
        geometry: of the convolution.

    Returns:
        [n, m, q, c / groups, *kernel].

    Example:
        >>> geometry = ConvGeometry((3,), (1,), (1,))
        >>> correlate(torch.ones(2, 1, 5), torch.ones(2, 1, 4, 3), geometry)[0, 0, 0].tolist()
        [[3.0, 3.0, 3.0]]
    """
    # mixed precision may leave the two in different types
    result: Tensor = _Correlate.apply(x, delta.to(x.dtype), geometry)
    return result


def _times_windows(rows: Tensor, x: Tensor, geometry: ConvGeometry, *, transposed: bool) -> Tensor:
    """Each sample's rows [n, m, q, ...] times its windows, block by block.

    A window matrix has as many rows as there are positions and a column for each weight of one output
    channel; ``transposed`` is the other way round.
    """
    groups = geometry.groups
    gather, shape = _gatherer(x, geometry)
    n, m, q = rows.shape[:3]
    numbers = math.prod(shape)
    size = min(n, max(1, BLOCK // (numbers + rows[0].numel())))
    seen = x.new_empty(size, numbers)  # one buffer for all blocks
    blocks = []
    for start, part in zip(range(0, n, size), rows.split(size), strict=True):
        windows = gather(slice(start, start + len(part)), seen[: len(part)])
        # directions count as further output channels of each group
        grouped = part.reshape(len(part), m, groups, q // groups, -1).transpose(1, 2).flatten(2, 3)
        blocks.append(_product(grouped, windows.mT if transposed else windows))
    product = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    return product.unflatten(2, (m, -1)).transpose(1, 2).flatten(2, 3)


def _product(rows: Tensor, windows: Tensor) -> Tensor:
    """``rows @ windows``, two to ten times faster in half precision where the windows are stored by columns.

    There a batched product first copies a right side that is transposed; of the other order it is the rows,
    which are few.
    """
    if windows.is_contiguous() or rows.element_size() > 2:
        return rows @ windows
    return (windows.mT @ rows.mT).mT


def _gatherer(
    x: Tensor, geometry: ConvGeometry
) -> tuple[Callable[[slice, Tensor], Tensor], tuple[int, int, int]]:
    """How windows [samples, groups, positions, weights] are written into a buffer, and their shape.

    Copying the view of `patches` goes in runs of one row of positions: fast where windows lie side by side,
    a third as fast as an index where strides leave few positions.
    """
    groups, axes = geometry.groups, len(geometry.kernel)
    if max(geometry.stride) == 1 and not geometry.mirrored:  # a mirrored view is a copy of it all
        view = patches(x, geometry)
        places = view.shape[2 + axes :].numel()

        def copy(samples: slice, buffer: Tensor) -> Tensor:
            buffer.view(len(buffer), *view.shape[1:]).copy_(view[samples])
            return buffer.view(len(buffer), groups, -1, places).mT

        return copy, (groups, places, view[0].numel() // groups // places)
    numbers = torch.arange(x[0].numel(), device=x.device).reshape(1, *x.shape[1:])
    chosen = patches(numbers, geometry)
    index = chosen.reshape(groups, -1, chosen.shape[2 + axes :].numel()).mT
    order, flat = index.flatten(), x.flatten(1)

    def gather(samples: slice, buffer: Tensor) -> Tensor:
        return torch.index_select(flat[samples], 1, order, out=buffer).view(len(buffer), *index.shape)

    return gather, (index.shape[0], index.shape[1], index.shape[2])


class _Correlate(torch.autograd.Function):
    """The gradients of the weights; linear in ``x`` and in ``delta``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, geometry: ConvGeometry) -> Tensor:
        ctx.save_for_backward(x, delta)
        ctx.geometry = geometry
        return _times_windows(delta, x, geometry, transposed=False).unflatten(3, (-1, *geometry.kernel))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, delta = ctx.saved_tensors
        weight = gradients[0].to(x.dtype)
        to_x = to_delta = None
        if ctx.needs_input_grad[0]:
            to_x = _scatter(delta, weight, ctx.geometry).reshape(x.shape)
        if ctx.needs_input_grad[1]:
            to_delta = _Convolve.apply(x, weight, ctx.geometry, delta.shape[3:])
        return to_x, to_delta, None


class _Convolve(torch.autograd.Function):
    """Each sample convolved with weights of its own [n, m, q, c / groups, *kernel]; linear in both."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, geometry: ConvGeometry, positions: tuple[int, ...]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return _times_windows(weight, x, geometry, transposed=True).unflatten(3, positions)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _scatter(gradients[0], weight, ctx.geometry).reshape(x.shape)
        if ctx.needs_input_grad[1]:
            to_weight = _Correlate.apply(x, gradients[0], ctx.geometry)
        return to_x, to_weight, None, None


def _scatter(delta: Tensor, weight: Tensor, geometry: ConvGeometry) -> Tensor:
    """From the outputs back to the inputs: a transposed convolution, one group per sample and group."""
    kernel, stride, dilation, groups, mirrored = geometry
    rows, weights = (t.unflatten(2, (groups, -1)).transpose(1, 2).flatten(0, 3) for t in (delta, weight))
    if mirrored:
        weights = weights.flip(*range(2, weights.ndim))
    transposed = CONV_TRANSPOSE[len(kernel)]
    samples = len(delta) * groups
    result: Tensor = transposed(rows.unsqueeze(0), weights, stride=stride, dilation=dilation, groups=samples)
    return result
