"""Errors of height, width and index: what a phase is made of.

Each has a ``mean``, a known offset; a ``systematic`` part, the 1-sigma of a value drawn once per device and
shared by all its elements; and a ``random`` part, the 1-sigma of what every element adds on its own. They
are different things: over N elements the random part averages as 1/sqrt(N), the systematic one not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .. import checks
from .draws import Draw, correlated_normal
from .geometry import Geometry

__all__ = ["HeightError", "RefractiveIndexError", "SurfaceRoughness", "WidthError"]


@dataclass(frozen=True, kw_only=True)
class _SplitError:
    mean: float = 0.0
    systematic: float = 0.0
    random: float = 0.0
    correlation: float | None = None

    def __post_init__(self) -> None:
        checks.real("mean", self.mean)
        checks.non_negative("systematic", self.systematic, "a standard deviation of at least 0")
        checks.non_negative("random", self.random, "a standard deviation of at least 0")
        if self.correlation is not None:
            checks.positive("correlation", self.correlation, "a positive length in m, or None")

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``systematic`` [..., 1, 1] with the mean in it, ``random`` [..., y, x].

        Both are drawn even where their sigma is 0, so switching one part on leaves the other as it was.
        """
        common = torch.randn((1,) * len(geometry.shape), generator=generator, dtype=torch.float64)
        each = correlated_normal(generator, geometry.shape, geometry.pitch, self.correlation)
        # independent pillars that share a sample average within it; a correlated error is common to them
        averaging = 1.0 if self.correlation is not None else geometry.elements**-0.5
        return {
            "systematic": self.mean + self.systematic * common,
            "random": self.random * averaging * each,
        }


def _total(draw: Draw, like: torch.Tensor) -> torch.Tensor:
    return (draw["systematic"] + draw["random"]).to(like)


class HeightError(_SplitError):
    """Relative error of the etched or printed height: h -> h (1 + e).

    Typical for dry etching: 1 to 3 % over a wafer, below 1 % locally (from memory, no source checked).
    Acts on height masks, on meta-atoms (the phase of a pillar is taken as proportional to its height)
    and on phase masks, whose phase is then the relief, measured from its base.

    Args:
        mean: known relative offset.
        systematic: 1-sigma of the relative error shared by the whole device.
        random: 1-sigma of the relative error of each element.
        correlation: length in m over which the random part is alike (1/e); None: independent elements.

    Raises:
        InvalidArgument: a negative sigma or correlation; a mask without height.

    Example:
        >>> flat = Geometry(shape=(2, 2), pitch=(1e-6, 1e-6), height=torch.full((2, 2), 1e-6))
        >>> error = HeightError(mean=0.1)
        >>> made = error.apply(flat, error.sample(torch.Generator().manual_seed(0), flat))
        >>> f"{made.height[0, 0].item():.2e}"
        '1.10e-06'
    """

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Scale the height; it ends at the substrate, whatever the draw."""
        name = "height" if geometry.phase is None else "phase"
        relief = geometry.required(name, self)
        return geometry.with_tensors({name: relief * (1 + _total(draw, relief)).clamp(min=0)})


class WidthError(_SplitError):
    """Error of the pillar width (critical dimension) in m: w -> w + e. An empty cell stays empty.

    Typical: a bias of 2 to 15 nm for e-beam and nanoimprint, 2 to 3 nm for 193 nm immersion, 1 to 3 nm
    from pillar to pillar (from memory, no source checked).

    Args:
        mean: known bias in m (positive: wider).
        systematic: 1-sigma in m of the bias shared by the whole device.
        random: 1-sigma in m of each pillar.
        correlation: length in m over which the random part is alike (1/e); None: independent pillars,
            which average inside a sample that holds several.

    Raises:
        InvalidArgument: a negative sigma or correlation; a mask without widths.

    Example:
        >>> pillars = Geometry(shape=(1, 2), pitch=(3e-7, 3e-7), width=torch.tensor([[1e-7, 0.0]]))
        >>> error = WidthError(mean=1e-8)
        >>> made = error.apply(pillars, error.sample(torch.Generator().manual_seed(0), pillars))
        >>> [f"{w:.2e}" for w in made.width[0].tolist()]
        ['1.10e-07', '0.00e+00']
    """

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Widen the pillars, between vanishing and touching their neighbours."""
        width = geometry.required("width", self)
        wider = (width + _total(draw, width)).clamp(min=0, max=geometry.touching)
        return replace(geometry, width=torch.where(width > 0, wider, width))


class RefractiveIndexError(_SplitError):
    """Error of the refractive index of a relief: n -> n + e, the same at every wavelength.

    Typical for silicon nitride: 0.01 to 0.02 with the deposition (from memory, no source checked). Acts on
    height masks only: a meta-atom library is computed for one index and does not tell what another does.

    Args:
        mean: known offset.
        systematic: 1-sigma of the offset shared by the whole device.
        random: 1-sigma of its variation over the device.
        correlation: length in m over which that variation is alike (1/e); None: independent samples.

    Raises:
        InvalidArgument: a negative sigma or correlation; a mask that is no relief of a material.

    Example:
        >>> flat = Geometry(shape=(2, 2), pitch=(1e-6, 1e-6), index=torch.zeros(2, 2))
        >>> error = RefractiveIndexError(mean=0.01)
        >>> made = error.apply(flat, error.sample(torch.Generator().manual_seed(0), flat))
        >>> f"{made.index[0, 0].item():.3f}"
        '0.010'
    """

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Add to the index."""
        index = geometry.required("index", self)
        return replace(geometry, index=index + _total(draw, index))


@dataclass(frozen=True, kw_only=True)
class SurfaceRoughness:
    """Roughness of the surface in m: h -> h + e, with autocorrelation rms^2 exp(-r^2 / correlation^2).

    In transmission it scatters the part 1 - exp(-(2 pi (n - 1) rms / wavelength)^2) out of the beam, into
    angles of about wavelength / (pi correlation). Roughness finer than a sample is outside this model.

    Args:
        rms: root mean square in m.
        correlation: length in m at which the autocorrelation has fallen to 1/e; None: independent samples.

    Raises:
        InvalidArgument: a negative rms, a correlation that is not positive; a mask without height.

    Example:
        >>> flat = Geometry(shape=(64, 64), pitch=(1e-6, 1e-6), height=torch.full((64, 64), 1e-6))
        >>> error = SurfaceRoughness(rms=5e-9)
        >>> made = error.apply(flat, error.sample(torch.Generator().manual_seed(0), flat))
        >>> f"{made.height.std().item():.1e}"
        '5.0e-09'
    """

    rms: float
    correlation: float | None = None

    def __post_init__(self) -> None:
        checks.non_negative("rms", self.rms, "a roughness in m of at least 0")
        if self.correlation is not None:
            checks.positive("correlation", self.correlation, "a positive length in m, or None")

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``roughness`` [..., y, x] in m."""
        rough = correlated_normal(generator, geometry.shape, geometry.pitch, self.correlation)
        return {"roughness": self.rms * rough}

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Add the roughness to the height. A trough may lie below the substrate: that is rough too."""
        height = geometry.required("height", self)
        return replace(geometry, height=height + draw["roughness"].to(height))
