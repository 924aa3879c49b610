r"""Photometric calibration of frames: dark signal, linearity, drift of the light, flat field.

A step is fitted to the calibration frames of a file, after the steps before it, and can then be applied to
any of its frames. Each reports a residual before and after, told on frames it was not fitted to. Where a step
has a freedom (how the dark signal depends on exposure, the degree of a polynomial, a number of knots) the one
with the least error on such frames is taken, and doing nothing is among them.

    dark        y - d(t, T)                    DN above the dark
    linearity   y (1 + h(y))                   DN of a linear camera
    drift       y / p(time)                    as in the light of the first frame
    flat        y / (t r)                      relative to white

Source of the camera's model: EMVA Standard 1288, release 4.0 linear (`photonet.detector.model`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import avg_pool2d

from .. import checks
from ..detector.model import dark_current
from ..errors import InvalidArgument
from .reader import Frames, MeasuredData
from .series import correct_linearity, is_unsaturated
from .steps import Calibration, Shots, Step, chunk_of, chunks, column

__all__ = [
    "STEPS",
    "calibrate",
    "correct_dark",
    "correct_drift",
    "correct_flat",
]

DOUBLING = 8.0
"""Rise in K that doubles the dark current: the default of EMVA 1288's reference implementation."""

DEAD = 0.05
"""Response relative to the median below which a pixel counts as dead; its neighbours stand for it."""

DRIFT_DEGREES = range(4)
"""Degrees of the logarithm of the light over time, likewise."""


Fit = Callable[[MeasuredData, Calibration], Step]
"""Fits a step to a file whose frames were corrected by the steps before it."""


def calibrate(data: MeasuredData, steps: Sequence[str | Fit] | None = None) -> Calibration:
    """Fit steps to the calibration frames of a file, one after the other.

    Args:
        data: an open file of raw frames.
        steps: names of `STEPS`, or functions such as `correct_crosstalk` makes; by default those of
            `STEPS` that the file has frames for.

    Returns:
        `Calibration`; ``print`` it for the residuals, hand it to `Measured.from_file`.

    Raises:
        UnknownName: no such step.
        InvalidArgument: the file lacks the frames for a step.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> g = torch.Generator().manual_seed(0)
        >>> frames = lambda n, level: torch.randint(level, level + 4, (n, 8, 8), generator=g)
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> write(path, Part(frames(5, 900), 1e-3), dark=Part(frames(8, 60), 1e-3), bits=12)
        >>> with MeasuredData(path) as data:
        ...     found = calibrate(data)
        ...     print(found)
        ...     print(round(found.read(data.scenes).mean().item()))
        step            before     after  residual
        dark              61.5       1.2  DN, rms of held-out dark frames
        840
    """
    if data.kind != "frames":
        raise InvalidArgument("data", "a file of raw frames", f"one of {data.kind}")
    if steps is None:
        steps = [name for name in STEPS if _LACKS[name](data) is None]
    calibration = Calibration()
    for step in steps:
        fit = checks.lookup("steps", step, STEPS) if isinstance(step, str) else step
        calibration = Calibration((*calibration.steps, fit(data, calibration)))
    return calibration


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
        doubling: T_d in K. Where a temperature is not known, it is taken as that of the other frames.

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
    dark = _needs(data, "dark", data.dark)
    checks.positive("doubling", doubling)
    known = dark.temperature[dark.temperature.isfinite()]
    usual = float(known.median()) if len(known) else 0.0

    def heat(shots: Shots) -> torch.Tensor:
        return shots.exposure * dark_current(1.0, shots.temperature.nan_to_num(usual), usual, doubling)

    x = heat(Shots.of(dark))
    halves = [_Line(), _Line()]
    for rows, frames in chunks(dark, earlier or Calibration()):
        for parity, half in enumerate(halves):
            mine = rows % 2 == parity
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


def correct_drift(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Undo the drift of the light (or of the gain) over time.

    The logarithm of the level of whatever was recorded again and again, flat frames of one exposure time or
    scenes of one name, is a polynomial in time, of the degree that predicts left-out frames best. Times
    before the first and after the last of them have the correction of these.

    Args:
        data: a file with times, and with flat frames or named scenes that repeat.
        earlier: steps before this one.

    Raises:
        InvalidArgument: nothing was recorded at four or more different times.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> fading = 900 * 0.9 ** torch.arange(6.0)[:, None, None].expand(-1, 4, 4)
        >>> write(path, Part(fading, 1e-2), flat=Part(fading, 1e-2, time=[0, 60, 120, 180, 240, 300]))
        >>> with MeasuredData(path) as data:
        ...     print(f"{correct_drift(data).parameters['change']:.3f}")
        -0.410
    """
    reason = _LACKS["drift"](data)
    if reason:
        raise InvalidArgument("data", "flat frames or named scenes that repeat in time", reason)
    before = earlier or Calibration()
    times, levels, groups = [], [], []
    number = 0
    for frames, rows in _repeated(data):
        level = torch.cat(
            [before.read(frames, r).double().flatten(1).mean(1) for r in rows.split(chunk_of(frames))]
        )
        if bool((level > 0).all()):
            times.append(frames.time[rows])
            levels.append(level.log())
            groups.append(torch.full((len(rows),), number))
            number += 1
    if not times:
        raise InvalidArgument("data", "repeated frames that are brighter than the dark", "darker ones")
    time, level = torch.cat(times), torch.cat(levels)
    own = torch.nn.functional.one_hot(torch.cat(groups), number).double()
    first, last = float(time.min()), float(time.max())

    def powers(moment: torch.Tensor, degree: int) -> torch.Tensor:
        s = (moment.clamp(first, last) - first) / (last - first)
        return torch.stack([s**k for k in range(1, degree + 1)], -1) if degree else s.new_zeros(len(s), 0)

    errors, found = {}, {}
    for degree in (d for d in DRIFT_DEGREES if d + number < len(time) - 1):
        design = torch.cat([own, powers(time, degree)], 1)
        q, _ = torch.linalg.qr(design)
        left = (level - q @ (q.T @ level)) / (1 - q.square().sum(1)).clamp(min=1e-9)
        errors[degree] = float(left.square().mean().sqrt())
        found[degree] = torch.linalg.lstsq(design, level[:, None]).solution[number:, 0]
    best = min(errors, key=lambda degree: errors[degree])
    slope = found[best]

    def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        factor = torch.exp(-powers(shots.time.nan_to_num(first), best) @ slope)
        return frames * column(factor, frames)

    change = float(torch.exp(powers(torch.tensor([last], dtype=torch.float64), best) @ slope) - 1)
    return Step(
        "drift",
        "%, rms change of the left-out repeated frames",
        100 * errors[0],
        100 * errors[best],
        apply,
        {"degree": best, "coefficients": slope, "change": change},
    )


def _repeated(data: MeasuredData) -> list[tuple[Frames, torch.Tensor]]:
    """Frames of one group that show the same at four or more times."""
    found = []
    if data.flat is not None:
        for t in data.flat.exposure.unique().tolist():
            found.append((data.flat, (data.flat.exposure == t).nonzero()[:, 0]))
    if data.scenes.name is not None:
        by_name: dict[str, list[int]] = {}
        for row, name in enumerate(data.scenes.name):
            by_name.setdefault(name, []).append(row)
        found += [
            (data.scenes, torch.tensor(rows)) for name, rows in by_name.items() if name and len(rows) > 3
        ]
    return [
        (frames, rows)
        for frames, rows in found
        if bool(frames.time[rows].isfinite().all()) and len(frames.time[rows].unique()) >= 4
    ]


def correct_flat(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Divide by the response of each pixel: PRNU, falloff of the lens, and the level of white.

    :math:`y / (t\, r)`, r being the signal of the flat frames per second of exposure. A flat frame stands for
    white, so the result is 1 where a scene is as bright as that; otherwise it is off by one factor. A dead
    pixel gets the mean of the living among its eight neighbours, or of theirs.

    Args:
        data: a file with at least two flat frames that are not saturated.
        earlier: steps before this one.

    Raises:
        InvalidArgument: too few flat frames, or darker than the dark frames.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> uneven = torch.tensor([[800.0, 1000.0, 1200.0]]).expand(2, 2, 3)
        >>> write(path, Part(0.5 * uneven, 1e-2), flat=Part(uneven, 1e-2))
        >>> with MeasuredData(path) as data:
        ...     print(calibrate(data).read(data.scenes)[0, 0].tolist())
        [0.5, 0.5, 0.5]
    """
    flat = _needs(data, "flat", data.flat)
    signal: list[Any] = [0.0, 0.0]
    seconds = [0.0, 0.0]
    good = is_unsaturated(flat)
    usable = good.cumsum(0) * good  # 1, 2, 3... and 0 for the others
    for rows, frames in chunks(flat, earlier or Calibration()):
        for parity in (0, 1):
            mine = (usable[rows] > 0) & (usable[rows] % 2 == parity)
            signal[parity] = signal[parity] + frames[mine].double().sum(0)
            seconds[parity] += float(flat.exposure[rows[mine]].sum())
    if min(seconds) == 0:
        raise InvalidArgument("data", "two or more flat frames that are not saturated", "fewer")
    a, b = (s / t for s, t in zip(signal, seconds, strict=True))
    rate = (signal[0] + signal[1]) / sum(seconds)
    if not float(rate.median()) > 0:
        raise InvalidArgument("data", "flat frames that are brighter than the dark", "darker ones")
    alive = rate > DEAD * rate.median()

    def uneven(picture: torch.Tensor) -> float:
        return 100 * float(picture[alive].std(correction=0) / picture[alive].mean().abs())

    def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        inverse = torch.where(alive, 1 / rate, 0.0).to(frames)
        return _fill(frames * inverse / column(shots.exposure, frames), alive)

    return Step(
        "flat",
        "%, spread over the pixels of held-out flat frames",
        uneven(b),
        uneven(b / a),
        apply,
        {"rate": rate, "dead": int((~alive).sum())},
    )


def _fill(pictures: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Pictures [n, ..., y, x] whose dead pixels are means of living neighbours, the nearest ring first."""
    known = alive.to(pictures)

    def near(x: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(x.reshape(-1, 1, *x.shape[-2:]), 3, stride=1, padding=1).reshape(x.shape)

    while not bool(known.all()):  # there is a living pixel: the median is bright
        share = near(known)
        pictures = torch.where(known > 0, pictures, near(pictures * known) / share.clamp(min=1e-9))
        known = (share > 1e-9).to(pictures)
    return pictures


STEPS: dict[str, Fit] = {
    "dark": correct_dark,
    "linearity": correct_linearity,
    "drift": correct_drift,
    "flat": correct_flat,
}
"""The photometric steps by name, in the order of light's way back."""

_LACKS: dict[str, Callable[[MeasuredData], str | None]] = {
    "dark": lambda data: (
        None if data.dark is not None and len(data.dark) >= 2 else "fewer than 2 dark frames"
    ),
    "linearity": lambda data: (
        None
        if data.flat is not None and _pairs(data.flat) >= 3
        else "pairs of unsaturated flat frames at fewer than 3 exposure times"
    ),
    "drift": lambda data: None if _repeated(data) else "nothing that was recorded at 4 or more times",
    "flat": lambda data: (
        None
        if data.flat is not None and int(is_unsaturated(data.flat).sum()) >= 2
        else "fewer than 2 flat frames that are not saturated"
    ),
}
"""What a file lacks for a step, or None."""


def _pairs(flat: Frames) -> int:
    """At how many exposure times there are two frames that are not saturated."""
    return int((flat.exposure[is_unsaturated(flat)].unique(return_counts=True)[1] >= 2).sum())


def _needs(data: MeasuredData, step: str, frames: Frames | None) -> Frames:
    reason = _LACKS[step](data)
    if frames is None or reason:
        raise InvalidArgument("data", f"frames for the step {step!r}", reason)
    return frames
