"""The light of a bench over time, told from what was recorded again and again."""

from __future__ import annotations

import torch

from ..errors import InvalidArgument
from .faults import sound
from .reader import Frames, MeasuredData
from .repeats import repeats
from .shutter import by_exposure
from .steps import Calibration, Shots, Step, chunk_of, column

__all__ = ["correct_drift", "lacks"]

DRIFT_DEGREES = range(4)
"""Degrees of the logarithm of the light over time that left-out frames choose from."""


def lacks(data: MeasuredData) -> str | None:
    """What a file lacks for the step, or None."""
    if not _repeated(data):
        return "nothing that was recorded at 4 or more times"
    for group in (data.scenes, data.flat):
        if group is not None and not bool(group.time.isfinite().all()):
            return f"{group.group} frames without a time, whose light nobody knows"
    return None


def correct_drift(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Undo the drift of the light (or of the gain) over time.

    The logarithm of the level of whatever was recorded again and again at one exposure time, flat frames or
    scenes of one name (that showed the same, where the file has it), is a polynomial in time, of the degree
    that predicts left-out frames best. Times before the first and after the last of them have the correction
    of these.

    Args:
        data: a file with the times of its scenes and flat frames, and with flat frames or named scenes that
            repeat.
        earlier: steps before this one.

    Raises:
        InvalidArgument: nothing was recorded at four or more different times, or frames without a time, here
            or when the step is applied.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> fading = 900 * 0.9 ** torch.arange(6.0)[:, None, None].expand(-1, 4, 4)
        >>> times = 60 * torch.arange(6)
        >>> write(path, Part(fading, 1e-2, time=times), flat=Part(fading, 1e-2, time=times))
        >>> with MeasuredData(path) as data:
        ...     print(f"{correct_drift(data).parameters['change']:.3f}")
        -0.410
    """
    reason = lacks(data)
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
        if not bool(shots.time.isfinite().all()):
            raise InvalidArgument("shots", "a time of each frame: the light drifts", "frames without")
        factor = torch.exp(-powers(shots.time, best) @ slope)
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
    """Frames of one group that show the same, equally exposed, at four or more times."""
    found = []
    if data.flat is not None:
        usable = sound(data.flat)
        found += [(data.flat, usable[rows]) for rows in by_exposure(data.flat.exposure[usable])]
    usable = sound(data.scenes)
    for scene in repeats(data.scenes):
        mine = scene[torch.isin(scene, usable)]
        if len(mine) > 3:
            found += [(data.scenes, mine[rows]) for rows in by_exposure(data.scenes.exposure[mine])]
    return [
        (frames, rows)
        for frames, rows in found
        if bool(frames.time[rows].isfinite().all()) and len(frames.time[rows].unique()) >= 4
    ]
