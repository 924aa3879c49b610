"""A virtual EMVA 1288 bench: measure a camera from its frames alone, as the standard says.

The bench is given a function that takes a picture of uniform light of a known number of photons; what is
behind it, a `Detector` or a real camera, it does not know. Photon transfer (two frames at each of many
levels) gives gain, quantum efficiency, dark noise, saturation and linearity; averaged stacks in the dark
and at half of saturation give DSNU and PRNU with their row, column and pixel parts.

Source: EMVA Standard 1288, release 4.0 linear, sections 6 to 8, apart from four things said here: the row
and column parts are the unbiased analysis of variance, of which the standard's equations are the limit for
large frames; no highpass filter is applied (a virtual light source has no shading); a dark that varies by
less than its rounding is not subtracted, but extrapolated from levels that do vary (`emva.transfer_fit`);
and every number comes with a 95 % confidence interval, of which the standard says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import checks
from ..arrays import as_tensor
from ..errors import InvalidArgument
from ..streams import Seed, stream
from .camera import Detector
from .emva import (
    GROUPS,
    LEAST_DARK_VARIANCE,
    LEAST_DITHERED,
    MOST_HIDDEN,
    Estimate,
    at_most,
    deviation_from_line,
    jackknife,
    linear_levels,
    linearity_error,
    nonuniformity_variances,
    root_of,
    transfer_fit,
    transfer_levels,
)
from .model import numbers
from .readout import detect, without_mosaic

if TYPE_CHECKING:
    import xarray

__all__ = [
    "Characterization",
    "characterize",
    "measure",
    "truth",
    "virtual_camera",
]

Capture = Callable[[float], Any]
"""Takes the mean number of photons per pixel, returns one new frame [y, x] in DN: a tensor or an array."""

LEAST_LEVELS = 3
"""In the range of a fit: fewer tell no line from a bend."""


@dataclass(frozen=True)
class Characterization:
    """What the bench found; units are in the estimates.

    Attributes:
        gain: system gain K.
        quantum_efficiency: eta at the wavelength of the light.
        dark_noise: sigma_d in the dark, with the noise of the dark current of this exposure. Where the dark
            varies by less than 0.29 DN^2, rounding hides it: the value is the standard's 0.40 DN, the
            interval from 0 to the most that can be, and gain and efficiency are of lines with intercepts.
        saturation: photo-electrons at the maximum of the variance; its interval is that of the levels
            between which saturation sets in.
        linearity_error: mean absolute deviation from the straight line.
        dsnu, prnu: total nonuniformity in the dark, and of the response. Where rounding hides the dark noise,
            DSNU is as frames have it, with an interval from 0 to the most that can be.
        dsnu_parts, prnu_parts: their (row, column, pixel) parts.
        photons, mean, variance: the photon transfer measurement, [levels].
    """

    gain: Estimate
    quantum_efficiency: Estimate
    dark_noise: Estimate
    saturation: Estimate
    linearity_error: Estimate
    dsnu: Estimate
    prnu: Estimate
    dsnu_parts: tuple[Estimate, Estimate, Estimate]
    prnu_parts: tuple[Estimate, Estimate, Estimate]
    photons: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor

    @property
    def snr_max(self) -> float:
        """Signal to noise ratio at saturation, sqrt(mu_e.sat)."""
        return math.sqrt(self.saturation.value)

    @property
    def sensitivity_threshold(self) -> float:
        """Photons at which the signal equals its noise: mu_p.min = (sigma_y.dark / K + 1/2) / eta.

        This is the standard's approximation. The exact (sqrt((sigma_y.dark / K)^2 + 1/4) + 1/2) / eta is
        7 % more at a dark noise of one electron, and less than 1 % more from four electrons on.
        """
        dark = math.sqrt(max(self.variance[0].item(), LEAST_DARK_VARIANCE))
        return (dark / self.gain.value + 0.5) / self.quantum_efficiency.value

    @property
    def dynamic_range(self) -> float:
        """mu_p.sat / mu_p.min."""
        return self.saturation.value / self.quantum_efficiency.value / self.sensitivity_threshold

    def estimates(self) -> dict[str, Estimate]:
        """All estimates by name, the parts of the nonuniformities spelled out."""
        names = ("gain", "quantum_efficiency", "dark_noise", "saturation", "linearity_error", "dsnu", "prnu")
        found = {name: getattr(self, name) for name in names}
        for name, parts in (("dsnu", self.dsnu_parts), ("prnu", self.prnu_parts)):
            found |= {f"{name}_{part}": e for part, e in zip(("row", "column", "pixel"), parts, strict=True)}
        return found

    def to_xarray(self) -> xarray.Dataset:
        """The estimates (value, low, high) and the photon transfer curve as a labelled data set."""
        import xarray

        values = {
            name: ("bound", [e.value, e.low, e.high], {"units": e.unit})
            for name, e in self.estimates().items()
        }
        curve = {
            "mean": ("photons", self.mean.numpy(), {"units": "DN"}),
            "variance": ("photons", self.variance.numpy(), {"units": "DN^2"}),
        }
        return xarray.Dataset(
            values | curve,
            coords={"bound": ["value", "low", "high"], "photons": self.photons.numpy()},
            attrs={"standard": "EMVA 1288 release 4.0 linear", "confidence": 0.95},
        )


def virtual_camera(detector: Detector, wavelength: Any, shape: Any, *, camera: Seed, seed: Seed) -> Capture:
    """One individual of a detector in front of a uniform light source.

    Args:
        detector: the camera, without a mosaic (the standard measures one filter at a time; see
            `Detector.behind`).
        wavelength: of the light, one number in m.
        shape: pixels (ny, nx).
        camera: seed of the individual's fixed pattern.
        seed: of the exposures.

    Raises:
        InvalidArgument: a camera with a mosaic, a wavelength outside of the table, or no seed.

    Example:
        >>> take = virtual_camera(Detector(), 525e-9, (4, 6), camera=0, seed=0)
        >>> take(1000.0).shape
        torch.Size([4, 6])
    """
    size = tuple(checks.count("shape", n) for n in checks.pair("shape", shape))
    efficiency = _one_efficiency(detector, wavelength)
    if not isinstance(camera, torch.Generator):
        checks.count("camera", camera, least=0)
    pattern = detector.pattern(size, camera, dtype=torch.float64)
    generator = stream(seed, "exposure")

    def take(photons: float) -> torch.Tensor:
        electrons = torch.full(size, efficiency * photons, dtype=torch.float64)
        return detect(electrons, detector, seed=generator, pattern=pattern)

    return take


def characterize(
    detector: Detector,
    wavelength: Any,
    *,
    shape: Any = (256, 256),
    camera: Seed = 0,
    seed: Seed = 0,
    levels: int = 50,
    stack: int = 16,
) -> Characterization:
    """Put one individual of a detector on the bench, with levels up to 8 % above its saturation.

    Args:
        detector, wavelength, shape, camera, seed: as in `virtual_camera`.
        levels: of the photon transfer, dark included (the standard asks for 50).
        stack: frames averaged for the nonuniformities, in the dark and at half of saturation.

    Raises:
        InvalidArgument: as `virtual_camera` and `measure`, or a camera that does not see this light.

    Example:
        >>> found = characterize(Detector(), 525e-9, shape=48, levels=20)
        >>> 0.12 in found.gain, 0.65 in found.quantum_efficiency
        (True, True)
    """
    efficiency = _one_efficiency(detector, wavelength)
    if efficiency <= 0:
        raise InvalidArgument("detector", "a quantum efficiency above 0 at this wavelength", efficiency)
    full = 1.08 * detector.saturation / efficiency
    photons = torch.linspace(0, full, checks.count("levels", levels, least=10), dtype=torch.float64)
    take = virtual_camera(detector, wavelength, shape, camera=camera, seed=seed)
    return measure(take, photons.tolist(), stack=stack)


def measure(capture: Capture, photons: list[float], *, stack: int = 16) -> Characterization:
    """Characterize a camera behind a function that takes pictures of uniform light.

    Gain and efficiency, with their intervals, are those of the standard's linear camera, and not the slopes
    at low signal of a response that bends. A linearity error of 0.4 % (a full well 3 % below the line) stands
    for a gain 4 % too small and an efficiency 3 % too large.

    Args:
        capture: mean photons per pixel -> one new frame [y, x] in DN, a tensor or an array of any type.
        photons: levels, rising from 0 (dark) to beyond saturation, at least 10.
        stack: frames averaged for the nonuniformities.

    Raises:
        InvalidArgument: too few levels, not rising from 0, too few pixels, no level saturates, too few levels
            whose noise shows in whole numbers, or frames that are not numbers [y, x].
    """
    x = numbers("photons", photons, "photons per pixel").double()
    if x.ndim != 1 or len(x) < 10 or x[0] != 0 or bool((x.diff() <= 0).any()):
        raise InvalidArgument(
            "photons", "10 or more levels, rising from 0", f"{x.numel()} from {x.flatten()[:1].tolist()}"
        )
    checks.count("stack", stack, least=2)
    mean, variance, pixels = _photon_transfer(capture, x)
    y, noise = mean.mean(1), variance.mean(1)
    top = int(noise.argmax())
    fallen = (noise[top:] < noise[top] / 2).nonzero()
    if not len(fallen):
        raise InvalidArgument(
            "photons", "levels beyond saturation", "a variance that does not fall at the end"
        )
    above = y - y[0]
    lit = transfer_levels(y, noise, top) & (x > 0)
    told = int(lit.sum()), int(linear_levels(above, noise, top).sum())
    hidden = noise[0].item() < LEAST_DITHERED
    if not above[top] > 0 or min(told) < LEAST_LEVELS:
        expected = f"{LEAST_LEVELS} or more levels between the dark and 70 % of saturation"
        remedy = "closer levels at the beginning"
        if hidden:
            expected += f", with a variance of {LEAST_DITHERED} DN^2 or more, as that of the dark has less"
            remedy += ", more bits or a higher gain"
        raise InvalidArgument("photons", expected, f"{min(told)}", remedy)
    others = (1 - torch.eye(GROUPS, dtype=torch.float64)) / (GROUPS - 1)
    whole = transfer_fit(x, y[:, None], noise[:, None], top)
    without = transfer_fit(x, mean @ others.T, variance @ others.T, top)
    gain, efficiency, dark, black = (
        jackknife(a, b, unit) for a, b, unit in zip(whole, without, ("DN/e-", "", "e-", "DN"), strict=True)
    )

    half = 0.5 * photons[top]
    dark_parts, dark_errors, dark_mean = _spatial(capture, 0.0, stack)
    half_parts, half_errors, half_mean = _spatial(capture, half, stack)
    k, k_error = gain.value, (gain.high - gain.low) / (2 * 1.96)
    dsnu = [
        root_of(s2 / k**2, e / k**4 + 4 * s2**2 * k_error**2 / k**6, "e-")
        for s2, e in zip(dark_parts, dark_errors, strict=True)
    ]
    if hidden:
        dark = at_most(dark.value, MOST_HIDDEN, gain)
        # what rounding takes from the spread of the pixels is no more than its own, 1 / sqrt(12)
        dsnu = [at_most(found.value, found.value * k + 12**-0.5, gain) for found in dsnu]
        dark_mean = black.value
        dark_errors = [e + s2**2 for s2, e in zip(dark_parts, dark_errors, strict=True)]
    signal = half_mean - dark_mean
    prnu = [
        root_of((h - d) / signal**2, (he + de) / signal**4, "")
        for h, d, he, de in zip(half_parts, dark_parts, half_errors, dark_errors, strict=True)
    ]
    # the maximum of the variance; saturation lies before the level where half of the variance is gone
    bracket = top, max(top - 1, 0), min(top + int(fallen[0]) + 1, len(x) - 1)
    saturation, least, most = (efficiency.value * x[i].item() for i in bracket)
    return Characterization(
        gain=gain,
        quantum_efficiency=efficiency,
        dark_noise=dark,
        saturation=Estimate(saturation, least, most, "e-"),
        linearity_error=linearity_error(x, y - black.value, noise, pixels, top),
        dsnu=dsnu[0],
        prnu=prnu[0],
        dsnu_parts=(dsnu[1], dsnu[2], dsnu[3]),
        prnu_parts=(prnu[1], prnu[2], prnu[3]),
        photons=x,
        mean=y,
        variance=noise,
    )


def truth(detector: Detector, wavelength: Any, found: Characterization) -> dict[str, float]:
    """What the bench should have found for this detector, by the names of `Characterization.estimates`.

    Args:
        detector, wavelength: as in `virtual_camera`.
        found: the measurement (linearity is a matter of the levels it used).
    """
    efficiency, photons = _one_efficiency(detector, wavelength), found.photons
    y = detect(efficiency * photons[None], detector, noise=False)[0]
    inside = linear_levels(y - y[0], found.variance, int(found.variance.argmax()))
    known = {
        "gain": detector.gain,
        "quantum_efficiency": efficiency,
        "dark_noise": math.sqrt(detector.dark_noise**2 + detector.dark_electrons),
        "saturation": detector.saturation,
        "linearity_error": deviation_from_line(photons[inside], y[inside] - y[0]).abs().mean().item(),
    }
    for name, parts in (("dsnu", detector.dsnu), ("prnu", detector.prnu)):
        known[name] = math.sqrt(sum(p**2 for p in parts))
        known |= {f"{name}_{p}": v for p, v in zip(("row", "column", "pixel"), parts, strict=True)}
    return known


def _one_efficiency(detector: Detector, wavelength: Any) -> float:
    efficiency = without_mosaic(detector).efficiency(wavelength)
    if efficiency.numel() != 1:
        raise InvalidArgument("wavelength", "one number in m", f"{efficiency.numel()} of them")
    return float(efficiency)


def _frame(capture: Capture, photons: float) -> torch.Tensor:
    """One frame [y, x] in float64."""
    frame = as_tensor("capture", capture(photons), least_dims=2)
    if frame.ndim > 2 or min(frame.shape) < 2:
        expected = "frames [y, x] of two or more rows and columns"
        raise InvalidArgument("capture", expected, f"shape {tuple(frame.shape)}")
    return frame.double()


def _photon_transfer(capture: Capture, photons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Mean and temporal variance of two frames at each level, by group of pixels: [levels, GROUPS]."""
    means, variances, order = [], [], torch.empty(0, dtype=torch.long)
    for level in photons.tolist():
        a, b = (_frame(capture, level).flatten() for _ in range(2))
        if not len(order):
            if len(a) < 4 * GROUPS:
                raise InvalidArgument("capture", f"frames of at least {4 * GROUPS} pixels", len(a))
            order = torch.randperm(len(a), generator=stream(0, "bench"))[: len(a) // GROUPS * GROUPS]
        a, b = (frame[order].reshape(GROUPS, -1) for frame in (a, b))
        means.append((a + b).mean(1) / 2)
        variances.append((a - b).var(1) / 2)
    return torch.stack(means), torch.stack(variances), len(order)


def _spatial(capture: Capture, photons: float, stack: int) -> tuple[list[float], list[float], float]:
    """Variances of the fixed pattern at one level with their errors, and the mean, in DN."""
    first = _frame(capture, photons)
    total, squares = torch.zeros_like(first), torch.zeros_like(first)
    for frame in (first, *(_frame(capture, photons) for _ in range(stack - 1))):
        total, squares = total + (frame - first), squares + (frame - first).square()
    image = first + total / stack
    temporal = ((squares - total.square() / stack) / (stack - 1)).mean().item()
    return *nonuniformity_variances(image, temporal / stack), image.mean().item()
