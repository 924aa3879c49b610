"""A map of the feature space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

__all__ = ["embedding"]

MOST = 400
"""Samples shown: t-SNE takes time, and more points hide each other."""


def embedding(features: Mapping[str, torch.Tensor], labels: torch.Tensor, seed: int = 0) -> Figure:
    """t-SNE maps of feature maps side by side, coloured by class.

    Method: van der Maaten and Hinton, JMLR 9, 2579 (2008), as in scikit-learn. Each panel is embedded by
    itself: distances can be compared within a panel, not between panels.

    Args:
        features: title -> [n, ...].
        labels: [n].
        seed: of the embedding's start.
    """
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    figure = Figure(figsize=(4 * len(features), 3.6), layout="constrained")
    panels = figure.subplots(1, len(features), squeeze=False)[0]
    colours = labels[:MOST].cpu().numpy()
    for axes, (title, values) in zip(panels, features.items(), strict=True):
        flat = values[:MOST].detach().flatten(1).cpu().double().numpy()
        perplexity = min(30, max(1, (len(flat) - 1) // 3))
        places = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(flat)
        points = axes.scatter(places[:, 0], places[:, 1], c=colours, cmap="tab10", s=8)
        axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(points, ax=panels, label="class")
    return figure
