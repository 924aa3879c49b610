"""The response of each pixel, told from frames of uniform light."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import InvalidArgument
from . import dark
from .defects import DEAD
from .reader import MeasuredData
from .series import is_unsaturated
from .steps import Calibration, Shots, Step, chunks, column, needed

__all__ = ["correct_flat", "lacks"]


def lacks(data: MeasuredData) -> str | None:
    """What a file lacks for the step, or None."""
    if dark.lacks(data):
        return f"{dark.lacks(data)}, without which the black level passes for light"
    if data.flat is None or int(is_unsaturated(data.flat).sum()) < 2:
        return "fewer than 2 flat frames that are not saturated"
    return None


def correct_flat(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Divide by the response of each pixel: PRNU, falloff of the lens, and the level of white.

    :math:`y / (t\, r)`, r being the signal of the flat frames per second of exposure. A flat frame stands for
    white, so the result is 1 where a scene is as bright as that; otherwise it is off by one factor.

    Args:
        data: a file with dark frames, and with at least two flat frames that are not saturated.
        earlier: steps before this one.

    Raises:
        InvalidArgument: too few dark or flat frames, flat frames that are darker than the dark, or dead
            pixels that the step ``defects`` has not filled before.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, calibrate, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> uneven = torch.tensor([[800.0, 1000.0, 1200.0]]).expand(2, 2, 3)
        >>> black = Part(torch.full((2, 2, 3), 64.0), 1e-2)
        >>> write(path, Part(64 + 0.5 * uneven, 1e-2), dark=black, flat=Part(64 + uneven, 1e-2))
        >>> with MeasuredData(path) as data:
        ...     print(calibrate(data).read(data.scenes)[0, 0].tolist())
        [0.5, 0.5, 0.5]
    """
    flat = needed("flat", data.flat, lacks(data))
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
    dead = int((~(rate > DEAD * rate.median())).sum())
    if dead:
        raise InvalidArgument(
            "data",
            "flat frames of pixels that see them",
            f"{dead} dead pixels",
            "before it, 'defects' fills them",
        )

    def uneven(picture: torch.Tensor) -> float:
        return 100 * float(picture.std(correction=0) / picture.mean().abs())

    def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        return frames / rate.to(frames) / column(shots.exposure, frames)

    return Step(
        "flat",
        "%, spread over the pixels of held-out flat frames",
        uneven(b),
        uneven(b / a),
        apply,
        {"rate": rate},
    )
