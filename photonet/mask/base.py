"""`Mask`: one plane of complex transmission, known by its geometry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from .. import checks, fabrication
from ..arrays import as_tensor
from ..errors import InvalidArgument
from ..fabrication import Geometry
from ..grid import Grid
from ..materials import Material, MetaAtomLibrary

if TYPE_CHECKING:
    from .kinds import HeightMask, MetaAtomMask, PhaseMask, TransmissionMask

__all__ = ["Mask", "pattern"]


def pattern(name: str, value: Any, *, complex_too: bool = False) -> torch.Tensor:
    """The user's array as a tensor [..., y, x], checked."""
    tensor = as_tensor(name, value, least_dims=2)
    if tensor.is_complex() and not complex_too:
        raise InvalidArgument(name, "real values", "complex values", "see Mask.from_transmission")
    if tensor.numel() == 0:
        raise InvalidArgument(name, "at least one sample", f"shape {tuple(tensor.shape)}")
    return tensor


@dataclass(frozen=True, eq=False, kw_only=True)
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
        from .kinds import PhaseMask

        return PhaseMask.make(phi, pitch, wavelength=wavelength, distance=distance)

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
            surround: the medium beside the relief, likewise.
            wavelength, distance: design values in m, if there are any.

        Raises:
            InvalidArgument: h is negative, complex or has NaN; a pitch that is not positive.
            UnknownName: no material of that name.

        Example:
            >>> mask = Mask.from_height([[0.0, 1e-6]], pitch=5e-6, material="SiO2")
            >>> f"{mask.transmission(633e-9).angle()[0, 0, 1].item():.2f} rad"
            '-1.75 rad'
        """
        from .kinds import HeightMask

        return HeightMask.make(
            h, pitch, material=material, surround=surround, wavelength=wavelength, distance=distance
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
        from .kinds import TransmissionMask

        return TransmissionMask.make(t, pitch, wavelength=wavelength, distance=distance)

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
        from .kinds import MetaAtomMask

        return MetaAtomMask.make(width, pitch, library=library, wavelength=wavelength, distance=distance)

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
        return fabrication.displace(self._local(checks.wavelength(wavelength)), self.geometry)

    @abstractmethod
    def _local(self, wavelength: torch.Tensor) -> torch.Tensor:
        """Transmission of each sample by itself, before any displacement."""

    @abstractmethod
    def quantize(self, levels: int, *, straight_through: bool = False) -> Self:
        """The mask with its phase, height or width rounded to a few levels."""

    @abstractmethod
    def _picture(self) -> tuple[torch.Tensor, str, dict[str, Any]]:
        """What `plot` shows: values, label, arguments of imshow."""

    def perturb(
        self, errors: Any, *, seed: int | torch.Generator, devices: int | Iterable[int] | None = None
    ) -> Self:
        """The mask as a fab would deliver it.

        Args:
            errors: one fabrication error or a sequence of them, applied in that order.
            seed: whole number of at least 0: the same seed gives the same device.
            devices: None for one device; N for devices 0 to N-1, or the numbers of the devices wanted, in
                a new leading axis. Device 0 is the one that None gives.

        Raises:
            InvalidArgument: an error this kind of mask cannot have (a width on a relief, for example).

        Example:
            >>> from photonet.fabrication import HeightError
            >>> mask = Mask.from_height([[0.0, 1e-6]], pitch=5e-6, material="SiO2")
            >>> mask.perturb(HeightError(systematic=0.02), seed=3, devices=8).transmission(633e-9).shape
            torch.Size([8, 1, 1, 2])
        """
        return replace(
            self, geometry=fabrication.fabricate(self.geometry, errors, seed=seed, devices=devices)
        )

    def to(self, device: torch.device | str) -> Self:
        """The mask on another device."""
        return replace(self, geometry=self.geometry.to(device))

    def save(self, path: str | Path) -> None:
        """Write the mask (with its material or library, and its errors) to an HDF5 file, atomically.

        Example:
            >>> import tempfile
            >>> file = Path(tempfile.mkdtemp()) / "mask.h5"
            >>> Mask.from_phase([[0.0, 1.0]], pitch=1e-6).save(file)
            >>> type(Mask.load(file)).__name__
            'PhaseMask'
        """
        from .store import save

        save(self, path)

    @staticmethod
    def load(path: str | Path) -> Mask:
        """Read a mask written by `save`.

        Raises:
            DataMissing: there is no such file.
            DataError: the file is truncated, is no mask, or of a newer version.
        """
        from .store import load

        return load(path)

    def plot(self, ax: Any = None) -> Any:
        """Draw the pattern (the first, if there are several) and return the matplotlib axes."""
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.figure(layout="constrained").add_subplot()
        values, label, style = self._picture()
        half = [n * d * 5e5 for n, d in zip(self.geometry.shape[-2:], self.geometry.pitch, strict=True)]
        first = values.detach().reshape(-1, *values.shape[-2:])[0].cpu().numpy()
        image = ax.imshow(first, origin="lower", extent=(-half[1], half[1], -half[0], half[0]), **style)
        ax.figure.colorbar(image, ax=ax, label=label)
        ax.set(xlabel="x (µm)", ylabel="y (µm)")
        return ax
