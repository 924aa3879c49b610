"""Errors that only pillars have: leaning walls, rough edges, and pillars that are not there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from .. import checks
from ..errors import InvalidArgument
from .draws import Draw
from .geometry import Geometry

__all__ = ["EdgeRoughness", "MissingPillars", "SidewallAngle", "line_average"]

STEEPEST = math.pi / 2
FLATTEST = math.pi / 4


@dataclass(frozen=True, kw_only=True)
class SidewallAngle:
    """Walls that lean: the width changes from top to foot by 2 h / tan(angle), the same on every pillar.

    The mask that looks up the phase averages it over the height (a pillar is cut into slabs, each of which
    delays as a pillar of its width). 88 degrees on 750 nm are 26 nm on each side. Dry etching gives 85 to
    89 degrees (from memory, no source checked).

    Args:
        mean: angle between wall and substrate in rad; pi/2 is upright, less is wider at the foot.
        systematic: 1-sigma of the angle in rad, drawn once per device.
        held: where the drawn width is found: "top" (what an etch mask defines), "middle" or "foot".

    Raises:
        InvalidArgument: an angle more than 45 degrees from upright, a negative sigma; a mask without pillars.

    Example:
        >>> pillars = Geometry(shape=(1, 1), pitch=(3e-7, 3e-7), width=torch.full((1, 1), 1e-7),
        ...                    height=torch.full((1, 1), 7.5e-7))
        >>> error = SidewallAngle(mean=math.radians(88))
        >>> made = error.apply(pillars, error.sample(torch.Generator().manual_seed(0), pillars))
        >>> f"{made.taper.item():.1e}, mean width {made.width.item():.3e}"
        '5.2e-08, mean width 1.262e-07'
    """

    mean: float = math.pi / 2
    systematic: float = 0.0
    held: str = "top"

    def __post_init__(self) -> None:
        if not FLATTEST <= checks.real("mean", self.mean, "an angle in rad") <= math.pi - FLATTEST:
            raise InvalidArgument(
                "mean",
                "an angle in rad within pi/4 of upright (pi/2)",
                self.mean,
                "math.radians(88) is 88 degrees" if self.mean > math.pi else "",
            )
        checks.non_negative("systematic", self.systematic, "a standard deviation in rad of at least 0")
        checks.choice("held", self.held, ("top", "middle", "foot"))

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``angle`` [..., 1, 1] in rad."""
        common = torch.randn((1,) * len(geometry.shape), generator=generator, dtype=torch.float64)
        return {"angle": self.mean + self.systematic * common}

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Set the taper, and the width at half height."""
        width, height = geometry.required("width", self), geometry.required("height", self)
        taper = 2 * height / torch.tan(draw["angle"].to(height))
        half = {"top": 0.5, "middle": 0.0, "foot": -0.5}[self.held]
        middle = torch.where(width > 0, (width + half * taper).clamp(0, geometry.touching), width)
        total = taper if geometry.taper is None else geometry.taper + taper
        return replace(geometry, width=middle, taper=total)


@dataclass(frozen=True, kw_only=True)
class EdgeRoughness:
    """Line-width roughness along the four edges of a pillar, seen as a change of its mean width.

    Along an edge the width wanders with standard deviation ``sigma`` and correlation exp(-s / correlation).
    What counts is its mean over the edge, of variance sigma^2 times `line_average`, and a square pillar
    has two such means, along y and along x, of which the mean is taken. Measured on resist lines: 2.5 nm and
    35 nm (doi:10.1063/1.3226883; the form of the correlation follows C. A. Mack, 2011).

    Args:
        sigma: line-width roughness in m, one standard deviation.
        correlation: correlation length along the edge in m.

    Raises:
        InvalidArgument: a negative sigma, a correlation that is not positive; a mask without pillars.

    Example:
        >>> pillars = Geometry(shape=(64, 64), pitch=(3e-7, 3e-7), width=torch.full((64, 64), 1.5e-7))
        >>> error = EdgeRoughness(sigma=2.5e-9, correlation=35e-9)
        >>> made = error.apply(pillars, error.sample(torch.Generator().manual_seed(0), pillars))
        >>> f"{made.width.std().item():.1e}"
        '1.1e-09'
    """

    sigma: float
    correlation: float

    def __post_init__(self) -> None:
        checks.non_negative("sigma", self.sigma, "a standard deviation in m of at least 0")
        checks.positive("correlation", self.correlation, "a positive length in m")

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``edge`` [..., y, x], standard normal (its scale depends on the width)."""
        each = torch.randn(geometry.shape, generator=generator, dtype=torch.float64)
        return {"edge": geometry.elements**-0.5 * each}

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Change the widths; an empty cell stays empty."""
        width = geometry.required("width", self)
        there = torch.where(width > 0, width, torch.ones_like(width))
        scale = self.sigma * torch.sqrt(line_average(there / self.correlation) / 2)
        rough = (width + scale * draw["edge"].to(width)).clamp(min=0, max=geometry.touching)
        return replace(geometry, width=torch.where(width > 0, rough, width))


def line_average(ratio: torch.Tensor) -> torch.Tensor:
    """Variance of the mean of a unit process with correlation exp(-s) over a line of length ``ratio``.

    The double integral of exp(-|s - s'|) over the line, over its length squared:
    2 (r - 1 + exp(-r)) / r^2.

    Args:
        ratio: length over correlation length, positive, any shape.

    Example:
        >>> [round(v, 3) for v in line_average(torch.tensor([1e-6, 1.0, 100.0])).tolist()]
        [1.0, 0.736, 0.02]
    """
    series = 1 - ratio / 3 + ratio**2 / 12
    closed = 2 * (ratio + torch.expm1(-ratio)) / ratio**2
    return torch.where(ratio < 1e-2, series, closed)


@dataclass(frozen=True, kw_only=True)
class MissingPillars:
    """Pillars that fell or never stood, each with the same small probability, independently.

    A sample that stands for several pillars loses them one by one, and transmits the mean of what is left.
    Typical: 0.01 to 1 % (from memory, no source checked).

    Args:
        fraction: probability that a pillar is missing.

    Raises:
        InvalidArgument: a fraction outside [0, 1]; a mask without pillars.

    Example:
        >>> pillars = Geometry(shape=(100, 100), pitch=(3e-7, 3e-7), width=torch.full((100, 100), 1e-7))
        >>> error = MissingPillars(fraction=0.01)
        >>> made = error.apply(pillars, error.sample(torch.Generator().manual_seed(0), pillars))
        >>> 60 < made.missing.sum().item() < 140
        True
    """

    fraction: float

    def __post_init__(self) -> None:
        checks.fraction("fraction", self.fraction)

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``missing`` [..., y, x], the part of each sample's pillars."""
        count = torch.zeros(geometry.shape, dtype=torch.float64)
        for _ in range(geometry.elements):
            count += torch.rand(geometry.shape, generator=generator, dtype=torch.float64) < self.fraction
        return {"missing": count / geometry.elements}

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Take the pillars away. What is missing twice is missing once: the parts that stand multiply."""
        missing = draw["missing"].to(geometry.required("width", self))
        if geometry.missing is not None:
            missing = 1 - (1 - geometry.missing) * (1 - missing)
        return replace(geometry, missing=missing)
