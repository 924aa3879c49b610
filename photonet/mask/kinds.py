"""`Mask` and its four kinds: a phase, a relief, a transmission, a metasurface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from .. import checks, fabrication
from ..devices import moved
from ..errors import DataError, InvalidArgument
from ..fabrication import Geometry, quantize, quantize_phase
from ..figures import show_plane
from ..grid import Grid
from ..materials import Material, MetaAtomLibrary, load_meta_atoms
from . import store
from .inputs import heights, lattice, material_of, pattern, periods, transmissions, widths
from .response import phase_response, pillar_response, relief_response

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HeightMask", "Mask", "MetaAtomMask", "PhaseMask", "TransmissionMask"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Mask(ABC):
    """A thin mask: the field behind it is the field before it times `transmission`.

    Make one with `from_phase`, `from_height`, `from_transmission` or `from_meta_atoms`. A mask is never
    changed: `perturb`, `quantize` and `to` return new ones, and gradients flow through them to the array
    the mask was made from. Leading axes are masks (of one wafer) or, after ``perturb(devices=)``, devices.

    Attributes:
        geometry: the lengths, as designed or as made.
        wavelength: design wavelength in m, if there is one.
        distance: design distance to the plane of interest behind the mask in m, if there is one.
    """

    geometry: Geometry
    wavelength: float | None = None
    distance: float | None = None

    def __post_init__(self) -> None:
        if self.wavelength is not None:
            value = checks.wavelength(self.wavelength)
            if value.numel() != 1:
                raise InvalidArgument("wavelength", "one design wavelength in m", f"{value.numel()} of them")
            object.__setattr__(self, "wavelength", float(value))
        if self.distance is not None:
            object.__setattr__(self, "distance", checks.real("distance", self.distance, "a length in m"))

    @staticmethod
    def from_phase(phi: Any, *, pitch: Any, wavelength: Any = None, distance: Any = None) -> PhaseMask:
        """A lossless mask of the given phase. See `PhaseMask`.

        Args:
            phi: phase in rad, real [..., y, x].
            pitch: distance of the samples in m, one number or (dy, dx).
            wavelength: design wavelength in m. With it, the phase is that of a relief without dispersion
                and scales as design wavelength / wavelength; without it the phase is the same for all.
            distance: design distance behind the mask in m.

        Raises:
            InvalidArgument: phi is complex, has NaN or fewer than two axes; a pitch that is not positive.

        Example:
            >>> mask = Mask.from_phase([[0.0, 3.14159265]], pitch=1e-6)
            >>> [round(t, 4) for t in mask.transmission(633e-9).real.flatten().tolist()]
            [1.0, -1.0]
        """
        tensor = pattern("phi", phi)
        base = tensor.amin((-2, -1), keepdim=True).clamp(max=0)
        return PhaseMask(
            geometry=lattice(tensor.shape, pitch, phase=tensor - base),
            base=base,
            wavelength=wavelength,
            distance=distance,
        )

    @staticmethod
    def from_height(
        h: Any,
        *,
        pitch: Any,
        material: str | Material,
        surround: str | Material = "air",
        wavelength: Any = None,
        distance: Any = None,
    ) -> HeightMask:
        """A relief of the given height. See `HeightMask`.

        Args:
            h: height above the substrate in m, at least 0, real [..., y, x].
            pitch: distance of the samples in m, one number or (dy, dx).
            material: name of a material (`photonet.materials.names("dispersion")`), or a `Material`.
            surround: the medium beside the relief, likewise. The phase knows of it, but free space behind the
                mask is vacuum, so `photonet.simulate` refuses a distance behind a relief in water.
            wavelength, distance: design values in m, if there are any.

        Raises:
            InvalidArgument: h is negative, complex, above 1 cm (nearly always numbers in um or nm) or has
                NaN; a pitch that is not positive.
            UnknownName: no material of that name.

        Example:
            >>> mask = Mask.from_height([[0.0, 1e-6]], pitch=5e-6, material="SiO2")
            >>> f"{mask.transmission(633e-9).angle()[0, 0, 1].item():.2f} rad"
            '-1.75 rad'
        """
        tensor = heights(h)
        return HeightMask(
            geometry=lattice(tensor.shape, pitch, height=tensor, index=tensor.new_zeros(1, 1)),
            material=material_of("material", material),
            surround=material_of("surround", surround),
            wavelength=wavelength,
            distance=distance,
        )

    @staticmethod
    def from_transmission(
        t: Any, *, pitch: Any, wavelength: Any = None, distance: Any = None
    ) -> TransmissionMask:
        """A mask of the given complex transmission, the same at every wavelength.

        Args:
            t: real or complex [..., y, x], of magnitude at most 1.
            pitch: distance of the samples in m, one number or (dy, dx).
            wavelength, distance: design values in m, if there are any.

        Raises:
            InvalidArgument: a magnitude above 1 (a mask has no gain), NaN, a pitch that is not positive.

        Example:
            >>> Mask.from_transmission([[0.0, 1.0]], pitch=1e-6).transmission(633e-9).shape
            torch.Size([1, 1, 2])
        """
        tensor = transmissions(t)
        return TransmissionMask(
            geometry=lattice(tensor.shape, pitch), values=tensor, wavelength=wavelength, distance=distance
        )

    @staticmethod
    def from_meta_atoms(
        width: Any,
        *,
        library: str | MetaAtomLibrary,
        pitch: Any = None,
        wavelength: Any = None,
        distance: Any = None,
    ) -> MetaAtomMask:
        """A metasurface of pillars of the given widths. See `MetaAtomMask`.

        Args:
            width: pillar widths in m [..., y, x]: 0 (no pillar), or in the range of the library.
            library: name of a library (`photonet.materials.names("meta_atoms")`), or a `MetaAtomLibrary`.
            pitch: distance of the samples in m: None for one pillar per sample, else a whole multiple of
                the library's period; a sample then stands for several equal pillars.
            wavelength, distance: design values in m, if there are any.

        Raises:
            InvalidArgument: widths the library does not have, a pitch that does not fit its lattice, NaN.
            UnknownName: no library of that name.

        Example:
            >>> mask = Mask.from_meta_atoms([[0.0, 150e-9]], library="sin-pillars-293nm")
            >>> mask.transmission([635e-9, 532e-9, 450e-9]).shape
            torch.Size([3, 1, 2])
        """
        if not isinstance(library, MetaAtomLibrary):
            library = load_meta_atoms(library, "library")
        tensor = widths(width, library)
        geometry = lattice(tensor.shape, library.period if pitch is None else pitch)
        elements = periods(geometry.pitch, library)
        height = torch.full_like(tensor, library.height)
        return MetaAtomMask(
            geometry=replace(geometry, width=tensor, height=height, elements=elements),
            library=library,
            wavelength=wavelength,
            distance=distance,
        )

    @property
    def grid(self) -> Grid:
        """The samples of the mask."""
        return Grid(self.geometry.shape[-2:], self.geometry.pitch)

    def transmission(self, wavelength: Any) -> torch.Tensor:
        """Complex transmission [..., L, y, x] at one or more vacuum wavelengths in m.

        Phases are computed and wrapped in float64 and then cast to the precision of the mask.

        Raises:
            InvalidArgument: a wavelength that the mask's material or library does not cover.
        """
        if wavelength is None:
            hint = "a mask keeps its design wavelength in mask.wavelength"
            raise InvalidArgument("wavelength", "one wavelength or a list of them, in m", None, hint)
        return fabrication.displace(self._local(checks.wavelength(wavelength)), self.geometry)

    @abstractmethod
    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        """Transmission of each sample by itself, before any displacement."""

    @abstractmethod
    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """The mask with its phase, height or width rounded to a few levels."""

    @abstractmethod
    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        """What `plot` shows: values, label, how to colour them."""

    def perturb(
        self, errors: Any, *, seed: int | torch.Generator, devices: int | Iterable[int] | None = None
    ) -> Self:
        """The mask as a fab would deliver it.

        Args:
            errors: one fabrication error or a sequence of them, applied in that order.
            seed: whole number of at least 0: the same seed gives the same device.
            devices: None for one device; N for devices 0 to N-1, or the numbers of the devices wanted, in
                a new leading axis. Device 0 is the one that None gives. Of a mask that is several devices
                already, each gets errors of its own: None stands for all of them.

        Raises:
            InvalidArgument: an error this kind of mask cannot have (a width on a relief, for example), or
                another number of devices than the mask already is.

        Example:
            >>> from photonet.fabrication import HeightError
            >>> mask = Mask.from_height([[0.0, 1e-6]], pitch=5e-6, material="SiO2")
            >>> mask.perturb(HeightError(systematic=0.02), seed=3, devices=8).transmission(633e-9).shape
            torch.Size([8, 1, 1, 2])
        """
        return replace(
            self, geometry=fabrication.fabricate(self.geometry, errors, seed=seed, devices=devices)
        )

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """The mask on another device, or in another precision.

        Args:
            device: None for the one it is on.
            dtype: float32 or float64, None for the one it has.

        Raises:
            InvalidArgument: no device, or a dtype that is not of single or double precision.

        Example:
            >>> Mask.from_phase([[0.0, 1.0]], pitch=1e-6).to(dtype=torch.float64).phase.dtype
            torch.float64
        """
        return replace(self, geometry=self.geometry.to(device, dtype))

    def save(self, path: str | Path) -> None:
        """Write the mask (with its material or library, and its errors) to an HDF5 file, atomically.

        Example:
            >>> import tempfile
            >>> file = Path(tempfile.mkdtemp()) / "mask.h5"
            >>> Mask.from_phase([[0.0, 1.0]], pitch=1e-6).save(file)
            >>> type(Mask.load(file)).__name__
            'PhaseMask'
        """
        store.write(path, type(self).__name__, {f.name: getattr(self, f.name) for f in fields(self)})

    @staticmethod
    def load(path: str | Path) -> Mask:
        """Read a mask written by `save`.

        Raises:
            DataMissing: there is no such file.
            DataError: the file is truncated, is no mask, or of a newer version.
        """
        kind, members = store.read(path)
        kinds = {k.__name__: k for k in (PhaseMask, HeightMask, TransmissionMask, MetaAtomMask)}
        try:
            return kinds[kind](**members)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: a damaged mask: {error!r}") from None

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the pattern (the first, if there are several) and return the matplotlib axes."""
        values, label, style = self._picture()
        return show_plane(values.reshape(-1, *self.grid.shape)[0], self.grid, axes, label=label, **style)

    def __repr__(self) -> str:
        made = self.geometry.devices
        devices = f"{made} devices of " if made is not None else ""
        parts = [f"{devices}{self.geometry.describe()}"]
        if self.wavelength is not None:
            parts.append(f"for {1e9 * self.wavelength:g} nm")
        if self.distance is not None:
            parts.append(f"at {1e3 * self.distance:g} mm")
        return f"<{type(self).__name__} {' '.join(parts)}>"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PhaseMask(Mask):
    """A lossless mask known only by its phase (an idealised relief, or a phase SLM).

    It is what is made, perturbed and simulated; `photonet.nn.PhaseMask` is a layer whose phase is trained.

    Its relief, in rad, is ``geometry.phase``, above ``base``: 0 where the phase is nowhere negative, else
    the lowest phase of each mask, as a relief cannot lie below its substrate. A relative height error acts
    on that relief, so the same phases lifted by a constant are a deeper etch and suffer more. Nothing is
    wrapped: hand over ``phi % (2 * pi)`` if that is what will be made.

    Attributes:
        base: phase of the substrate in rad, [..., 1, 1].
    """

    base: torch.Tensor

    @property
    def phase(self) -> torch.Tensor:
        """Phase in rad at the design wavelength, as made, [..., y, x]."""
        return self.base + cast(torch.Tensor, self.geometry.phase)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        return phase_response(self.geometry, self.base, wavelength, self.wavelength)

    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """Phases rounded to 2 pi k / levels, in [0, 2 pi). See `photonet.fabrication.quantize_phase`."""
        rounded = quantize_phase(self.phase, levels, straight_through=straight_through)
        geometry = replace(self.geometry, phase=rounded)
        return replace(self, geometry=geometry, base=torch.zeros_like(self.base))

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """See `Mask.to`."""
        return replace(super().to(device, dtype), base=moved(self.base, device, dtype))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.phase, "phase (rad)", {}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
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

    @property
    def height(self) -> torch.Tensor:
        """Height above the substrate in m, as made, [..., y, x]."""
        return cast(torch.Tensor, self.geometry.height)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        return relief_response(self.geometry, wavelength, self.material, self.surround)

    def quantize(self, levels: int, *, straight_through: bool = False, depth: float | None = None) -> Self:
        """Heights rounded to equal steps from 0 to ``depth``, both included.

        Args:
            levels: how many heights, at least 2.
            straight_through: as in `photonet.fabrication.quantize`.
            depth: the highest level in m; None for the highest point of the relief. N levels that serve
                2 pi of phase need the depth (N - 1) / N of the height that gives 2 pi: points above the
                highest level, by one step at most, become that level.

        Raises:
            InvalidArgument: fewer than two levels, a depth that is not positive or that would cut more than
                one step off the relief, a relief that has its levels from `MaskOverlay`.
        """
        if self.geometry.levels is not None:
            raise InvalidArgument(
                "levels", "a relief without MaskOverlay, which knows its levels already", "one with it",
                "quantize first",
            )  # fmt: skip
        highest = float(self.height.detach().max())
        top = highest if depth is None else checks.positive("depth", depth, "a positive length in m")
        if top == 0:
            return self
        steps = checks.count("levels", levels, least=2) - 1
        if highest > top * (1 + 1 / steps) * (1 + 1e-6):
            raise InvalidArgument(
                "depth", f"at most one step below the highest point, {highest:g} m", f"{top:g} m"
            )
        rounded = quantize(self.height, levels, low=0.0, high=top, straight_through=straight_through)
        return replace(self, geometry=replace(self.geometry, height=rounded))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.height * 1e6, f"height of {self.material.name} (µm)", {}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TransmissionMask(Mask):
    """A mask of given complex transmission, the same at every wavelength.

    It has no height and no width, so of the fabrication errors only those of position act on it.

    Attributes:
        values: complex [..., y, x].
    """

    values: torch.Tensor

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        layer = self.values[..., None, :, :]
        return layer.expand(*layer.shape[:-3], wavelength.numel(), -1, -1)

    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """Not for this kind: a transmission does not say what is written in levels.

        Raises:
            InvalidArgument: always.
        """
        raise InvalidArgument(
            "levels",
            "a mask with a phase, a height or a width",
            "a TransmissionMask",
            "quantize the phase with Mask.from_phase(phi, ...).quantize(levels)",
        )

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """See `Mask.to`."""
        return replace(super().to(device, dtype), values=moved(self.values, device, dtype))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.values.abs(), "|transmission|", {"cmap": "gray", "limits": (0, 1)}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MetaAtomMask(Mask):
    """A metasurface of pillars: the phase of each width is looked up in a library, at its wavelengths.

    Assumes local periodicity (each pillar acts as in an endless array of its like) and, as the library
    does, full transmission. A pillar higher or lower than the library's is taken to give phase in
    proportion, as a short waveguide would.

    Attributes:
        library: where width becomes phase.
    """

    library: MetaAtomLibrary

    @property
    def width(self) -> torch.Tensor:
        """Pillar widths in m, as made, [..., y, x]."""
        return cast(torch.Tensor, self.geometry.width)

    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        return pillar_response(self.geometry, wavelength, self.library)

    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """Widths rounded to equal steps over the range of the library; empty cells stay empty."""
        low, high = self.library.width
        rounded = quantize(self.width, levels, low=low, high=high, straight_through=straight_through)
        rounded = torch.where(self.width > 0, rounded, self.width)
        return replace(self, geometry=replace(self.geometry, width=rounded))

    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        return self.width * 1e9, "pillar width (nm)", {}
