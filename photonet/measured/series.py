"""What a series of exposure times tells: how the response bends, and the gain of the camera."""

from __future__ import annotations

from itertools import pairwise

import torch

from ..detector.emva import LEAST_DITHERED, TRANSFER_RANGE, Estimate, at_zero, system_gain
from ..errors import InvalidArgument
from . import dark
from .faults import SATURATED_SHARE
from .reader import Frames, MeasuredData
from .shutter import by_exposure, repeated_near
from .steps import Calibration, Shots, Step, needed

__all__ = ["correct_linearity", "exposure_series", "gain_of_series", "is_unsaturated", "lacks"]

BRIGHTNESSES = 8
"""Groups of pixels of equal brightness."""

FLAT = 0.1
"""Slope of the response, relative to that in the dark, below which noise and light are not told apart."""

FEWEST = 3
"""Exposure times that tell a bend."""

KNOTS = (0, 1, 2, 3, 4, 6, 8)
"""Numbers of knots of the correction that left-out exposure times choose from."""


def lacks(data: MeasuredData) -> str | None:
    """What a file lacks for the step, or None."""
    if dark.lacks(data):
        return f"{dark.lacks(data)}, without which the black level passes for light"
    if data.flat is None or len(_repeated_times(data.flat)) < FEWEST:
        return f"pairs of unsaturated flat frames at fewer than {FEWEST} exposure times"
    return None


def correct_linearity(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Undo a response that bends, from flat frames at rising exposure times.

    .. math:: x = y\, (1 + h(y)), \qquad x = t\, r

    h is piecewise linear between knots at levels of the series, 0 in the dark, so that the slope there stays
    1; beyond the last level the correction goes on straight, and levels where the response is flat do not
    count. The rates r, of pixels grouped by their brightness, are unknowns beside h, so neither the light nor
    its falloff need be known; both enter linearly, with weights 1 / y as in EMVA 1288. The number of knots is
    the one that predicts left-out exposure times best; with none, nothing is corrected.

    Args:
        data: a file with dark frames, and with flat frames at three or more exposure times.
        earlier: steps before this one, ``dark`` among them.

    Raises:
        InvalidArgument: too few dark frames or exposure times.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> seconds = torch.arange(1, 11).repeat_interleave(2) * 1e-3
        >>> bent = 2000 * torch.tanh(0.1 * torch.arange(1, 11).repeat_interleave(2))
        >>> flat = Part(bent[:, None, None].expand(-1, 4, 4), seconds)
        >>> dark = Part(torch.zeros(2, 4, 4), 1e-3)  # of a camera without a black level
        >>> write(path, Part(torch.full((1, 4, 4), 900.0), 1e-3), dark=dark, flat=flat)
        >>> with MeasuredData(path) as data:
        ...     step = correct_linearity(data)
        >>> step.before > 5, step.after < 1
        (True, True)
    """
    needed("linearity", data.flat, lacks(data))
    seconds, frames = exposure_series(data, earlier or Calibration())
    order = frames.mean((0, 1)).argsort()
    groups = order.tensor_split(min(BRIGHTNESSES, max(1, len(order) // 16)))
    y = torch.stack([frames.mean(1)[:, group].mean(1) for group in groups], 1)
    if not bool((y > 0).all()):
        raise InvalidArgument("data", "flat frames that are brighter than the dark", "darker ones")
    told = _still_rising(seconds, y.mean(1))
    seconds, y = seconds[:told], y[:told]
    top = float(y.max())
    u = y / top
    errors = {}
    for count in (k for k in KNOTS if k < len(seconds) - 1):
        if _rises(*_bend(seconds, u, count)[:2]):
            errors[count] = _left_out(seconds, u, count)
    best = min(errors, key=lambda count: errors[count])
    knots, h, _ = _bend(seconds, u, best)
    last = float(1 + h[-1] + (h[-1] - h[-2]) / (knots[-1] - knots[-2])) if best else 1.0  # slope at the top

    def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        u = frames / top
        inside = u.clamp(max=1)
        factor = 1 + _interpolate(inside.clamp(min=0), knots, h)
        return top * (inside * factor + (u - inside) * last)

    return Step(
        "linearity",
        "%, rms deviation at left-out exposure times",
        100 * errors[0],
        100 * errors[best],
        apply,
        {"level": knots * top, "correction": h, "top": top},
    )


def gain_of_series(data: MeasuredData) -> Estimate:
    r"""The system gain K by photon transfer: what the variance of two equal frames grows by with their mean.

    The slope through zero of variance over signal, both above the dark, over 70 % of the brightest signal
    that still makes noise, from the difference of two frames at each exposure time (EMVA 1288 release 4.0,
    section 6.6). With it grey values are electrons. Where rounding hides the noise of the dark, the line has
    an intercept of its own, and levels of as little noise do not count (see `photonet.detector.emva`).

    The interval is that of a linear camera: a response that bends by 3 % at the full well makes K 4 % too
    small, of which the interval knows nothing. ``before`` of `correct_linearity` tells whether it bends.

    Args:
        data: a file with pairs of flat frames at three or more exposure times, and two dark frames of one.

    Returns:
        K in DN per electron, with its 95 % interval.

    Raises:
        InvalidArgument: too few frames, or too few that are noisier than their rounding.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from photonet.measured import MeasuredData, Part, write
        >>> g = torch.Generator().manual_seed(0)
        >>> seconds = torch.arange(1, 11).repeat_interleave(2) * 1e-3
        >>> electrons = torch.poisson(4e5 * seconds[:, None, None].expand(-1, 32, 32), generator=g)
        >>> dark = 64 + torch.randn(4, 32, 32, generator=g)
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> flat = Part(64 + 0.5 * electrons, seconds)
        >>> write(path, Part(dark + 500, 1e-3), dark=Part(dark, 1e-3), flat=flat)
        >>> with MeasuredData(path) as data:
        ...     gain = gain_of_series(data)
        >>> gain.low < 0.5 < gain.high
        True
    """
    from scipy.stats import t as student_t

    seconds, frames = exposure_series(data, Calibration())
    if frames.shape[-1] < 2:
        raise InvalidArgument("data", "frames of two or more pixels", frames.shape[-1])
    # mean and noise of one set of dark frames: dark current adds to both, along the same line
    black, noise_without = _unlit(data.dark, float(seconds.median()))
    signal = frames.mean(1) - black
    change = frames[:, 0] - frames[:, 1]
    change = change - change.mean(1, keepdim=True)  # the light itself may flicker
    variance = change.square() / 2
    groups = torch.arange(frames.shape[-1]).tensor_split(min(16, frames.shape[-1]))
    mean = torch.stack([signal[:, g].mean(1) for g in groups], 1)
    noise = torch.stack([variance[:, g].mean(1) for g in groups], 1)
    used = mean.mean(1) <= TRANSFER_RANGE * mean[noise.mean(1).argmax()].mean()
    if not bool(used.any()):
        expected = f"flat frames of less than {TRANSFER_RANGE:.0%} of the brightest signal"
        raise InvalidArgument("data", expected, "brighter ones")
    hidden = noise_without < LEAST_DITHERED and bool((frames == frames.round()).all())
    if hidden:  # frames of whole numbers; others need not be in DN
        used &= noise.mean(1) >= LEAST_DITHERED
        if int(used.sum()) < FEWEST:
            expected = f"a variance of {LEAST_DITHERED} DN^2 or more at {FEWEST} exposure times of flats"
            remedy = "rounding hides less: take flat frames at more times, with more bits or a higher gain"
            raise InvalidArgument("data", expected, f"at {int(used.sum())}", remedy)

    def slope(mean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return system_gain(mean, noise - (at_zero(mean, noise) if hidden else noise_without))

    gains = slope(mean[used], noise[used])
    gain = float(slope(mean[used].flatten()[:, None], noise[used].flatten()[:, None]))
    error = float(gains.std()) / len(groups) ** 0.5
    reach = float(student_t.ppf(0.975, len(groups) - 1)) * error
    return Estimate(gain, gain - reach, gain + reach, "DN/e-")


def _unlit(dark: Frames | None, seconds: float) -> tuple[float, float]:
    """Mean and temporal variance of the dark frames, at the exposure time of two or more that is nearest."""
    rows = repeated_near(dark.exposure, seconds) if dark is not None else None
    if dark is None or rows is None:
        raise InvalidArgument("data", "two or more dark frames of one exposure time", "fewer")
    # the variance over pixels leaves out that a whole frame may be warmer than the one before
    noise = [float((dark[a].double() - dark[b]).var()) / 2 for a, b in pairwise(rows.tolist())]
    return float(dark.mean[rows].mean()), sum(noise) / len(noise)


def is_unsaturated(frames: Frames) -> torch.Tensor:
    """Which frames can be used: a few saturated pixels are hot ones."""
    return frames.saturated <= SATURATED_SHARE


def exposure_series(data: MeasuredData, earlier: Calibration) -> tuple[torch.Tensor, torch.Tensor]:
    """Exposure times [t], and two flat frames [t, 2, pixels] of each that were taken near each other.

    Args:
        data: a file with flat frames.
        earlier: steps to apply to them.

    Raises:
        InvalidArgument: pairs at fewer than three exposure times.
    """
    flat = data.flat
    if flat is None:
        raise InvalidArgument("data", "flat frames at 3 exposure times", "no flat frames")
    groups = _repeated_times(flat)
    if len(groups) < FEWEST:
        raise InvalidArgument(
            "data", "pairs of unsaturated flat frames at 3 exposure times", f"at {len(groups)}"
        )
    anchor = flat.time[flat.exposure.argmax()].nan_to_num(0.0)
    pairs = []
    for rows in groups:
        near = (flat.time[rows].nan_to_num(0.0) - anchor).abs().argsort(stable=True)[:2]
        pairs.append(earlier.read(flat, rows[near].sort().values).double().flatten(1))
    return torch.stack([flat.exposure[rows].median() for rows in groups]), torch.stack(pairs)


def _repeated_times(flat: Frames) -> list[torch.Tensor]:
    """The unsaturated frames of each exposure time that has two or more of them."""
    usable = is_unsaturated(flat)
    groups = [rows[usable[rows]] for rows in by_exposure(flat.exposure)]
    return [rows for rows in groups if len(rows) >= 2]


def _still_rising(seconds: torch.Tensor, y: torch.Tensor) -> int:
    """How many of the exposure times come before the response is flat: beyond, light cannot be told."""
    rates = torch.diff(y, prepend=y.new_zeros(1)) / torch.diff(seconds, prepend=seconds.new_zeros(1))
    rising = (rates >= FLAT * rates[0]).nonzero()[:, 0]  # a lamp that flickers may fall once
    return max(FEWEST, int(rising[-1]) + 1)


def _bend(
    seconds: torch.Tensor, u: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Knots and h there, from (0, 0), and rates [groups]: u (1 + h) = t r, relative errors equal."""
    knots = u.new_zeros(1)
    if count:
        inner = u.mean(1).quantile(torch.linspace(0, 1, count + 1, dtype=u.dtype)[1:-1])
        knots = torch.cat([knots, inner, u.max()[None]]).unique()
    t = (seconds / seconds.max())[:, None].expand_as(u)
    rates = torch.eye(u.shape[1], dtype=u.dtype) * (t / u)[..., None]
    each = torch.eye(len(knots), dtype=u.dtype)[1:]
    hats = torch.cat([u[..., None][..., :0], *(_interpolate(u, knots, hat)[..., None] for hat in each)], -1)
    design = torch.cat([rates, -hats], -1).flatten(0, 1)
    found = torch.linalg.lstsq(design, torch.ones(len(design), 1, dtype=u.dtype), driver="gelsd").solution
    h = torch.cat([u.new_zeros(1), found[u.shape[1] :, 0]])
    return knots, h, found[: u.shape[1], 0] / seconds.max()


def _left_out(seconds: torch.Tensor, u: torch.Tensor, count: int) -> float:
    """Relative rms error at each exposure time but the longest, of the fit to the others.

    Without the longest, the fit to the others would be judged where it is never used, beyond its range.
    """
    errors = []
    for i in range(len(seconds) - 1):
        others = torch.arange(len(seconds)) != i
        knots, h, rates = _bend(seconds[others], u[others], count)
        errors.append(u[i] * (1 + _interpolate(u[i], knots, h)) / (seconds[i] * rates) - 1)
    return float(torch.stack(errors).square().mean().sqrt())


def _interpolate(u: torch.Tensor, knots: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Piecewise linear function through (knots, values), in the dtype of ``u``."""
    if len(knots) == 1:
        return torch.zeros_like(u)
    knots, values = knots.to(u), values.to(u)
    right = torch.searchsorted(knots, u.contiguous()).clamp(1, len(knots) - 1)
    share = (u - knots[right - 1]) / (knots[right] - knots[right - 1])
    return torch.lerp(values[right - 1], values[right], share)


def _rises(knots: torch.Tensor, h: torch.Tensor) -> bool:
    u = torch.linspace(0, 1, 257, dtype=torch.float64)
    return bool(((u * (1 + _interpolate(u, knots, h))).diff() > 0).all())
