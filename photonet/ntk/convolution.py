"""Rules of convolutions, and of an average pool behind one, for `photonet.ntk.layers`."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .correlate import ConvGeometry, crop
from .factors import Correlation, Factor

__all__ = [
    "AVERAGE_POOLS",
    "Pool",
    "box_means",
    "channel_sums",
    "conv",
    "conv_factor",
    "conv_pool",
    "conv_transpose",
    "folds",
]

Pool = nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def conv_factor(x: Tensor, delta: Tensor, geometry: ConvGeometry) -> Correlation:
    """Jacobian factor of a convolution's weight [c_out, c_in / groups, *kernel], for layers built on one.

    Args:
        x: padded input, [n, c_in, *space].
        delta: [n, m, c_out, *positions].
        geometry: of the convolution.

    Example:
        >>> import torch
        >>> geometry = ConvGeometry((3,), stride=(1,), dilation=(1,))
        >>> conv_factor(torch.ones(2, 1, 5), torch.ones(2, 1, 4, 3), geometry).dense().shape
        torch.Size([2, 1, 12])
    """
    return Correlation(crop(x, delta.shape[3:], geometry).unsqueeze(1), delta, geometry)


def box_means(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over boxes at every place where one fits: average pooling with stride 1.

    Sums of shifted copies, axis by axis, are five times faster than the pools of torch.

    Args:
        x: [n, c, *space].
        size: of the box, one value per spatial axis.

    Example:
        >>> import torch
        >>> box_means(torch.tensor([[[1.0, 3.0, 5.0]]]), (2,)).tolist()
        [[[2.0, 4.0]]]
    """
    for axis, count in enumerate(size, start=2):
        length = x.shape[axis] - count + 1
        total = x.narrow(axis, 0, length) / count
        for r in range(1, count):
            total.add_(x.narrow(axis, r, length), alpha=1 / count)
        x = total
    return x


def _padding(layer: Any) -> list[int]:
    """Padding as `torch.nn.functional.pad` wants it: (before, after), last axis first."""
    dims = len(layer.kernel_size)
    if layer.padding == "valid":
        return [0] * 2 * dims
    if layer.padding == "same":
        total = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        return [part for t in reversed(total) for part in (t // 2, t - t // 2)]
    return [p for p in reversed(layer.padding) for _ in range(2)]


def _padded(layer: Any, x: Tensor) -> Tensor:
    padding, mode = _padding(layer), "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, padding, mode=mode) if any(padding) else x


def conv(layer: Any, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    """Rule of a convolution."""
    geometry = ConvGeometry(layer.kernel_size, layer.stride, layer.dilation, layer.groups)
    weight = conv_factor(_padded(layer, x), delta, geometry)
    return {"weight": weight, **channel_sums(layer, delta)}


def _per_axis(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


def folds(layer: nn.Module, pool: Pool) -> bool:
    """Whether a layer and the average pool behind it are one strided convolution of a box-filtered input."""
    pools: dict[type, type] = {nn.Conv1d: nn.AvgPool1d, nn.Conv2d: nn.AvgPool2d, nn.Conv3d: nn.AvgPool3d}
    return (
        isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        and pools.get(type(layer)) is type(pool)
        and set(layer.stride) == {1}
        and set(_per_axis(pool.padding, 1)) == {0}
        and not pool.ceil_mode
        and getattr(pool, "divisor_override", None) is None
    )


def conv_pool(layer: Any, pool: Pool, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    """Rule of a convolution and the average pool behind it, ``delta`` at the output of the pool.

    Both are linear, and a pool of 4 x 4 leaves 16 times fewer positions to multiply.
    """
    dims = len(layer.kernel_size)
    box = box_means(_padded(layer, x), _per_axis(pool.kernel_size, dims))
    stride = _per_axis(pool.stride, dims)
    geometry = ConvGeometry(layer.kernel_size, stride, layer.dilation, layer.groups)
    return {"weight": conv_factor(box, delta, geometry), **channel_sums(layer, delta)}


def channel_sums(layer: Any, delta: Tensor) -> dict[str, Factor]:
    """Rule of a bias for each channel, if there is one.

    Channels are axis 1 of the layer's output; what follows them is summed.
    """
    return {} if layer.bias is None else {"bias": delta.reshape(*delta.shape[:3], -1).sum(3)}


def conv_transpose(layer: Any, x: Tensor, delta: Tensor) -> dict[str, Factor]:
    """Rule of a transposed convolution.

    It is the adjoint of a convolution, so the windows are those of the output's gradient. An output padding
    can leave positions that no input reaches.
    """
    geometry = ConvGeometry(layer.kernel_size, layer.stride, layer.dilation, layer.groups)
    padding = [p for p in reversed(layer.padding) for _ in range(2)]
    gradient = crop(F.pad(delta, padding), x.shape[2:], geometry)
    weight = Correlation(gradient, x.unsqueeze(1), geometry)
    return {"weight": weight, **channel_sums(layer, delta)}
