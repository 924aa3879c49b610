r"""Pixels that tell nothing: dead, hot and blinking ones, and those without a number.

They are told by what they do in raw dark and flat frames, and filled before any other step, so that none is
misled by them. A pixel that merely responds less, or has more dark current, is left to ``flat`` and ``dark``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import avg_pool2d, pad, unfold

from ..errors import InvalidArgument
from .reader import Frames, MeasuredData
from .series import is_unsaturated
from .shutter import repeated_near
from .steps import Calibration, Shots, Step, chunk_of, needed

__all__ = ["correct_defects", "lacks"]

FAR = 7.0
"""Robust standard deviations from the other pixels. In a normal camera not one of 10^11 is that far away."""

LEAST = 1.0
"""DN of level or noise: what differs by less than a grey value harms nothing."""

DEAD = 0.05
"""Response relative to the median below which a pixel counts as dead."""

MOST = 0.5
"""Share of defects from which it is the frames that are wrong."""


def lacks(data: MeasuredData) -> str | None:
    """What a file lacks for the step, or None."""
    if data.dark is None or repeated_near(data.dark.exposure, 1.0) is None:
        return "fewer than 2 dark frames of one exposure time"
    return None


def correct_defects(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Give defect pixels the mean of their living neighbours.

    Hot is a pixel whose mean over the dark frames, at the exposure time nearest that of the scenes, is far
    from those around it, on either side; blinking one whose variance, from frames that follow each other, is
    far above theirs. Far from the median of the nine, so that a glow in a corner is no defect, is 7 robust
    standard deviations (1.48 times the median of the absolute deviations; of the cube root of the variance,
    which is nearly normal, Wilson and Hilferty, PNAS 17, 684, 1931). Dead is one with less than a twentieth
    of the median response, if there are flat frames; without a number one that is not finite in some dark
    frame.

    The neighbours are the eight around; where none lives, they get theirs before.

    Args:
        data: a file with at least two dark frames of one exposure time.
        earlier: steps before this one.

    Returns:
        A step with the numbers of each kind among its ``parameters``, and the map ``alive``. Its residual is
        that of every other dark frame, by the defects of the others.

    Raises:
        InvalidArgument: too few dark frames, or half of the pixels of a picture are defect.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> g = torch.Generator().manual_seed(0)
        >>> dark = 64 + torch.randn(8, 16, 16, generator=g)
        >>> dark[:, 3, 4] += 50.0
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> write(path, Part(dark + 100.0, 1e-3), dark=Part(dark, 1e-3))
        >>> with MeasuredData(path) as data:
        ...     step = correct_defects(data)
        >>> step.parameters["hot"], step.parameters["blinking"], step.parameters["alive"][3, 4].item()
        (1, 0, False)
    """
    frames = needed("defects", data.dark, lacks(data))
    before = earlier or Calibration()
    rows = repeated_near(frames.exposure, float(data.scenes.exposure.median()))
    halves = [_Sums(), _Sums()]
    for parity, half in enumerate(halves):
        mine = torch.as_tensor(rows)[parity::2]
        for some in mine.split(max(2, chunk_of(frames))):
            half.add(before.read(frames, some).double())
    whole = halves[0] + halves[1]
    kinds = whole.unlike() | {"dead": _dead(data.flat, whole.mean, before)}
    alive = _none_of(kinds)
    if not _can_be_filled(alive):
        raise InvalidArgument("data", "dark and flat frames of working pixels", "half of them defect")

    def held_out(fill: bool) -> float:
        """Spread of one half's mean frame, filled by what the other half says."""
        left = []
        for half, other in (halves, halves[::-1]):
            good = _none_of(other.unlike())
            picture = _fill(half.mean[None], good)[0] if fill and _can_be_filled(good) else half.mean
            left.append(picture[picture.isfinite()].var(correction=0))
        return float(torch.stack(left).mean().sqrt())

    def apply(pictures: torch.Tensor, shots: Shots) -> torch.Tensor:
        return _fill(pictures, alive)

    counts = {kind: int(which.sum()) for kind, which in kinds.items()}
    return Step(
        "defects",
        f"DN, spread over held-out dark frames; {int((~alive).sum())} pixels filled",
        held_out(False),
        held_out(True),
        apply,
        {**counts, "alive": alive},
    )


@dataclass
class _Sums:
    """Sums over dark frames that come in chunks: of levels, and of squared changes from one to the next."""

    n: int = 0
    changes: int = 0
    level: Any = field(default=0.0)
    square: Any = field(default=0.0)

    def add(self, frames: torch.Tensor) -> None:
        change = frames.diff(dim=0)
        change = change - change.flatten(1).nanmedian(1).values.reshape(-1, *[1] * (change.ndim - 1))
        self.n, self.changes = self.n + len(frames), self.changes + len(change)
        self.level, self.square = self.level + frames.sum(0), self.square + change.square().sum(0) / 2

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    @property
    def mean(self) -> torch.Tensor:
        return torch.as_tensor(self.level / self.n)

    def unlike(self) -> dict[str, torch.Tensor]:
        """The pixels that differ from those around them, by kind."""
        variance = torch.as_tensor(self.square / max(1, self.changes))
        noisy = _far(variance.pow(1 / 3)) & (_above(variance) > LEAST**2)
        hot = _far(self.mean) & (_above(self.mean).abs() > LEAST)
        return {"hot": hot & ~noisy, "blinking": noisy, "no number": ~self.mean.isfinite()}


def _far(values: torch.Tensor) -> torch.Tensor:
    """Which of them are far from those around them; what is not finite is not."""
    off = _above(values).abs()
    border = torch.ones_like(values, dtype=torch.bool)
    border[..., 1:-1, 1:-1] = False
    inside = off if bool(border.all()) else off[~border]
    usual = _spread(inside)
    # what is carried on to the border is less certain
    return off > FAR * torch.where(border, torch.maximum(usual, _spread(off[border])), usual)


def _spread(off: torch.Tensor) -> torch.Tensor:
    """Robust standard deviation of absolute differences."""
    # whole grey values may agree in most pixels: then the mean tells the spread, clamped against outliers
    return torch.maximum(1.4826 * off.nanmedian(), 1.2533 * off.clamp(max=LEAST).nanmean())


def _above(values: torch.Tensor) -> torch.Tensor:
    """How much each is above the median of the nine around it, which goes on straight to the border."""
    height, width = values.shape[-2:]
    pictures = values.reshape(-1, 1, height, width)
    # a block of nine that is whole: of its own row and column there must not be more than half
    margin = [1 if n < 3 else 0 for n in (width, height)]
    pictures = pad(pictures, (margin[0],) * 2 + (margin[1],) * 2, mode="replicate")
    median = unfold(pictures, 3).nanmedian(1).values
    whole = median.reshape(-1, pictures.shape[-2] - 2, pictures.shape[-1] - 2)
    for axis, missing in zip((-1, -2), margin, strict=True):
        whole = whole if missing else _carried_on(whole, axis)
    return values - whole.reshape(values.shape)


def _carried_on(background: torch.Tensor, axis: int) -> torch.Tensor:
    """One more on either side, along a straight line, as a glow goes on to the border."""
    first, last = background.narrow(axis, 0, 1), background.narrow(axis, -1, 1)
    if background.shape[axis] > 1:
        first = 2 * first - background.narrow(axis, 1, 1)
        last = 2 * last - background.narrow(axis, -2, 1)
    return torch.cat([first, background, last], axis)


def _dead(flat: Frames | None, dark_level: torch.Tensor, before: Calibration) -> torch.Tensor:
    """Pixels that hardly respond to light, or give no number for it."""
    rows = is_unsaturated(flat).nonzero()[:, 0] if flat is not None else torch.arange(0)
    if flat is None or not len(rows):
        return torch.zeros_like(dark_level, dtype=torch.bool)
    total = sum(before.read(flat, some).double().sum(0) for some in rows.split(chunk_of(flat)))
    response = torch.as_tensor(total) / len(rows) - dark_level
    usual = float(response.nanmedian())
    if not usual > 0:  # `flat` will say that these are no flat frames
        return torch.zeros_like(dark_level, dtype=torch.bool)
    return ~(response > DEAD * usual) & dark_level.isfinite()


def _none_of(kinds: dict[str, torch.Tensor]) -> torch.Tensor:
    return ~torch.stack(list(kinds.values())).any(0)


def _can_be_filled(alive: torch.Tensor) -> bool:
    """Whether every picture has enough living pixels."""
    return float(alive.flatten(-2).double().mean(-1).min()) > 1 - MOST


def _fill(pictures: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Pictures [n, ..., y, x] whose defects are means of living neighbours, the nearest ring first."""
    known = alive.to(pictures)

    def near(x: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(x.reshape(-1, 1, *x.shape[-2:]), 3, stride=1, padding=1).reshape(x.shape)

    while not bool(known.all()):  # there is a living pixel: less than half are defect
        share = near(known)
        seen = torch.where(known > 0, pictures, 0.0)  # not times zero: a defect may have no number
        pictures = torch.where(known > 0, pictures, near(seen) / share.clamp(min=1e-9))
        known = (share > 1e-9).to(pictures)
    return pictures
