"""The dark signal of each pixel, told from frames without light."""

from __future__ import annotations

import math
from typing import Any

import torch

from .. import checks
from ..detector.model import dark_current
from .reader import MeasuredData
from .steps import Calibration, Shots, Step, chunks, column, needed

__all__ = ["correct_dark", "lacks"]

DOUBLING = 8.0
"""Rise in K that doubles the dark current: the default of EMVA 1288's reference implementation."""


def lacks(data: MeasuredData) -> str | None:
    """What a file lacks for the step, or None."""
    return None if data.dark is not None and len(data.dark) >= 2 else "fewer than 2 dark frames"


def correct_dark(
    data: MeasuredData, earlier: Calibration | None = None, *, doubling: float = DOUBLING
) -> Step:
    r"""Subtract the dark signal of each pixel, at the exposure and temperature of the frame.

    .. math:: d = a + b\, t\, 2^{(T - T_0) / T_d}

    a is the map of black level and DSNU. b, the dark current, is nothing, one number, or a map, whichever
    predicts held-out dark frames best; it needs dark frames of more than one exposure or temperature.

    Args:
        data: a file with at least two dark frames.
        earlier: steps before this one.
        doubling: T_d in K. A temperature that is not known is taken as the usual one of the dark frames; if
            theirs are not known, all are taken as equal.

    Raises:
        InvalidArgument: too few dark frames.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> level = torch.tensor([70.0, 70.0, 80.0, 80.0])[:, None, None].expand(-1, 4, 4)
        >>> write(path, Part(level, 1e-2), dark=Part(level, exposure=[1e-2, 1e-2, 2e-2, 2e-2]))
        >>> with MeasuredData(path, accept=["dark", "exposure"]) as data:
        ...     step = correct_dark(data)
        >>> step.parameters["dark current"], round(step.parameters["slope"][0, 0].item())  # DN per second
        ('one', 1000)
    """
    dark = needed("dark", data.dark, lacks(data))
    checks.positive("doubling", doubling)
    known = dark.temperature[dark.temperature.isfinite()]
    usual = float(known.median()) if len(known) else math.nan

    def heat(shots: Shots) -> torch.Tensor:
        rise = (shots.temperature - usual).nan_to_num(0.0)  # unknown on one side or on both
        return shots.exposure * dark_current(1.0, rise, 0.0, doubling)

    x = heat(Shots.of(dark))
    rank = x.argsort(stable=True).argsort()  # so that both halves have frames of every exposure
    halves = [_Line(), _Line()]
    for rows, frames in chunks(dark, earlier or Calibration()):
        for parity, half in enumerate(halves):
            mine = rank[rows] % 2 == parity
            half.add(x[rows[mine]], frames[mine].double())
    whole = halves[0] + halves[1]
    errors = {
        kind: sum(other.squares(*half.fit(kind)) for half, other in (halves, halves[::-1]))
        for kind in (_Line.KINDS if whole.spread > 0 else _Line.KINDS[:1])
    }
    best = min(errors, key=lambda kind: errors[kind])
    offset, slope = whole.fit(best)
    count = len(dark) * offset.numel()

    def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        signal = frames - offset.to(frames)
        if best == "none":
            return signal
        return signal - slope.to(frames) * column(heat(shots), frames)

    return Step(
        "dark",
        "DN, rms of held-out dark frames",
        (float(whole.yy.sum()) / count) ** 0.5,
        (errors[best] / count) ** 0.5,
        apply,
        {"dark current": best, "offset": offset, "slope": slope},
    )


class _Line:
    """Sums for straight lines y = a + b x in every pixel, of frames that come in chunks."""

    KINDS = ("none", "one", "map")
    """What the slope b is."""

    def __init__(self) -> None:
        self.n, self.x, self.xx = 0, 0.0, 0.0
        self.y: Any = 0.0
        self.xy: Any = 0.0
        self.yy: Any = 0.0

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.n, self.x, self.xx = self.n + len(x), self.x + float(x.sum()), self.xx + float(x.square().sum())
        self.y, self.yy = self.y + y.sum(0), self.yy + y.square().sum(0)
        self.xy = self.xy + torch.tensordot(x, y, dims=1)

    def __add__(self, other: _Line) -> _Line:
        both = _Line()
        for name in vars(self):
            setattr(both, name, getattr(self, name) + getattr(other, name))
        return both

    @property
    def spread(self) -> float:
        """Sum of (x - mean)^2, or 0 if it is rounding."""
        spread = self.xx - self.x**2 / self.n
        return spread if spread > 1e-9 * self.xx else 0.0

    def fit(self, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Offset map and slope."""
        mean = self.y / self.n
        slope = torch.zeros_like(mean)
        if kind != "none" and self.spread > 0:
            slope = (self.xy - self.x * mean) / self.spread
            slope = slope.mean().expand_as(mean) if kind == "one" else slope
        return mean - slope * self.x / self.n, slope

    def squares(self, a: torch.Tensor, b: torch.Tensor) -> float:
        """Sum of (y - a - b x)^2 over frames and pixels."""
        rest = self.yy - 2 * a * self.y - 2 * b * self.xy
        rest = rest + self.n * a.square() + 2 * self.x * a * b + self.xx * b.square()
        return float(rest.sum().clamp(min=0))
