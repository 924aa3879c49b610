"""What is fixed in a camera: DSNU and PRNU, the differences between its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = ["FixedPattern", "clean_parts", "nonuniformity"]


@dataclass(frozen=True)
class FixedPattern:
    """What distinguishes the pixels of one camera and stays with it: drawn once, see `Detector.pattern`.

    Attributes:
        offset: [y, x] in electrons, of mean 0 (dark signal nonuniformity).
        response: [y, x], relative to the mean pixel (photo response nonuniformity).
    """

    offset: torch.Tensor
    response: torch.Tensor


def clean_parts(name: str, value: Any) -> tuple[float, float, float]:
    """Standard deviations (row, column, pixel); one number is all in the pixels."""
    if not isinstance(value, (list, tuple)):
        return 0.0, 0.0, checks.non_negative(name, value)
    if len(value) != 3:
        raise InvalidArgument(name, "one number, or its (row, column, pixel) parts", f"{len(value)} values")
    row, column, pixel = (checks.non_negative(name, v) for v in value)
    return row, column, pixel


def nonuniformity(
    parts: tuple[float, float, float], shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """Draw a nonuniformity from its row, column and pixel parts (EMVA 1288 release 4, section 3.4).

    Args:
        parts: standard deviations (row, column, pixel); each part is Gaussian and independent.
        shape: pixels (ny, nx).
        generator: on the CPU.

    Returns:
        [y, x] float64, with mean 0 over the frame.

    Example:
        >>> stripes = nonuniformity((0.0, 2.0, 0.0), (50, 400), torch.Generator().manual_seed(0))
        >>> bool(stripes.std(0).max() < 1e-9), bool(abs(stripes[0].std() - 2) < 0.3)
        (True, True)
    """
    ny, nx = shape
    total = torch.zeros(ny, nx, dtype=torch.float64)
    for sigma, part in zip(parts, ((ny, 1), (1, nx), (ny, nx)), strict=True):
        total = total + sigma * torch.randn(part, generator=generator, dtype=torch.float64)
    return total - total.mean()
