"""From the samples of a field to the pixels of a camera: light is collected over an area."""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import GridMismatch
from ..grid import Grid, overlap
from ..precision import full_precision
from .model import light

__all__ = ["pixel_irradiance"]


def pixel_irradiance(irradiance: torch.Tensor, grid: Grid, pixels: Grid, fill: Any = 1.0) -> torch.Tensor:
    """Mean irradiance over the light-sensitive rectangle of each pixel.

    Every sample stands for a cell of constant irradiance; a pixel takes from each cell the area it
    covers. That is exact for such a picture, whatever the ratio of the pitches, conserves energy when
    the pixels tile the window, and is differentiable. What lies outside of ``grid`` is dark. The
    rectangles are separable, so the cost is two matrix products.

    Args:
        irradiance: [..., y, x] in W/m^2, on ``grid``.
        grid: where the samples lie.
        pixels: where the pixels lie (pitch of the camera, centre of its displacement).
        fill: side of the sensitive rectangle relative to the pitch (y, x), or one number for both; 1 with
            microlenses. (Quantum efficiency is counted on the whole cell, so this shapes the pixel's
            blur only and loses no light.)

    Returns:
        [..., *pixels.shape] in W/m^2.

    Raises:
        InvalidArgument: fill is not in (0, 1], irradiance that is negative or complex, or samples that are
            not on ``grid``.

    Example:
        >>> light = torch.arange(16.0).reshape(4, 4)
        >>> pixel_irradiance(light, Grid(4, 1e-6), Grid(2, 2e-6, centre=(0.5e-6, 0.5e-6))).tolist()
        [[2.5, 4.5], [10.5, 12.5]]
    """
    irradiance = light("irradiance", irradiance, "W/m^2", "pass abs(u)^2 of a field")
    if tuple(irradiance.shape[-2:]) != grid.shape:
        raise GridMismatch("irradiance", f"the samples {grid}", f"shape {tuple(irradiance.shape)}")
    sides = [checks.positive("fill", f) for f in checks.pair("fill", fill)]
    for side in sides:
        checks.fraction("fill", side)
    rows, columns = (
        (overlap(source, s, target, p * side) / (p * side)).to(irradiance)
        for source, s, target, p, side in zip(
            (grid.y, grid.x), grid.pitch, (pixels.y, pixels.x), pixels.pitch, sides, strict=True
        )
    )
    with full_precision(irradiance):
        return rows @ irradiance @ columns.mT
