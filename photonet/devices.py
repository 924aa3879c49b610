"""Where tensors lie and how precise they are: what ``to`` of a field and of a mask takes."""

from __future__ import annotations

from typing import Any

import torch

from .arrays import complex_dtype, real_dtype
from .errors import InvalidArgument

__all__ = ["moved"]

PRECISE = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def moved(tensor: torch.Tensor, device: Any = None, dtype: Any = None) -> torch.Tensor:
    """A tensor on another device or in another precision; real stays real, and whole numbers whole.

    Args:
        tensor: of any kind.
        device: None for the one it has; a dtype in its place is taken for ``dtype``, as torch does.
        dtype: of single or double precision, None for the one it has.

    Raises:
        InvalidArgument: no device, or a dtype of another precision.

    Example:
        >>> moved(torch.ones(1, dtype=torch.complex128), torch.float32).dtype
        torch.complex64
    """
    if isinstance(device, torch.dtype) and dtype is None:
        device, dtype = None, device
    try:
        place = tensor.device if device is None else torch.device(device)
    except (RuntimeError, TypeError):
        raise InvalidArgument("device", "a device, as 'cpu' or 'cuda'", repr(device)[:60]) from None
    if dtype is None:
        return tensor.to(place)
    if dtype not in PRECISE:
        raise InvalidArgument("dtype", "float32 or float64 (or complex64, complex128)", repr(dtype)[:60])
    if tensor.is_complex():
        return tensor.to(place, complex_dtype(dtype))
    return tensor.to(place, real_dtype(dtype) if tensor.is_floating_point() else tensor.dtype)
