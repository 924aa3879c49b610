"""`Field`: complex light on a grid, at one or several wavelengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from . import checks
from .arrays import as_tensor, complex_dtype
from .devices import moved
from .errors import GridMismatch, InvalidArgument
from .grid import Grid, check_coordinates
from .optics import beams, sources
from .optics.propagate import propagate
from .optics.scalars import scalar
from .provenance import provenance

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Field"]

IRRADIANCE = "an irradiance of at least 0 W/m^2"


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """Complex amplitude of light in a plane, in sqrt(W)/m: its squared modulus is irradiance.

    Sources (`plane_wave`, `gaussian` and the others) are in double precision, and gradients flow through
    their powers and lengths; ``.to(dtype=torch.complex64)`` makes a field of single precision.

    Args:
        data: complex [..., L, y, x].
        grid: where the samples lie.
        wavelength: vacuum wavelengths in m, [L] (one number is taken as one wavelength).

    Raises:
        InvalidArgument: data that is no complex tensor, or a wavelength outside 1 nm .. 1 mm.
        GridMismatch: the last two axes are not the grid's, or the wavelength axis is not L.

    Example:
        >>> beam = Field.gaussian(shape=256, pitch=10e-6, wavelength=633e-9, waist=200e-6)
        >>> round(float(beam.propagate(0.1).power()), 9)
        1.0
    """

    data: torch.Tensor
    grid: Grid
    wavelength: torch.Tensor

    def __post_init__(self) -> None:
        waves = checks.wavelength(self.wavelength)
        object.__setattr__(self, "wavelength", waves)
        if not isinstance(self.data, torch.Tensor) or not isinstance(self.grid, Grid):
            got = f"{type(self.data).__name__} on {type(self.grid).__name__}"
            raise InvalidArgument("data", "a tensor on a Grid", got, "use Field.from_array")
        object.__setattr__(self, "data", self.data.resolve_conj())
        if not self.data.is_complex():
            raise InvalidArgument("data", "complex amplitudes", f"{self.data.dtype}", "use Field.from_array")
        if self.data.ndim < 3 or tuple(self.data.shape[-2:]) != self.grid.shape:
            raise GridMismatch(
                "data",
                f"[..., wavelength, {self.grid.shape[0]}, {self.grid.shape[1]}]",
                tuple(self.data.shape),
            )
        if self.data.shape[-3] != len(waves):
            raise GridMismatch(
                "wavelength", f"{self.data.shape[-3]} wavelengths, as the data has", len(waves)
            )

    def __repr__(self) -> str:
        batch = " x ".join(map(str, self.data.shape[:-3]))
        waves = ", ".join(f"{1e9 * w:g}" for w in self.wavelength.detach().tolist())
        return f"<Field {batch + ' of ' if batch else ''}{self.grid}, {waves} nm>"

    # -- sources: in double precision, see `to` -----------------------------------------------------

    @classmethod
    def plane_wave(
        cls, *, shape: Any, pitch: Any, wavelength: Any, irradiance: Any = 1.0, angle: Any = (0.0, 0.0)
    ) -> Field:
        """A plane wave that fills the window, in double precision as all sources are.

        Args:
            shape, pitch: of the grid (samples, m).
            wavelength: in m, one or several.
            irradiance: in W/m^2, per wavelength.
            angle: tilt (y, x) in rad.

        Example:
            >>> Field.plane_wave(shape=(4, 6), pitch=1e-6, wavelength=525e-9).data.shape
            torch.Size([1, 4, 6])
        """
        grid, waves = Grid(shape, pitch), checks.wavelength(wavelength)
        amplitude = _light("irradiance", irradiance, IRRADIANCE, waves).sqrt()
        return cls(amplitude * sources.plane_wave(grid, waves, angle=angle), grid, waves)

    @classmethod
    def gaussian(
        cls,
        *,
        shape: Any,
        pitch: Any,
        wavelength: Any,
        waist: float,
        distance: float = 0.0,
        power: Any = 1.0,
    ) -> Field:
        """A Gaussian beam of given power, in double precision.

        Args:
            shape, pitch: of the grid (samples, m).
            wavelength: in m, one or several.
            waist: 1/e^2 radius of the irradiance at the waist, in m.
            distance: from the waist in m.
            power: of the whole beam in W, per wavelength.
        """
        grid, waves = Grid(shape, pitch), checks.wavelength(wavelength)
        amplitude = _light("power", power, "a power of at least 0 W", waves).sqrt()
        return cls(
            amplitude * sources.gaussian_beam(grid, waves, waist=waist, distance=distance), grid, waves
        )

    @classmethod
    def hermite(
        cls,
        *,
        shape: Any,
        pitch: Any,
        wavelength: Any,
        waist: float,
        order: tuple[int, int] = (0, 0),
        distance: float = 0.0,
        power: Any = 1.0,
    ) -> Field:
        """A Hermite-Gaussian beam of ``order`` (n_y, n_x); the rest as in `gaussian`.

        Example:
            >>> beam = Field.hermite(shape=64, pitch=1e-6, wavelength=633e-9, waist=8e-6, order=(0, 1))
            >>> round(float(beam.power()), 6), float(beam.intensity()[0, 32, 32])
            (1.0, 0.0)
        """
        grid, waves = Grid(shape, pitch), checks.wavelength(wavelength)
        amplitude = _light("power", power, "a power of at least 0 W", waves).sqrt()
        mode = beams.hermite_beam(grid, waves, waist=waist, order=order, distance=distance)
        return cls(amplitude * mode, grid, waves)

    @classmethod
    def laguerre(
        cls,
        *,
        shape: Any,
        pitch: Any,
        wavelength: Any,
        waist: float,
        radial: int = 0,
        azimuthal: int = 0,
        distance: float = 0.0,
        power: Any = 1.0,
    ) -> Field:
        """A Laguerre-Gaussian beam with phase exp(i azimuthal phi); the rest as in `gaussian`.

        Example:
            >>> beam = Field.laguerre(shape=64, pitch=1e-6, wavelength=633e-9, waist=8e-6, azimuthal=1)
            >>> round(float(beam.power()), 6), float(beam.intensity()[0, 32, 32])
            (1.0, 0.0)
        """
        grid, waves = Grid(shape, pitch), checks.wavelength(wavelength)
        amplitude = _light("power", power, "a power of at least 0 W", waves).sqrt()
        mode = beams.laguerre_beam(
            grid, waves, waist=waist, radial=radial, azimuthal=azimuthal, distance=distance
        )
        return cls(amplitude * mode, grid, waves)

    @classmethod
    def gaussian_schell(
        cls,
        *,
        shape: Any,
        pitch: Any,
        wavelength: Any,
        waist: float,
        coherence: float,
        modes: int | None = None,
        power: Any = 1.0,
    ) -> Field:
        """Partially coherent light: the modes of a Gaussian-Schell source at its waist.

        The modes stand in the axis before the wavelength, brightest first, each with its share of the power.
        They do not interfere: irradiances add over that axis, as ``simulate(..., coherence="partial")`` does.

        Args:
            shape, pitch: of the grid (samples, m).
            wavelength: in m, one or several.
            waist: 1/e^2 radius of the irradiance in m.
            coherence: width of the degree of coherence ``exp(-d^2 / (2 coherence^2))`` in m.
            modes: kept per axis; by default as many as hold 99.9 % of the power.
            power: of the whole beam in W, per wavelength.

        Example:
            >>> lamp = Field.gaussian_schell(
            ...     shape=64, pitch=2e-6, wavelength=525e-9, waist=20e-6, coherence=20e-6
            ... )
            >>> lamp.data.shape, f"{lamp.power().sum():.3f} W"
            (torch.Size([25, 1, 64, 64]), '1.000 W')
        """
        grid, waves = Grid(shape, pitch), checks.wavelength(wavelength)
        total = _light("power", power, "a power of at least 0 W", waves)
        u, weights = beams.gaussian_schell(grid, waves, waist=waist, coherence=coherence, modes=modes)
        order = weights.detach().argsort(descending=True, stable=True)
        amplitudes = (total * weights[order]).sqrt()
        return cls(amplitudes[:, None, None, None] * u[order], grid, waves)

    @classmethod
    def point_source(
        cls, *, shape: Any, pitch: Any, wavelength: Any, distance: float, position: Any = (0.0, 0.0)
    ) -> Field:
        """A spherical wave from a point ``distance`` (m) before the plane, at ``position`` (y, x) in m."""
        grid, waves = Grid(shape, pitch), checks.wavelength(wavelength)
        return cls(sources.point_source(grid, waves, distance=distance, position=position), grid, waves)

    @classmethod
    def from_array(cls, u: Any, *, pitch: Any, wavelength: Any, centre: Any = (0.0, 0.0)) -> Field:
        """A field from complex (or real) amplitudes in sqrt(W)/m.

        Args:
            u: [y, x], or [..., L, y, x] with several wavelengths; NumPy, xarray or torch.
            pitch: of the samples (dy, dx) in m.
            wavelength: in m.
            centre: position (y, x) of the middle sample in m.

        Raises:
            InvalidArgument: not numbers, or not finite.
            GridMismatch: another number of wavelengths, or coordinates (of an xarray object) whose steps
                contradict the pitch, or the wavelengths.

        Example:
            >>> import numpy as np
            >>> Field.from_array(np.ones((8, 8)), pitch=1e-6, wavelength=525e-9).data.dtype
            torch.complex128
        """
        data = as_tensor("u", u, least_dims=2)
        if data.ndim == 2:
            data = data[None]
        grid, waves = Grid(tuple(data.shape[-2:]), pitch, centre), checks.wavelength(wavelength)
        check_coordinates("u", u, grid, waves)
        return cls(data.to(complex_dtype(data.dtype)), grid, waves.to(data.device))

    @classmethod
    def from_image(cls, image: Any, *, pitch: Any, wavelength: Any, irradiance: Any = 1.0) -> Field:
        """A display or an SLM that shows an image: irradiance proportional to the pixel values.

        Args:
            image: [y, x] or [..., L, y, x], values of at least 0 (NumPy, xarray or torch).
            pitch: of the pixels in m.
            wavelength: in m.
            irradiance: of a pixel of value 1, in W/m^2.

        The amplitude is the root of the image, without a slope in the dark: gradients of dark pixels are 0.

        Raises:
            InvalidArgument: negative values: light cannot be negative.
            GridMismatch: as `from_array`.

        Example:
            >>> scene = Field.from_image([[0, 1], [4, 9]], pitch=10e-6, wavelength=525e-9)
            >>> scene.intensity()[0].tolist()
            [[0.0, 1.0], [4.0, 9.0]]
        """
        values = as_tensor("image", image, least_dims=2)
        if values.is_complex() or bool((values < 0).any()):
            raise InvalidArgument("image", "real pixel values of at least 0", "negative or complex values")
        scale = _light("irradiance", irradiance, IRRADIANCE, values)
        power = scale * values
        lit = power > 0
        amplitude = torch.where(lit, torch.where(lit, power, torch.ones_like(power)).sqrt(), 0.0)
        field = cls.from_array(amplitude, pitch=pitch, wavelength=wavelength)
        check_coordinates("image", image, field.grid, field.wavelength)
        return field

    # -- what can be asked -------------------------------------------------------------------------

    def intensity(self) -> torch.Tensor:
        """Irradiance in W/m^2, [..., L, y, x]."""
        return self.data.real.square() + self.data.imag.square()

    def power(self) -> torch.Tensor:
        """Power through the window in W, [..., L]."""
        return self.intensity().sum(dim=(-2, -1)) * self.grid.cell

    def propagate(
        self, distance: Any, *, output: Grid | None = None, method: str = "auto", strict: bool = False
    ) -> Field:
        """The field after ``distance`` metres of free space; see `photonet.optics.propagate`.

        Args:
            distance: in m; negative goes back, zero is the identity.
            output: the grid of the result; by default the same window.
            method: propagation method, by default chosen from the sampling (see `photonet.plan`).
            strict: raise `SamplingError` where a `SamplingWarning` would be given.
        """
        data = propagate(
            self.data, self.grid, self.wavelength, distance, output=output, method=method, strict=strict
        )
        return Field(data, output or self.grid, self.wavelength)

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Field:
        """The field on another device, or in another precision; wavelengths stay in double precision.

        Args:
            device: None for the one it is on.
            dtype: complex64 or complex128 (or float32 or float64, for the same precision); None for its own.

        Raises:
            InvalidArgument: no device, or a dtype of another precision.

        Example:
            >>> Field.plane_wave(shape=4, pitch=1e-6, wavelength=525e-9).to(dtype=torch.complex64).data.dtype
            torch.complex64
        """
        data = moved(self.data, device, dtype)
        return Field(data, self.grid, self.wavelength.to(data.device))

    def to_xarray(self) -> xr.DataArray:
        """Amplitudes with labelled axes (wavelength, y, x in m), with units and provenance as attributes."""
        import xarray as xr

        lead = [f"batch_{i}" for i in range(self.data.ndim - 3)]
        return xr.DataArray(
            self.data.detach().cpu().numpy(),
            dims=[*lead, "wavelength", "y", "x"],
            coords={
                "wavelength": ("wavelength", self.wavelength.detach().cpu().numpy(), {"units": "m"}),
                "y": ("y", self.grid.y.numpy(), {"units": "m"}),
                "x": ("x", self.grid.x.numpy(), {"units": "m"}),
            },
            attrs={"long_name": "complex amplitude", "units": "sqrt(W)/m", **provenance()},
        )

    def plot(self, axes: Axes | None = None) -> Axes:
        """Irradiance of the first wavelength (and batch entry); returns the matplotlib axes."""
        from .figures import show_plane

        plane = self.intensity().reshape(-1, *self.grid.shape)[0]
        return show_plane(plane, self.grid, axes, label="irradiance (W/m²)")


def _light(name: str, value: Any, what: str, like: torch.Tensor) -> torch.Tensor:
    """Power or irradiance as a float64 scalar with its graph."""
    return scalar(name, value, what, check=checks.non_negative, device=like.device)
