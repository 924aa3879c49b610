r"""Photometric calibration of frames: defect pixels, dark signal, linearity, drift of the light, flat field.

A step is fitted to the calibration frames of a file, after the steps before it, and can then be applied to
any of its frames. Each reports a residual before and after, told on frames it was not fitted to. Where a step
has a freedom (how the dark signal depends on exposure, the degree of a polynomial, a number of knots) the one
with the least error on such frames is taken, and doing nothing is among them.

    defects     mean of the neighbours         DN
    dark        y - d(t, T)                    DN above the dark
    linearity   y (1 + h(y))                   DN of a linear camera
    drift       y / p(time)                    as in the light of the first frame
    flat        y / (t r)                      relative to white

Source of the camera's model: EMVA Standard 1288, release 4.0 linear (`photonet.detector.model`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .. import checks
from ..errors import InvalidArgument
from . import dark, defects, flat, light, series
from .reader import MeasuredData
from .steps import Calibration, Step

__all__ = ["STEPS", "calibrate"]

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
        InvalidArgument: no open file of raw frames, or one that lacks the frames for a step.

    Example:
        >>> import tempfile, torch
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
        defects           0.54      0.54  DN, spread over held-out dark frames; 0 pixels filled
        dark              61.5       1.2  DN, rms of held-out dark frames
        840
    """
    checks.instance("data", data, MeasuredData, "an open file, MeasuredData")
    if data.kind != "frames":
        raise InvalidArgument("data", "a file of raw frames", f"one of {data.kind}")
    if steps is None:
        steps = [name for name in STEPS if _LACKS[name](data) is None]
    if isinstance(steps, str) or not isinstance(steps, Iterable):
        raise InvalidArgument("steps", "several names or functions", repr(steps)[:80])
    calibration = Calibration()
    for step in steps:
        fit = checks.lookup("steps", step, STEPS) if isinstance(step, str) else step
        calibration = Calibration((*calibration.steps, fit(data, calibration)))
    return calibration


STEPS: dict[str, Fit] = {
    "defects": defects.correct_defects,
    "dark": dark.correct_dark,
    "linearity": series.correct_linearity,
    "drift": light.correct_drift,
    "flat": flat.correct_flat,
}
"""The photometric steps by name, in the order of light's way back."""

_LACKS: dict[str, Callable[[MeasuredData], str | None]] = {
    "defects": defects.lacks,
    "dark": dark.lacks,
    "linearity": series.lacks,
    "drift": light.lacks,
    "flat": flat.lacks,
}
"""What a file lacks for a step, or None."""
