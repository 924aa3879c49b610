"""Errors of position: the pattern beside its place, or every element beside its own.

A rigid displacement d multiplies the spectrum of the transmission by exp(-2 pi i f d). It is applied so,
by Fourier interpolation of the complex transmission, and not by resampling heights: halfway across a
2 pi step the mean of the two heights would be a phase of pi that no mask has there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from .draws import Draw
from .geometry import Geometry

__all__ = ["LateralError", "displace", "moved"]

LARGEST_JITTER = 0.2
"""In pitches: the series in `displace` is then within (0.2 pi)^3 / 6 = 4 % at the very edge of the band."""


@dataclass(frozen=True, kw_only=True)
class LateralError:
    """Lateral displacement in m: of the whole pattern (overlay, alignment) and of each element.

    Args:
        mean: known shift, one number or (y, x).
        systematic: 1-sigma of the shift of the whole pattern, drawn once per device, one number or (y, x).
        random: 1-sigma of the displacement of each element, along y and x alike.

    Raises:
        InvalidArgument: a negative sigma; a random displacement above a fifth of the pitch.

    Example:
        >>> geometry = Geometry(shape=(4, 4), pitch=(1e-6, 1e-6))
        >>> error = LateralError(mean=(3e-7, 0))
        >>> made = error.apply(geometry, error.sample(torch.Generator().manual_seed(0), geometry))
        >>> f"{made.shift_y.item():.1e}"
        '3.0e-07'
    """

    mean: Any = 0.0
    systematic: Any = 0.0
    random: float = 0.0

    def __post_init__(self) -> None:
        for value in checks.pair("mean", self.mean):
            checks.real("mean", value, "a finite length in m, or a pair (y, x)")
        for value in checks.pair("systematic", self.systematic):
            checks.non_negative("systematic", value, "a standard deviation in m, or a pair (y, x)")
        checks.non_negative("random", self.random, "a standard deviation in m")

    def sample(self, generator: torch.Generator, geometry: Geometry) -> Draw:
        """Draw one device: ``shift_y``, ``shift_x`` [..., 1, 1] and, if any, ``jitter_y``, ``jitter_x``."""
        if self.random > LARGEST_JITTER * min(geometry.pitch):
            raise InvalidArgument(
                "random",
                f"a standard deviation of at most {LARGEST_JITTER:g} pitch = "
                f"{LARGEST_JITTER * min(geometry.pitch):g} m",
                self.random,
                "sample the mask more finely",
            )
        draw = {}
        scales = zip(checks.pair("mean", self.mean), checks.pair("systematic", self.systematic), strict=True)
        for axis, (mean, sigma) in zip("yx", scales, strict=True):
            common = torch.randn((1,) * len(geometry.shape), generator=generator, dtype=torch.float64)
            draw[f"shift_{axis}"] = mean + sigma * common
        if self.random > 0:
            for axis in "yx":
                each = torch.randn(geometry.shape, generator=generator, dtype=torch.float64)
                draw[f"jitter_{axis}"] = self.random * geometry.elements**-0.5 * each
        return draw

    def apply(self, geometry: Geometry, draw: Draw) -> Geometry:
        """Add the displacements to those the geometry has."""
        old = geometry.tensors()
        return geometry.with_tensors(
            {name: old[name] + d.to(old[name]) if name in old else d for name, d in draw.items()}
        )


def displace(transmission: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The transmission with its pattern, and its elements, beside their places.

    Whole samples are moved with nothing (opaque) coming in from outside; the rest, at most half a sample,
    is a phase ramp on the spectrum: power is kept and the spectrum's magnitude is exactly that of the
    unmoved mask. The jitter d_i of element i enters as its contribution t_i exp(-i q d_i) to the spectrum,
    in powers of q d_i up to the second, which is enough below a fifth of a pitch.

    Args:
        transmission: complex [..., L, y, x].
        geometry: with the displacements in m, of the whole [..., 1, 1] and of the elements [..., y, x].

    Returns:
        Complex [..., L, y, x], differentiable in transmission and displacements.
    """
    shifts = (geometry.shift_y, geometry.shift_x)
    jitter_y, jitter_x = geometry.jitter_y, geometry.jitter_x
    if all(d is None for d in (*shifts, jitter_y, jitter_x)):
        return transmission
    qy, qx = (
        2 * math.pi * torch.fft.fftfreq(n, d, dtype=torch.float64, device=transmission.device)
        for n, d in zip(transmission.shape[-2:], geometry.pitch, strict=True)
    )
    q = (qy[:, None], qx[None, :])
    if jitter_y is not None and jitter_x is not None:
        transmission = _jittered(transmission, jitter_y, jitter_x, q)
    phase = torch.zeros((), dtype=torch.float64, device=transmission.device)
    for dim, metres, pitch, q_axis in zip((-2, -1), shifts, geometry.pitch, q, strict=True):
        if metres is None:
            continue
        metres = metres.to(transmission.device, torch.float64)[..., None, :, :]
        whole = torch.round(metres.detach() / pitch)
        transmission = moved(transmission, whole.long(), dim)
        phase = phase - q_axis * (metres - whole * pitch)
    ramp = torch.complex(torch.cos(phase), torch.sin(phase)).to(transmission.dtype)
    return torch.fft.ifft2(torch.fft.fft2(transmission) * ramp)


def moved(values: torch.Tensor, by: torch.Tensor, dim: int) -> torch.Tensor:
    """``values`` moved by whole samples along an axis, zeros coming in.

    Args:
        values: [..., y, x].
        by: how many samples, [..., 1, 1] of whole numbers.
        dim: -2 for y, -1 for x.
    """
    n = values.shape[dim]
    place = torch.arange(n, device=values.device)
    source = (place[:, None] if dim == -2 else place) - by
    inside = (source >= 0) & (source < n)
    shape = torch.broadcast_shapes(values.shape, source.shape)
    source = source.clamp(0, n - 1).expand(shape)
    return torch.gather(values.expand(shape), dim, source) * inside


def _jittered(
    t: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor, q: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    dy, dx = (d.to(t.device, t.real.dtype)[..., None, :, :] for d in (dy, dx))
    qy, qx = (axis.to(t.real.dtype) for axis in q)
    t = t.contiguous()  # torch 2.6 on x86 cannot transform what was expanded
    spectrum = torch.fft.fft2(t)
    spectrum = spectrum - 1j * (qy * torch.fft.fft2(dy * t) + qx * torch.fft.fft2(dx * t))
    spectrum = spectrum - 0.5 * (qy**2 * torch.fft.fft2(dy**2 * t) + qx**2 * torch.fft.fft2(dx**2 * t))
    spectrum = spectrum - qy * qx * torch.fft.fft2(dy * dx * t)
    return torch.fft.ifft2(spectrum)
