"""A calibration is a list of fitted steps; each knows what it does to frames, and what was gained by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from .reader import Frames, Pictures

__all__ = ["Calibration", "Shots", "Step", "chunk_of", "chunks", "column", "needed"]

AT_ONCE = 64 << 20
"""Bytes of frames in memory at a time."""


@dataclass(frozen=True, eq=False)
class Shots:
    """How frames were taken: what a step may know of them.

    Attributes:
        exposure, temperature, time: float64 [n] in s, degrees C and s since 1970; the last two may be NaN.
        group, rows: which frames of a file they are, if they are of one: name and numbers [n].
        file: checksum of that file.
    """

    exposure: torch.Tensor
    temperature: torch.Tensor
    time: torch.Tensor
    group: str = ""
    rows: torch.Tensor | slice | None = None
    file: str = ""

    @classmethod
    def of(cls, frames: Frames, rows: torch.Tensor | slice = slice(None)) -> Shots:
        """Those of some frames of a file."""
        columns = frames.exposure[rows], frames.temperature[rows], frames.time[rows]
        return cls(*columns, frames.group, rows, frames.file)


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One fitted correction.

    Args:
        name: of the step.
        residual: what ``before`` and ``after`` are, with their unit.
        before, after: the residual without and with the step, on frames it was not fitted to.
        apply: frames [n, ..., y, x] and their `Shots` -> corrected frames.
        parameters: what was found.
    """

    name: str
    residual: str
    before: float
    after: float
    apply: Callable[[torch.Tensor, Shots], torch.Tensor]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Step {self}>"

    def __str__(self) -> str:
        return f"{self.name}: {self.before:.3g} -> {self.after:.3g} ({self.residual})"


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Steps in their order; print it for the table of residuals.

    Args:
        steps: applied one after the other.
    """

    steps: tuple[Step, ...] = ()

    def __call__(self, frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        """Corrected frames, in the dtype of ``frames``."""
        for step in self.steps:
            frames = step.apply(frames, shots)
        return frames

    def read(self, frames: Frames, rows: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Read frames of a file and correct them."""
        return self(frames[rows], Shots.of(frames, rows))

    def __getitem__(self, name: str) -> Step:
        """The step of that name."""
        return checks.lookup("name", name, {step.name: step for step in self.steps})

    def __repr__(self) -> str:
        return f"<Calibration {', '.join(step.name for step in self.steps) or 'without steps'}>"

    def __str__(self) -> str:
        lines = [f"{'step':<12}{'before':>10}{'after':>10}  residual"]
        lines += [f"{s.name:<12}{s.before:>10.3g}{s.after:>10.3g}  {s.residual}" for s in self.steps]
        return "\n".join(lines)


def chunk_of(frames: Pictures) -> int:
    """How many of these pictures may be in memory at a time."""
    return max(1, AT_ONCE // (8 * frames.shape[1:].numel()))


def chunks(frames: Frames, calibration: Calibration) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Numbers of frames and these frames, corrected, as many at once as memory should hold."""
    for rows in torch.arange(len(frames)).split(chunk_of(frames)):
        yield rows, calibration.read(frames, rows)


def column(values: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """[n] as a factor of frames [n, ..., y, x]."""
    return values.to(frames).reshape(-1, *[1] * (frames.ndim - 1))


def needed(step: str, frames: Frames | None, lacks: str | None) -> Frames:
    """The frames that a step is fitted to.

    Raises:
        InvalidArgument: the file lacks something for it.
    """
    if frames is None or lacks:
        raise InvalidArgument("data", f"frames for the step {step!r}", lacks)
    return frames
