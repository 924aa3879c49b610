"""The analogue-to-digital converter: uniform levels, with a gradient that training can use."""

from __future__ import annotations

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = ["digitize", "full_scale"]


def full_scale(bits: int) -> int:
    """The largest digital number, 2^bits - 1.

    Example:
        >>> full_scale(12)
        4095
    """
    return 2 ** checks.count("bits", bits) - 1


def digitize(signal: torch.Tensor, bits: int) -> torch.Tensor:
    """Clip to the converter's range and round to whole digital numbers.

    The value is that of the hard converter. The gradient is straight-through: that of the clipping
    alone, 1 inside the range and 0 where the converter is saturated at either end. Rounding has a
    gradient of 0 almost everywhere, which says nothing about the camera's response to more light.

    Args:
        signal: [...] in DN, continuous.
        bits: resolution of the converter.

    Returns:
        [...] in DN, whole numbers from 0 to 2^bits - 1, in the dtype of ``signal``.

    Raises:
        InvalidArgument: a signal that is no real tensor, or bits that are no whole number of at least 1.

    Example:
        >>> digitize(torch.tensor([-3.0, 1.4, 1.6, 300.0]), bits=8).tolist()
        [0.0, 1.0, 2.0, 255.0]
    """
    if checks.instance("signal", signal, torch.Tensor, "a tensor in DN").is_complex():
        raise InvalidArgument("signal", "real numbers in DN", "complex ones")
    clipped = signal.clamp(0, full_scale(bits))
    return clipped + (clipped.round() - clipped).detach()
