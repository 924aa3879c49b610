"""How long to expose: long enough against the noise, short enough for a response that bends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InvalidArgument
from .dark import correct_dark
from .faults import sound
from .reader import MeasuredData
from .series import correct_linearity, exposure_series
from .steps import Calibration, Shots, chunk_of, column

__all__ = ["ExposureChoice", "choose_exposure"]

MOST_SCENES = 64
MOST_PIXELS = 200_000
"""Of all scenes, whose light tells the distribution."""

GROUPS = 8
"""Of pixels of equal brightness, whose noise is taken together."""

LEVELS = 513
"""Of the tabulated response."""

SIGNIFICANT = 5.0
"""Standard errors by which the mean of the scenes is brighter than the dark."""

TRIALS = tuple(2.0 ** (k / 4) for k in range(-20, 13))
"""Exposure times to choose from, relative to that of the scenes: a thirtieth to eight times."""


@dataclass(frozen=True)
class ExposureChoice:
    """The exposure time with the least error of the light.

    Args:
        seconds: the best one.
        before: error of a pixel's light in a frame of the file, rms over its mean.
        after: the same at the best exposure time.
    """

    seconds: float
    before: float
    after: float


def choose_exposure(data: MeasuredData) -> ExposureChoice:
    r"""Choose the exposure time of scenes from a first, small measurement.

    A camera reads :math:`y = f(x)` of the light :math:`x = t r`, with a variance :math:`v(y)`. The rate of
    a pixel is known from a frame to

    .. math:: \epsilon^2 = \frac{v(y)}{(t\, f'(x))^2} + \left(\frac{x - \hat x}{t}\right)^2,

    the first term from propagation of the noise, the second where light beyond the brightest flat frame
    cannot be told (:math:`\hat x` is the most that can). f comes from the step ``linearity``, v from the
    difference of two flat frames at each exposure time (photon transfer, EMVA 1288), the rates from the
    scenes of the file. The mean of :math:`\epsilon^2` over pixels and scenes is what is made least.

    Args:
        data: a file of raw frames: a few scenes, dark frames, and flat frames in pairs at rising exposure
            times, brighter than the scenes. No labels and no knowledge of what was shown are needed.

    Raises:
        InvalidArgument: too few dark or flat frames, or scenes no brighter than the dark.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import Part, write
        >>> g = torch.Generator().manual_seed(0)
        >>> seconds = torch.arange(1, 11).repeat_interleave(2) * 1e-3
        >>> def camera(light):  # saturates at 1,000 DN
        ...     return 1000 * torch.tanh(light / 1000) + 60 + torch.randn(light.shape, generator=g)
        >>> path = Path(tempfile.mkdtemp()) / "pilot.h5"
        >>> write(path, Part(camera(torch.full((4, 8, 8), 2000.0)), 1e-2),
        ...       dark=Part(camera(torch.zeros(4, 8, 8)), 1e-2),
        ...       flat=Part(camera(2e5 * seconds[:, None, None].expand(-1, 8, 8)), seconds))
        >>> with MeasuredData(path) as data:
        ...     choice = choose_exposure(data)
        >>> 2e-3 < choice.seconds < 6e-3, choice.after < choice.before
        (True, True)
    """
    dark = Calibration((correct_dark(data),))
    straight = Calibration((*dark.steps, correct_linearity(data, dark)))
    y, x, slope = _response(straight)
    level, variance = _noise(data, dark)
    usual, rates = _rates(data, straight)

    def error(t: float) -> float:
        """Mean square error of the rates at one exposure time."""
        seen = np.interp(t * rates, x, y)
        noise = np.interp(seen, level, variance) * np.interp(seen, y, slope) ** 2
        lost = np.maximum(t * rates - x[-1], 0.0)
        return float(np.mean(noise + lost**2)) / t**2

    best = min((usual * trial for trial in TRIALS), key=error)
    before, after = (error(t) ** 0.5 / float(rates.mean()) for t in (usual, best))
    return ExposureChoice(best, before, after)


def _rates(data: MeasuredData, straight: Calibration) -> tuple[float, np.ndarray]:
    """Exposure time of the scenes, and light per second of some of their pixels."""
    scenes = data.scenes
    usable = sound(scenes)
    rows = usable[torch.linspace(0, len(usable) - 1, min(MOST_SCENES, len(usable))).round().long().unique()]
    every = max(1, len(rows) * scenes.shape[1:].numel() // MOST_PIXELS)
    parts = []
    for some in rows.split(chunk_of(scenes)):
        light = straight.read(scenes, some).double() / column(scenes.exposure[some], scenes[some[:1]])
        parts.append(light.flatten()[::every])
    rates = torch.cat(parts)
    if not rates.mean() > SIGNIFICANT * rates.std() / len(rates) ** 0.5:
        raise InvalidArgument("data", "scenes that are brighter than the dark", "darker ones")
    return float(scenes.exposure[rows].median()), rates.clamp(min=0).numpy()


def _response(straight: Calibration) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signals above the dark, the light they stand for, and dx / dy, tabulated."""
    step = straight["linearity"]
    y = torch.linspace(0, step.parameters["top"], LEVELS, dtype=torch.float64)
    whenever = y.new_zeros(LEVELS)
    x = step.apply(y, Shots(whenever, whenever, whenever))
    return y.numpy(), x.numpy(), np.gradient(x.numpy(), y.numpy())


def _noise(data: MeasuredData, dark: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Signals above the dark in rising order from 0, and the temporal variance of a pixel there."""
    _, frames = exposure_series(data, dark)
    groups = frames.mean((0, 1)).argsort().tensor_split(min(GROUPS, frames.shape[-1]))
    difference = frames[:, 0] - frames[:, 1]
    difference = difference - difference.mean(1, keepdim=True)  # the light itself may flicker
    level = torch.stack([frames.mean(1)[:, g].mean(1) for g in groups]).flatten()
    variance = torch.stack([difference[:, g].square().mean(1) / 2 for g in groups]).flatten()
    order = level.argsort()
    unlit = dark["dark"].after ** 2  # of held-out dark frames
    return np.append(0.0, level[order].numpy()), np.append(unlit, variance[order].numpy())
