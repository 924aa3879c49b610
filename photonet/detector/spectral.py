"""Quantum efficiency by wavelength, and colour filters: tables that are interpolated, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = [
    "Efficiency",
    "Mosaic",
    "channel_masks",
    "clean_efficiencies",
    "clean_efficiency",
    "clean_mosaic",
    "interpolate",
]

Efficiency = float | tuple[tuple[float, float], ...]
"""One number for all wavelengths, or rows (wavelength in m, efficiency) in rising order."""

Mosaic = tuple[tuple[str, ...], ...]
"""Names of the colour filters over one tile of pixels, row by row."""

SLACK = 1e-6
"""Relative distance outside of a table that is the rounding of a wavelength in single precision."""


def clean_efficiency(name: str, value: Any) -> Efficiency:
    """A number in [0, 1], or a table {wavelength: efficiency} or rows of pairs, sorted."""
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if not isinstance(value, (list, tuple)):
        return checks.fraction(name, value)
    if len(value) < 2 or not all(isinstance(row, (list, tuple)) and len(row) == 2 for row in value):
        raise InvalidArgument(name, "a table of two or more pairs (wavelength in m, efficiency)", value)
    rows = sorted((checks.wavelength(w, name).item(), checks.fraction(name, eta)) for w, eta in value)
    if len({w for w, _ in rows}) != len(rows):
        raise InvalidArgument(name, "every wavelength once", "a repeated wavelength")
    return tuple(rows)


def clean_mosaic(value: Any) -> Mosaic:
    """The tile of a colour filter array: rows of names, of equal length (``["RG", "GB"]`` is one)."""
    rows = tuple(tuple(row) for row in value) if isinstance(value, (list, tuple)) else ()
    equal = rows and rows[0] and all(len(row) == len(rows[0]) for row in rows)
    if not equal or not all(isinstance(name, str) for row in rows for name in row):
        raise InvalidArgument("mosaic", 'rows of filter names of equal length, such as ["RG", "GB"]', value)
    return rows


def clean_efficiencies(value: Any, mosaic: Mosaic | None) -> Any:
    """The efficiency of a camera, or pairs (filter name, efficiency) for one with a mosaic."""
    name = "quantum_efficiency"
    if mosaic is None:
        return clean_efficiency(name, value)
    filters = sorted({f for row in mosaic for f in row})
    try:
        table = dict(value)
    except (TypeError, ValueError):
        table = {}
    if set(table) != set(filters):
        raise InvalidArgument(name, f"one efficiency for each filter {', '.join(filters)}", value)
    return tuple((f, clean_efficiency(name, table[f])) for f in filters)


def interpolate(efficiency: Efficiency, wavelength: torch.Tensor) -> torch.Tensor:
    """Efficiency at wavelengths [L] in m (float64), linear between the rows of the table.

    Raises:
        InvalidArgument: a wavelength outside of the table: efficiency falls fast at its ends.

    Example:
        >>> interpolate(((4e-7, 0.2), (6e-7, 0.6)), torch.tensor([5e-7], dtype=torch.float64)).item()
        0.4
    """
    if isinstance(efficiency, float):
        return torch.full_like(wavelength, efficiency)
    table = torch.tensor(efficiency, dtype=torch.float64, device=wavelength.device)
    at, values = table.T.contiguous()
    outside = (wavelength < at[0] * (1 - SLACK)) | (wavelength > at[-1] * (1 + SLACK))
    if bool(outside.any()):
        raise InvalidArgument(
            "wavelength",
            f"within the table of the quantum efficiency, {at[0]:g} to {at[-1]:g} m",
            f"{wavelength[outside][0].item():g} m",
        )
    right = torch.searchsorted(at, wavelength.detach()).clamp(1, len(at) - 1)
    share = (wavelength - at[right - 1]) / (at[right] - at[right - 1])
    return torch.lerp(values[right - 1], values[right], share)


def channel_masks(mosaic: Mosaic, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Which pixels lie under which colour filter; the tile starts at pixel (0, 0).

    Args:
        mosaic: names of one tile.
        shape: pixels (ny, nx).

    Returns:
        Filter name to bool [y, x].

    Example:
        >>> channel_masks((("R", "G"), ("G", "B")), (2, 3))["G"].int().tolist()
        [[0, 1, 0], [1, 0, 1]]
    """
    masks = {name: torch.zeros(shape, dtype=torch.bool) for row in mosaic for name in row}
    for i, row in enumerate(mosaic):
        for j, name in enumerate(row):
            masks[name][i :: len(mosaic), j :: len(row)] = True
    return masks
