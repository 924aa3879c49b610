"""Which precision light and kernels have where a network runs in mixed precision."""

from __future__ import annotations

import torch
from torch import Tensor

from .arrays import real_dtype

__all__ = ["full_precision", "single"]


def full_precision(like: Tensor) -> torch.autocast:
    """A context without mixed precision, of whose eight bits light and tangent kernels need more.

    Args:
        like: a tensor on the device.

    Example:
        >>> x = torch.ones(2, 2)
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(x):
        ...     (x @ x).dtype
        torch.float32
    """
    return torch.autocast(like.device.type, enabled=False)


def single(values: Tensor) -> Tensor:
    """The same values in single precision at least.

    Example:
        >>> single(torch.ones(2, dtype=torch.bfloat16)).dtype, single(torch.ones(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return values.to(real_dtype(values.dtype))
