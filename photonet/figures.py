"""The one way a plane is drawn: axes in micrometres, colour bar with a unit.

Level 0, so that every object can draw itself; whole figures are composed in `photonet.plot`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .grid import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["show_plane"]


def show_plane(
    plane: torch.Tensor,
    grid: Grid,
    axes: Axes | None = None,
    *,
    label: str = "",
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw real values on a grid; row 0 is at the top, as in images, so y grows downwards.

    Args:
        plane: [y, x].
        grid: where the samples lie.
        axes: matplotlib axes; those of a new pyplot figure by default.
        label: of the colour bar, with its unit.
        cmap: matplotlib colour map.
        limits: values at the ends of the colour map; by default the least and the largest.

    Returns:
        The axes.

    Example:
        >>> import matplotlib; matplotlib.use("agg")
        >>> show_plane(torch.rand(4, 4), Grid(4, 1e-6), label="irradiance (W/m²)").get_xlabel()
        'x (µm)'
    """
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.figure(layout="constrained").subplots()
    (top, left), (dy, dx) = (float(grid.y[0]), float(grid.x[0])), grid.pitch
    right, bottom = left + (grid.shape[1] - 0.5) * dx, top + (grid.shape[0] - 0.5) * dy
    edges = (1e6 * (left - dx / 2), 1e6 * right, 1e6 * bottom, 1e6 * (top - dy / 2))
    low, high = limits or (None, None)
    picture = axes.imshow(
        plane.detach().cpu().numpy(), extent=edges, cmap=cmap, vmin=low, vmax=high, interpolation="nearest"
    )
    axes.set(xlabel="x (µm)", ylabel="y (µm)")
    axes.figure.colorbar(picture, ax=axes, label=label)
    return axes
