"""The four kinds of mask: a phase, a relief, a transmission, a metasurface."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import torch

from .. import checks
from ..arrays import complex_dtype, real_dtype
from ..errors import InvalidArgument
from ..fabrication import Geometry, overlay_cells, quantize, quantize_phase
from ..materials import Material, MetaAtomLibrary, load, load_meta_atoms
from .base import Mask, pattern

__all__ = ["HeightMask", "MetaAtomMask", "PhaseMask", "TransmissionMask"]


def _geometry(shape: torch.Size, pitch: Any, **lengths: Any) -> Geometry:
    dy, dx = (checks.positive("pitch", d, "a positive length in m") for d in checks.pair("pitch", pitch))
    return Geometry(shape=tuple(shape), pitch=(dy, dx), **lengths)


def _phasor(phase: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """exp(i phase) of a float64 phase in the precision of ``like``, wrapped before the cast."""
    wrapped = phase - 2 * math.pi * torch.round(phase.detach() / (2 * math.pi))
    wrapped = wrapped.to(real_dtype(like.dtype))
    return torch.complex(torch.cos(wrapped), torch.sin(wrapped))


def _layer(values: torch.Tensor) -> torch.Tensor:
    """[..., y, x] in float64 with an axis for the wavelength: [..., 1, y, x]."""
    return values.to(torch.float64)[..., None, :, :]


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[L] -> [L, 1, 1] on the device of ``like``."""
    return values.to(like.device)[:, None, None]


@dataclass(frozen=True, eq=False, kw_only=True)
class PhaseMask(Mask):
    """A lossless mask known only by its phase (an idealised relief, or a phase SLM).

    Its relief, in rad, is ``geometry.phase``, above ``base``: 0 where the phase is nowhere negative, else
    the lowest phase of each mask, as a relief cannot lie below its substrate. A relative height error acts
    on that relief, so the same phases lifted by a constant are a deeper etch and suffer more. Nothing is
    wrapped: hand over ``phi % (2 * pi)`` if that is what will be made.

    Attributes:
        base: phase of the substrate in rad, [..., 1, 1].
    """

    base: torch.Tensor

    @classmethod
    def make(cls, phi: Any, pitch: Any, **design: Any) -> Self:
        """See `Mask.from_phase`."""
        tensor = pattern("phi", phi)
        base = tensor.amin((-2, -1), keepdim=True).clamp(max=0)
        return cls(geometry=_geometry(tensor.shape, pitch, phase=tensor - base), base=base, **design)

    @property
    def phase(self) -> torch.Tensor:
        """Phase in rad at the design wavelength, as made, [..., y, x]."""
        return self.base + cast(torch.Tensor, self.geometry.phase)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        phase = _layer(self.phase)
        if self.wavelength is not None:
            phase = phase * _column(self.wavelength / wavelength, phase)
        else:
            phase = phase.expand(*phase.shape[:-3], wavelength.numel(), -1, -1)
        return _phasor(phase, self.phase)

    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """Phases rounded to 2 pi k / levels, in [0, 2 pi). See `photonet.fabrication.quantize_phase`."""
        rounded = quantize_phase(self.phase, levels, straight_through=straight_through)
        geometry = replace(self.geometry, phase=rounded)
        return replace(self, geometry=geometry, base=torch.zeros_like(self.base))

    def to(self, device: torch.device | str) -> Self:
        """The mask on another device."""
        return replace(super().to(device), base=self.base.to(device))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.phase, "phase (rad)", {"cmap": "viridis"}


@dataclass(frozen=True, eq=False, kw_only=True)
class HeightMask(Mask):
    """A relief of one material: t = exp(i 2 pi h (n - n_surround) / wavelength).

    A complex index n + i k absorbs. Assumes a thin element (each ray keeps its place through the relief)
    and neglects what the surfaces reflect, about 4 % on glass and 30 % on silicon. The path is counted
    relative to the surround.

    Attributes:
        material, surround: what the relief and the space beside it are made of.
    """

    material: Material
    surround: Material

    @classmethod
    def make(cls, h: Any, pitch: Any, *, material: Any, surround: Any, **design: Any) -> Self:
        """See `Mask.from_height`."""
        tensor = pattern("h", h)
        lowest = float(tensor.detach().min())
        if lowest < 0:
            raise InvalidArgument(
                "h",
                "heights of at least 0 m above the substrate",
                f"{lowest:g} m",
                "lift the relief by a constant",
            )
        return cls(
            geometry=_geometry(tensor.shape, pitch, height=tensor, index=tensor.new_zeros(1, 1)),
            material=_material("material", material),
            surround=_material("surround", surround),
            **design,
        )

    @property
    def height(self) -> torch.Tensor:
        """Height above the substrate in m, as made, [..., y, x]."""
        return cast(torch.Tensor, self.geometry.height)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        contrast = self.material.index(wavelength) - self.surround.index(wavelength)
        height = _layer(self.height)
        contrast = _column(contrast, height) + _layer(cast(torch.Tensor, self.geometry.index))
        per_metre = 2 * math.pi * contrast / _column(wavelength, height)
        t = torch.zeros((), dtype=complex_dtype(self.height.dtype), device=height.device)
        for area, extra in overlay_cells(self.geometry):
            phase = (height + _layer(extra.to(height.device))) * per_metre
            part = _phasor(phase.real, self.height)
            if phase.is_complex():
                part = part * torch.exp(-phase.imag).to(part.real)
            t = t + _layer(area).to(part.real) * part
        return t

    def quantize(self, levels: int, *, straight_through: bool = False, depth: float | None = None) -> Self:
        """Heights rounded to equal steps from 0 to ``depth``, both included.

        Args:
            levels: how many heights, at least 2.
            straight_through: as in `photonet.fabrication.quantize`.
            depth: the highest level in m; None for the highest point of the relief. N levels that serve
                2 pi of phase need the depth (N - 1) / N of the height that gives 2 pi.
        """
        top = float(self.height.detach().max()) if depth is None else checks.positive("depth", depth)
        if top == 0:
            return self
        rounded = quantize(self.height, levels, low=0.0, high=top, straight_through=straight_through)
        return replace(self, geometry=replace(self.geometry, height=rounded))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.height * 1e6, f"height of {self.material.name} (µm)", {"cmap": "viridis"}


def _material(name: str, value: Any) -> Material:
    if isinstance(value, Material):
        return value
    if not isinstance(value, str):
        raise InvalidArgument(
            name,
            "the name of a material or a Material",
            repr(value)[:60],
            "photonet.materials.constant(n) makes one",
        )
    return load(value)


@dataclass(frozen=True, eq=False, kw_only=True)
class TransmissionMask(Mask):
    """A mask of given complex transmission, the same at every wavelength.

    It has no height and no width, so of the fabrication errors only those of position act on it.

    Attributes:
        values: complex [..., y, x].
    """

    values: torch.Tensor

    @classmethod
    def make(cls, t: Any, pitch: Any, **design: Any) -> Self:
        """See `Mask.from_transmission`."""
        tensor = pattern("t", t, complex_too=True)
        tensor = tensor.to(complex_dtype(tensor.dtype))
        # a magnitude of 1 computed in the tensor's own precision may exceed it by a few roundings
        largest = float(tensor.detach().abs().max())
        if largest > 1 + 16 * torch.finfo(tensor.real.dtype).eps:
            raise InvalidArgument(
                "t",
                "magnitudes of at most 1 (a mask has no gain)",
                largest,
                "divide by the largest magnitude",
            )
        return cls(geometry=_geometry(tensor.shape, pitch), values=tensor, **design)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        layer = self.values[..., None, :, :]
        return layer.expand(*layer.shape[:-3], wavelength.numel(), -1, -1)

    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """Not for this kind: a transmission does not say what is written in levels."""
        raise InvalidArgument(
            "levels",
            "a mask with a phase, a height or a width",
            "a TransmissionMask",
            "quantize the phase with Mask.from_phase(phi, ...).quantize(levels)",
        )

    def to(self, device: torch.device | str) -> Self:
        """The mask on another device."""
        return replace(super().to(device), values=self.values.to(device))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.values.abs(), "|transmission|", {"cmap": "gray", "vmin": 0, "vmax": 1}


# Gauss-Legendre points over the height of a pillar (foot at +1/2) and their weights: for a taper of 80 nm
# within 5e-6 rad of the integral
_SLABS = ((-(0.15**0.5), 5 / 18), (0.0, 8 / 18), (0.15**0.5, 5 / 18))


@dataclass(frozen=True, eq=False, kw_only=True)
class MetaAtomMask(Mask):
    """A metasurface of pillars: the phase of each width is looked up in a library, at its wavelengths.

    Assumes local periodicity (each pillar acts as in an endless array of its like) and, as the library
    does, full transmission. A pillar higher or lower than the library's is taken to give phase in
    proportion, as a short waveguide would.

    Attributes:
        library: where width becomes phase.
    """

    library: MetaAtomLibrary

    @classmethod
    def make(cls, width: Any, pitch: Any, *, library: Any, **design: Any) -> Self:
        """See `Mask.from_meta_atoms`."""
        if not isinstance(library, MetaAtomLibrary):
            library = load_meta_atoms(library)
        tensor = pattern("width", width)
        low, high = library.width
        # design values may be single precision: 237e-9 is then 1.4e-8 larger, relatively
        slack = 4 * torch.finfo(torch.float32).eps
        outside = (tensor != 0) & ((tensor < low * (1 - slack)) | (tensor > high * (1 + slack)))
        if bool(outside.any()):
            worst = float(tensor.detach()[outside][0])
            raise InvalidArgument(
                "width",
                f"0 (no pillar) or {low:g} to {high:g} m, as {library.name} has",
                f"{int(outside.sum())} others, the first {worst:g} m",
            )
        pitch = library.period if pitch is None else pitch
        geometry = _geometry(tensor.shape, pitch)
        elements = 1
        for d in geometry.pitch:
            ratio = d / library.period
            if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6 * ratio:
                raise InvalidArgument(
                    "pitch", f"a whole multiple of the library's period {library.period:g} m", f"{d:g} m"
                )
            elements *= round(ratio)
        height = torch.full_like(tensor, library.height)
        return cls(
            geometry=replace(geometry, width=tensor, height=height, elements=elements),
            library=library,
            **design,
        )

    @property
    def width(self) -> torch.Tensor:
        """Pillar widths in m, as made, [..., y, x]."""
        return cast(torch.Tensor, self.geometry.width)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        geometry = self.geometry
        scale = _layer(cast(torch.Tensor, geometry.height)) / self.library.height
        if geometry.taper is None:
            phase = self.library.phase(self.width, wavelength) * scale
        else:
            phase = torch.zeros((), dtype=torch.float64, device=scale.device)
            for depth, weight in _SLABS:
                slab = (self.width + depth * geometry.taper).clamp(0, self.library.period)
                slab = torch.where(self.width > 0, slab, self.width)
                phase = phase + weight * scale * self.library.phase(slab, wavelength)
        t = _phasor(phase, self.width)
        if geometry.missing is not None:
            # an empty cell is the library's zero of phase: it transmits 1
            t = t + geometry.missing[..., None, :, :].to(t.real) * (1 - t)
        return t

    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """Widths rounded to equal steps over the range of the library; empty cells stay empty."""
        low, high = self.library.width
        rounded = quantize(self.width, levels, low=low, high=high, straight_through=straight_through)
        rounded = torch.where(self.width > 0, rounded, self.width)
        return replace(self, geometry=replace(self.geometry, width=rounded))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.width * 1e9, "pillar width (nm)", {"cmap": "viridis"}
