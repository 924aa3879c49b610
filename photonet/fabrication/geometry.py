"""What was made: `Geometry`, the shape of a mask in lengths, before any wavelength looks at it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ..errors import InvalidArgument

__all__ = ["Geometry"]

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Geometry:
    """The geometry of a mask (or of many on one wafer, or of many devices of each).

    Fabrication errors act here, on lengths; the phase is looked up afterwards, so one geometry serves all
    wavelengths and their errors are correlated as they are on the bench.

    Attributes:
        shape: [..., y, x] of ONE device. Leading axes are masks made together: they share what is
            systematic. When devices are drawn in a batch, the tensors below get their axis in front.
        pitch: distance of neighbouring samples (dy, dx) in m.
        height: relief above the substrate in m (of a phase mask, which has no material: in rad), or None.
        width: width of the pillars in m, 0 where there is none, or None.
        shift: rigid displacement (dy, dx) of the whole pattern in m, each [..., 1, 1], or None.
        jitter: displacement (dy, dx) of every element by itself in m, each [..., y, x], or None.
        elements: equal pillars per sample, by which independent errors average inside a sample.
    """

    shape: tuple[int, ...]
    pitch: tuple[float, float]
    height: torch.Tensor | None = None
    width: torch.Tensor | None = None
    shift: Pair | None = None
    jitter: Pair | None = None
    elements: int = 1

    def required(self, length: str, error: Any) -> torch.Tensor:
        """The height or the width that ``error`` acts on.

        Raises:
            InvalidArgument: this mask has none, so the error would be without effect.
        """
        tensor: torch.Tensor | None = getattr(self, length)
        if tensor is None:
            raise InvalidArgument(
                "errors", f"errors that this kind of mask can have (it has no {length})", type(error).__name__
            )
        return tensor

    def to(self, device: torch.device | str) -> Geometry:
        """The same geometry on another device."""

        def move(pair: Pair | None) -> Pair | None:
            return None if pair is None else (pair[0].to(device), pair[1].to(device))

        return replace(
            self,
            height=None if self.height is None else self.height.to(device),
            width=None if self.width is None else self.width.to(device),
            shift=move(self.shift),
            jitter=move(self.jitter),
        )
