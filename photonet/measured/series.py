"""What a series of exposure times tells: how the response bends, and the gain of the camera."""

from __future__ import annotations

import torch

from ..detector.bench import TRANSFER_RANGE, Estimate, system_gain
from ..errors import InvalidArgument
from .reader import MeasuredData
from .steps import Calibration, Shots, Step

__all__ = ["correct_linearity", "gain_of_series"]

BRIGHTNESSES = 8
"""Groups of pixels of equal brightness."""

DEGREES = range(7)
"""Degrees of the polynomial that held-out exposure times choose from."""


def correct_linearity(data: MeasuredData, earlier: Calibration | None = None) -> Step:
    r"""Undo a response that bends, from flat frames at rising exposure times.

    .. math:: x = y\, (1 + c_1 y / Y + c_2 (y / Y)^2 + \dots), \qquad x = t\, r

    Y is the largest signal of the series, beyond which the correction goes on straight. The rates r, of
    pixels grouped by their brightness, are unknowns beside the coefficients, so neither the light nor its
    falloff need be known; both enter linearly, with weights 1 / y as in EMVA 1288. The degree is the one
    that predicts left-out exposure times best. The slope in the dark stays 1.

    Args:
        data: a file with flat frames at three or more exposure times.
        earlier: steps before this one (``dark``).

    Raises:
        InvalidArgument: too few exposure times.
    """
    seconds, frames = _series(data, earlier or Calibration())
    order = frames.mean((0, 1)).argsort()
    groups = order.tensor_split(min(BRIGHTNESSES, max(1, len(order) // 16)))
    y = torch.stack([frames.mean(1)[:, group].mean(1) for group in groups], 1)
    if not bool((y > 0).all()):
        raise InvalidArgument("data", "flat frames that are brighter than the dark", "darker ones")
    top = float(y.max())
    u = y / top
    errors = {}
    for degree in (d for d in DEGREES if d < len(seconds) - 1):
        if _rises(_bend(seconds, u, degree)[0]):
            errors[degree] = _left_out(seconds, u, degree)
    best = min(errors, key=lambda degree: errors[degree])
    coefficients, _ = _bend(seconds, u, best)

    def apply(frames: torch.Tensor, shots: Shots) -> torch.Tensor:
        u = frames / top
        inside = u.clamp(max=1)
        last = 1 + sum((k + 2) * c for k, c in enumerate(coefficients.tolist()))  # slope at the top
        return top * (inside * _factor(inside, coefficients) + (u - inside) * last)

    return Step(
        "linearity",
        "%, rms deviation at left-out exposure times",
        100 * errors[0],
        100 * errors[best],
        apply,
        {"degree": best, "coefficients": coefficients, "top": top},
    )


def gain_of_series(data: MeasuredData, earlier: Calibration | None = None) -> Estimate:
    r"""The system gain K by photon transfer: what the variance of two equal frames grows by with their mean.

    The slope through zero of the variance above the dark, over 70 % of the brightest signal that still makes
    noise, from the difference of two frames at each exposure time (EMVA 1288 release 4.0, section 6.6). With
    it grey values are electrons.

    Args:
        data: a file with pairs of flat frames at three or more exposure times, and dark frames.
        earlier: the step ``dark``, and no other (the later ones scale the noise).

    Returns:
        K in DN per electron, with its 95 % interval.

    Raises:
        InvalidArgument: too few frames.
    """
    if data.dark is None or len(data.dark) < 2:
        raise InvalidArgument("data", "two or more dark frames", "fewer")
    _, frames = _series(data, earlier or Calibration())
    dark = data.dark[:2].double().flatten(1)
    variance = (frames[:, 0] - frames[:, 1]).square() / 2 - (dark[0] - dark[1]).square().mean() / 2
    groups = torch.arange(frames.shape[-1]).tensor_split(min(16, frames.shape[-1]))
    mean = torch.stack([frames.mean(1)[:, g].mean(1) for g in groups], 1)
    noise = torch.stack([variance[:, g].mean(1) for g in groups], 1)
    used = mean.mean(1) <= TRANSFER_RANGE * mean[noise.mean(1).argmax()].mean()
    gains = system_gain(mean[used], noise[used])
    gain = float(system_gain(mean[used].flatten()[:, None], noise[used].flatten()[:, None]))
    reach = 1.96 * float(gains.std()) / len(groups) ** 0.5
    return Estimate(gain, gain - reach, gain + reach, "DN/e-")


def _series(data: MeasuredData, earlier: Calibration) -> tuple[torch.Tensor, torch.Tensor]:
    """Exposure times [t], and two frames [t, 2, pixels] of each that were taken near each other."""
    flat = data.flat
    if flat is None:
        raise InvalidArgument("data", "flat frames at 3 exposure times", "no flat frames")
    anchor = flat.time[flat.exposure.argmax()].nan_to_num(0.0)
    seconds, pairs = [], []
    for t in flat.exposure.unique().tolist():
        rows = ((flat.exposure == t) & (flat.saturated == 0)).nonzero()[:, 0]
        if len(rows) >= 2:
            near = (flat.time[rows].nan_to_num(0.0) - anchor).abs().argsort(stable=True)[:2]
            pairs.append(earlier.read(flat, rows[near].sort().values).double().flatten(1))
            seconds.append(t)
    if len(seconds) < 3:
        raise InvalidArgument(
            "data", "pairs of unsaturated flat frames at 3 exposure times", f"at {len(seconds)}"
        )
    return torch.tensor(seconds, dtype=torch.float64), torch.stack(pairs)


def _bend(seconds: torch.Tensor, u: torch.Tensor, degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients [degree] and rates [groups] that make u (1 + c1 u + ...) = t r, relative errors equal."""
    t = (seconds / seconds.max())[:, None].expand_as(u)
    rates = torch.eye(u.shape[1], dtype=u.dtype) * (t / u)[..., None]
    powers = torch.stack([u**k for k in range(1, degree + 1)], -1) if degree else u.new_zeros(*u.shape, 0)
    design = torch.cat([rates, -powers], -1).flatten(0, 1)
    found = torch.linalg.lstsq(design, torch.ones(len(design), 1, dtype=u.dtype), driver="gelsd").solution
    return found[u.shape[1] :, 0], found[: u.shape[1], 0] / seconds.max()


def _left_out(seconds: torch.Tensor, u: torch.Tensor, degree: int) -> float:
    """Relative rms error at each exposure time, of the fit to the others."""
    errors = []
    for i in range(len(seconds)):
        others = torch.arange(len(seconds)) != i
        coefficients, rates = _bend(seconds[others], u[others], degree)
        errors.append(u[i] * _factor(u[i], coefficients) / (seconds[i] * rates) - 1)
    return float(torch.stack(errors).square().mean().sqrt())


def _factor(u: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    factor = torch.zeros_like(u)
    for c in reversed(coefficients.tolist()):
        factor = (factor + c) * u
    return 1 + factor


def _rises(coefficients: torch.Tensor) -> bool:
    u = torch.linspace(0, 1, 257, dtype=torch.float64)
    return bool(((u * _factor(u, coefficients)).diff() > 0).all())
