"""What EMVA 1288 makes of the numbers of a bench: gain, noise, linearity and the parts of a fixed pattern.

Everything here is of means and variances that were taken already; `photonet.detector.bench` takes them.
Source: EMVA Standard 1288, release 4.0 linear, sections 6 to 8; intervals are ours, see there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .. import checks
from ..errors import GridMismatch, InvalidArgument
from .model import numbers

__all__ = ["Estimate", "deviation_from_line", "nonuniformity_variances", "system_gain"]

GROUPS = 16
"""Random groups of pixels; leaving out one at a time gives the standard errors (jackknife)."""

TRANSFER_RANGE = 0.7
"""Part of the saturation signal over which gain and responsivity are fitted (the standard's 70 %)."""

LINEAR_RANGE = (0.05, 0.95)
"""Part of the saturation signal over which linearity is judged (the standard's 5 to 95 %)."""

LEAST_DARK_VARIANCE = 0.24
"""Least variance of a dark frame in DN^2 from which dark noise can be told (the standard's limit)."""

LEAST_DITHERED = 0.29
"""Least variance in DN^2 from which rounding adds 1/12 to it and moves no mean, wherever the mean lies.

The standard's 0.24 is less than the 0.25 of a noiseless signal half way between two numbers.
"""

MOST_HIDDEN = 0.47
"""Largest noise in DN that may give a variance below `LEAST_DITHERED`.

A Gaussian of standard deviation s, rounded, has a variance of at least s^2 + 1/12 - (4 s^2 + 1/pi^2)
exp(-2 pi^2 s^2) (Widrow and Kollar, Quantization Noise, 2008, the first term of the series).
"""


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % confidence interval.

    Example:
        >>> 2.1 in Estimate(2.0, 1.8, 2.2, "e-")
        True
    """

    value: float
    low: float
    high: float
    unit: str

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g}) {self.unit}".rstrip()


def deviation_from_line(photons: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    """Deviation in per cent from the line that makes relative deviations least: 100 (y - fit) / fit.

    Args:
        photons: [levels].
        signal: [levels] above dark, in DN.

    Returns:
        float64 [levels].

    Raises:
        GridMismatch: another number of signals than of levels.
        InvalidArgument: not finite real numbers, fewer than two different levels, or a signal of 0.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
        >>> bool(deviation_from_line(x, 5 * x + 1).abs().max() < 1e-9)
        True
    """
    photons, signal = (
        numbers("photons", photons, "photons").double(),
        numbers("signal", signal, "DN").double(),
    )
    if photons.ndim != 1 or len(photons.unique()) < 2:
        raise InvalidArgument("photons", "two or more different levels [levels]", tuple(photons.shape))
    if signal.shape != photons.shape:
        raise GridMismatch("signal", f"{len(photons)} values, one per level", f"shape {tuple(signal.shape)}")
    if not bool(signal.all()):
        raise InvalidArgument("signal", "levels above the dark: deviations are relative", "a signal of 0")
    design = torch.stack([photons, torch.ones_like(photons)], 1) / signal[:, None]
    slope, offset = torch.linalg.lstsq(design, torch.ones_like(signal)[:, None]).solution[:, 0]
    line = slope * photons + offset
    return 100 * (signal - line) / line


def system_gain(signal: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    """K in DN per electron: the slope through zero of the temporal variance over the mean signal.

    Args:
        signal: [levels, ...] mean above the dark in DN.
        excess: [levels, ...] variance above that of the dark in DN^2.

    Returns:
        [...].

    Raises:
        GridMismatch: shapes that differ.
        InvalidArgument: not finite real numbers, or no signal at any level.

    Example:
        >>> level = torch.tensor([[100.0], [200.0]])
        >>> system_gain(level, 0.25 * level)
        tensor([0.2500])
    """
    signal, excess = numbers("signal", signal, "DN"), numbers("excess", excess, "DN^2")
    if signal.shape != excess.shape or not signal.ndim:
        raise GridMismatch("excess", f"shape {tuple(signal.shape)}, [levels, ...]", f"{tuple(excess.shape)}")
    if not bool(signal.any(0).all()):
        raise InvalidArgument("signal", "levels above the dark", "0 at every level")
    return (signal * excess).sum(0) / signal.square().sum(0)


def nonuniformity_variances(image: torch.Tensor, temporal: float) -> tuple[list[float], list[float]]:
    """Split the spatial variance of an averaged image into row, column and pixel parts.

    Two-way analysis of variance: with M rows, N columns, residual variance s_r^2 after row and column
    means are taken out, the pixel part is s_r^2 - temporal, the row part s^2(row means) - s_r^2 / N, the
    column part s^2(column means) - s_r^2 / M, and the total their sum.

    Args:
        image: [y, x] mean of a stack of frames.
        temporal: variance that temporal noise leaves in each pixel of it, sigma^2 / L.

    Returns:
        Variances (total, row, column, pixel), and the sampling variances of these four estimates.

    Raises:
        InvalidArgument: not finite real numbers, or fewer than two rows or columns.

    Example:
        >>> image = torch.randn(200, 300, generator=torch.Generator().manual_seed(0)) * 3
        >>> total, row, column, pixel = nonuniformity_variances(image, temporal=1.0)[0]
        >>> abs(pixel - 8) < 0.3, abs(row) < 0.02, abs(column) < 0.03
        (True, True, True)
    """
    image, temporal = numbers("image", image, "DN").double(), checks.real("temporal", temporal)
    if image.ndim != 2 or min(image.shape) < 2:
        raise InvalidArgument("image", "two or more rows and columns [y, x]", f"shape {tuple(image.shape)}")
    m, n = image.shape
    rows, columns = image.mean(1), image.mean(0)
    residual = image - rows[:, None] - columns[None, :] + image.mean()
    inner = (residual.square().sum() / ((m - 1) * (n - 1))).item()
    of_rows, of_columns = rows.var().item(), columns.var().item()
    pixel, row, column = inner - temporal, of_rows - inner / n, of_columns - inner / m
    # a variance estimated with nu degrees of freedom has sampling variance 2 s^4 / nu
    e_inner = 2 * inner**2 / ((m - 1) * (n - 1))
    e_row, e_column = 2 * of_rows**2 / (m - 1), 2 * of_columns**2 / (n - 1)
    errors = [
        e_row + e_column + (1 - 1 / m - 1 / n) ** 2 * e_inner,
        e_row + e_inner / n**2,
        e_column + e_inner / m**2,
        e_inner,
    ]
    return [pixel + row + column, row, column, pixel], errors


def dithered(noise: torch.Tensor) -> torch.Tensor:
    """At which levels noise hides the rounding to whole numbers, bool [levels]; all of them if in the dark.

    Args:
        noise: [levels] temporal variance in DN^2, the dark first.
    """
    return (noise >= LEAST_DITHERED) | (noise[0] >= LEAST_DITHERED)


def at_zero(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Where the least-squares lines of y [levels, ...] over x, of the same shape, meet x = 0: [...]."""
    away = x - x.mean(0)
    return y.mean(0) - (away * y).sum(0) / away.square().sum(0) * x.mean(0)


def transfer_levels(y: torch.Tensor, noise: torch.Tensor, top: int) -> torch.Tensor:
    """Which of the levels [levels] gain and responsivity are fitted to; ``top`` is that of saturation."""
    return (y - y[0] <= TRANSFER_RANGE * (y[top] - y[0])) & dithered(noise)


def transfer_fit(x: torch.Tensor, y: torch.Tensor, noise: torch.Tensor, top: int) -> tuple[torch.Tensor, ...]:
    """Gain, quantum efficiency and dark noise from the curves of photon transfer.

    Where rounding hides the noise of the dark, its mean and variance are where the lit levels lead to: those
    of the frames lack the 1/12 DN^2 that rounding adds to the others. Dark noise is then the most that can
    be (the standard's 0.40 DN).

    Args:
        x: [levels] photons per pixel.
        y, noise: [levels, groups] mean in DN and temporal variance in DN^2.
        top: the level of saturation.

    Returns:
        K in DN/e-, eta and sigma_d in e-, and the mean of the dark in DN, [groups] each.
    """
    used = transfer_levels(y.mean(1), noise.mean(1), top)
    x, signal, excess = x[used, None], y[used], noise[used]
    black, unlit = y[0], noise[0]
    if noise[0].mean() < LEAST_DITHERED:
        black = at_zero(x.expand_as(signal), signal)
        unlit = at_zero(signal - black, excess)
    signal, excess = signal - black, excess - unlit
    gain = system_gain(signal, excess)
    responsivity = (signal * x).sum(0) / x.square().sum()
    dark = (noise[0].clamp(min=LEAST_DARK_VARIANCE) - 1 / 12).sqrt() / gain
    return gain, responsivity / gain, dark, black


def jackknife(whole: torch.Tensor, without: torch.Tensor, unit: str) -> Estimate:
    """A number with its interval from the scatter of the same number without each of the groups.

    Args:
        whole: [1], from all pixels.
        without: [GROUPS], leaving out one group at a time.
        unit: of both.
    """
    from scipy.stats import t

    error = math.sqrt((GROUPS - 1) / GROUPS * (without - without.mean()).square().sum().item())
    reach = float(t.ppf(0.975, GROUPS - 1)) * error
    value = whole.item()
    return Estimate(value, value - reach, value + reach, unit)


def at_most(value: float, bound: float, gain: Estimate) -> Estimate:
    """A noise in electrons of which rounding only tells that it is no more than ``bound`` DN."""
    return Estimate(value, 0.0, bound / gain.low, "e-")


def root_of(square: float, error: float, unit: str) -> Estimate:
    """The root of an estimated variance; its interval by a chi-square of the same relative spread."""
    from scipy.stats import chi2

    value = math.sqrt(max(square, 0.0))
    if square <= 2 * math.sqrt(error):  # not told from zero
        return Estimate(value, 0.0, math.sqrt(max(square, 0.0) + 1.96 * math.sqrt(error)), unit)
    freedom = 2 * square**2 / error
    low, high = (value * math.sqrt(freedom / float(chi2.ppf(p, freedom))) for p in (0.975, 0.025))
    return Estimate(value, low, high, unit)


def linear_levels(signal: torch.Tensor, noise: torch.Tensor, top: int) -> torch.Tensor:
    """Which of the levels [levels] linearity is judged on; ``top`` is that of saturation."""
    low, high = (part * signal[top] for part in LINEAR_RANGE)
    return (signal >= low) & (signal <= high) & dithered(noise)


def linearity_error(
    x: torch.Tensor, signal: torch.Tensor, noise: torch.Tensor, pixels: int, top: int
) -> Estimate:
    """Mean absolute deviation; noise can move it by no more than the mean of its own absolute value."""
    inside = linear_levels(signal, noise, top)
    found = deviation_from_line(x[inside], signal[inside]).abs().mean().item()
    error = 100 * (((noise + noise[0]) / (2 * pixels)).sqrt() / signal)[inside]
    # a Gaussian's absolute value has mean 0.798 and standard deviation 0.603 of its sigma
    reach = 0.798 * error.mean().item() + 1.96 * 0.603 * error.norm().item() / len(error)
    return Estimate(found, max(found - reach, 0.0), found + reach, "%")
