"""Measured feature maps in memory: what correction learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..checks import finite
from ..errors import InvalidArgument

__all__ = ["Measured"]


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """Scenes that were shown to a device and the feature maps that came back.

    Args:
        scenes: [n, c, y, x], what the display showed.
        features: [n, k, v, u], signed feature maps after the subtraction of the two captures.
        labels: int64 [n, ...], or None where nobody knows them.

    Raises:
        InvalidArgument: different numbers of scenes, features and labels, or values that are not finite.

    Example:
        >>> len(Measured(torch.rand(5, 1, 28, 28), torch.rand(5, 8, 7, 7)))
        5
    """

    scenes: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor | None = None

    def __post_init__(self) -> None:
        finite("scenes", self.scenes)
        finite("features", self.features)
        if len(self.features) != len(self.scenes):
            raise InvalidArgument("features", f"{len(self.scenes)} maps, one per scene", len(self.features))
        if self.labels is not None and len(self.labels) != len(self.scenes):
            raise InvalidArgument("labels", f"{len(self.scenes)} labels, one per scene", len(self.labels))

    def __len__(self) -> int:
        return len(self.scenes)

    def __repr__(self) -> str:
        known = "without labels" if self.labels is None else f"labels {tuple(self.labels.shape)}"
        return f"<Measured scenes {tuple(self.scenes.shape)}, features {tuple(self.features.shape)}, {known}>"

    def __getitem__(self, index: torch.Tensor | slice) -> Measured:
        """The same for some of the scenes."""
        labels = self.labels[index] if self.labels is not None else None
        return Measured(self.scenes[index], self.features[index], labels)
