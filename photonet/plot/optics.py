"""Figures of masks and of what they do to a point of light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..design import MaskDesign

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["kernel_rows", "masks"]


def masks(design: MaskDesign) -> Figure:
    """Heights of all masks: the positive parts above, the negative parts below.

    Args:
        design: from `photonet.design.kernels_to_masks`.
    """
    from matplotlib.figure import Figure

    heights = design.mask.height.detach().cpu() * 1e6
    parts, kernels = heights.shape[:2]
    figure = Figure(figsize=(1.5 * kernels, 1.6 * parts), layout="constrained")
    panels = figure.subplots(parts, kernels, squeeze=False)
    for part, name in enumerate(("positive", "negative")):
        for kernel in range(kernels):
            axes = panels[part][kernel]
            picture = axes.imshow(
                heights[part, kernel].numpy(), cmap="viridis", vmin=0, vmax=float(heights.max())
            )
            axes.set_xticks([])
            axes.set_yticks([])
            if part == 0:
                axes.set_title(f"kernel {kernel + 1}", fontsize=9)
        panels[part][0].set_ylabel(name)
    width = design.mask.grid.extent[1] * 1e6
    figure.colorbar(picture, ax=panels, label="height (µm)", shrink=0.8)
    figure.suptitle(f"Mask reliefs, {width:.0f} µm wide", fontsize=10)
    return figure


def kernel_rows(rows: Mapping[str, torch.Tensor]) -> Figure:
    """Signed kernels side by side, a row for each origin, on one colour scale per kernel.

    Args:
        rows: title -> [k, y, x]; smaller kernels are shown with nothing around them.
    """
    from matplotlib.figure import Figure

    size = max(max(k.shape[-2:]) for k in rows.values())
    count = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.4 * count, 1.5 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), count, squeeze=False)
    largest = torch.stack([k.detach().abs().amax(dim=(-2, -1)).cpu() for k in rows.values()]).amax(dim=0)
    for row, (title, kernels) in enumerate(rows.items()):
        margin = (size - kernels.shape[-1]) / 2
        for index in range(count):
            axes, limit = panels[row][index], float(largest[index]) or 1.0
            side = kernels.shape[-1]
            axes.imshow(
                kernels[index].detach().cpu().numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit,
                extent=(margin, margin + side, margin + side, margin),
            )  # fmt: skip
            axes.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
            if row == 0:
                axes.set_title(f"kernel {index + 1}", fontsize=9)
        panels[row][0].set_ylabel(title, fontsize=9)
    return figure
