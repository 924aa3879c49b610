"""What was made: `Geometry`, the shape of a mask in lengths, before any wavelength looks at it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ..devices import moved
from ..errors import InvalidArgument

__all__ = ["Geometry"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Geometry:
    """The geometry of a mask (or of many on one wafer, or of many devices of each).

    Fabrication errors act here, on lengths; the phase is looked up afterwards, so one geometry serves all
    wavelengths and their errors are correlated as they are on the bench. What a kind of mask does not have
    is None, and errors of it are refused.

    Attributes:
        shape: [..., y, x] of ONE device. Leading axes are masks made together: they share what is
            systematic. When devices are drawn in a batch, the tensors below get their axis in front.
        pitch: distance of neighbouring samples (dy, dx) in m.
        elements: equal pillars per sample, by which independent errors average inside a sample.
        height: relief, or pillars, above the substrate in m.
        phase: relief of a mask that has no material, in rad.
        width: width of the pillars in m, averaged over their height; 0 where there is none.
        index: what the refractive index of the relief has too much.
        taper: width of the pillars at the foot less that at the top, in m.
        missing: part of the pillars of a sample that fell or never stood, 0 to 1.
        fringe_y, fringe_x: width of the crosstalk of phase pixels in m, one standard deviation, [..., 1, 1].
        levels: number of the level of a relief made by several binary masks, 0, 1, 2, ...
        step: height of one such level in m, [1, 1].
        overlay_y, overlay_x: displacement of each of those masks in m, [..., masks, 1, 1].
        shift_y, shift_x: rigid displacement of the whole pattern in m, [..., 1, 1].
        jitter_y, jitter_x: displacement of every element by itself in m.
    """

    shape: tuple[int, ...]
    pitch: tuple[float, float]
    elements: int = 1
    height: torch.Tensor | None = None
    phase: torch.Tensor | None = None
    width: torch.Tensor | None = None
    index: torch.Tensor | None = None
    taper: torch.Tensor | None = None
    missing: torch.Tensor | None = None
    fringe_y: torch.Tensor | None = None
    fringe_x: torch.Tensor | None = None
    levels: torch.Tensor | None = None
    step: torch.Tensor | None = None
    overlay_y: torch.Tensor | None = None
    overlay_x: torch.Tensor | None = None
    shift_y: torch.Tensor | None = None
    shift_x: torch.Tensor | None = None
    jitter_y: torch.Tensor | None = None
    jitter_x: torch.Tensor | None = None

    @property
    def touching(self) -> float:
        """Width in m at which pillars of one sample, or of neighbouring ones, merge: their own period."""
        return float((self.pitch[0] * self.pitch[1] / self.elements) ** 0.5)

    @property
    def devices(self) -> int | None:
        """How many devices were drawn, in an axis in front of ``shape``; None where there is no such axis."""
        axes = len(self.shape)
        for name, tensor in self.tensors().items():
            if tensor.ndim > axes + name.startswith("overlay"):  # which has an axis of its masks
                return len(tensor)
        return None

    def required(self, quantity: str, error: Any) -> torch.Tensor:
        """The quantity that ``error`` acts on.

        Raises:
            InvalidArgument: this mask has none, so the error would be without effect.
        """
        tensor: torch.Tensor | None = getattr(self, quantity)
        if tensor is None:
            raise InvalidArgument(
                "errors",
                f"errors that this kind of mask can have (it has no {quantity})",
                type(error).__name__,
            )
        return tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """What there is, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}

    def with_tensors(self, tensors: dict[str, torch.Tensor]) -> Geometry:
        """The same geometry with some of its tensors replaced."""
        changes: dict[str, Any] = dict(tensors)
        return replace(self, **changes)

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Geometry:
        """The same geometry on another device, or in another precision.

        Raises:
            InvalidArgument: no device, or a dtype that is not of single or double precision.
        """
        return self.with_tensors({n: moved(tensor, device, dtype) for n, tensor in self.tensors().items()})

    def describe(self) -> str:
        """Size in words: masks if there are several, samples and pitch."""
        *masks, ny, nx = self.shape
        several = f"{' x '.join(map(str, masks))} masks of " if masks else ""
        dy, dx = (f"{1e6 * d:g}" for d in self.pitch)
        return f"{several}{ny} x {nx} at {dy if dy == dx else f'{dy} x {dx}'} um"

    def __repr__(self) -> str:
        return f"<Geometry {self.describe()}: {', '.join(self.tensors())}>"
