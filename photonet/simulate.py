"""`simulate`: what was made and what light arrives, to what the camera records."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import checks
from .detector import Detector
from .errors import InvalidArgument
from .field import Field
from .files import atomic_path
from .grid import Grid, check_same_grid
from .mask import Mask
from .optics.plan import Plan
from .optics.plan import plan as plan_propagation
from .optics.psf import convolve, psf
from .provenance import provenance

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Simulation", "plan", "simulate"]


@dataclass(frozen=True)
class Simulation:
    """What `simulate` returns.

    Args:
        field: complex field in the output plane; for incoherent light, which has none, the field right
            behind the mask.
        irradiance: [..., L, y, x] in W/m^2 on ``grid``.
        grid: of the irradiance.
        image: what the camera recorded, in DN, with axes (y, x); None without a detector.
        plan: how the light was propagated; None where it was not.
        attrs: provenance.
    """

    field: Field
    irradiance: torch.Tensor
    grid: Grid
    image: xr.DataArray | None = None
    plan: Plan | None = None
    attrs: dict[str, Any] = dataclass_field(default_factory=dict)

    def to_xarray(self) -> xr.Dataset:
        """Irradiance (and image) with labelled axes, units and provenance."""
        import xarray as xr

        lead = [f"batch_{i}" for i in range(self.irradiance.ndim - 3)]
        data = xr.Dataset(
            {
                "irradiance": (
                    [*lead, "wavelength", "y", "x"],
                    self.irradiance.detach().cpu().numpy(),
                    {"units": "W/m^2"},
                )
            },
            coords={
                "wavelength": ("wavelength", self.field.wavelength.detach().cpu().numpy(), {"units": "m"}),
                "y": ("y", self.grid.y.numpy(), {"units": "m"}),
                "x": ("x", self.grid.x.numpy(), {"units": "m"}),
            },
            attrs=self.attrs,
        )
        if self.image is not None:
            data["image"] = self.image.rename({"y": "row", "x": "column"})
        return data

    def save(self, path: str | Path) -> Path:
        """Write irradiance, image and provenance as netCDF4; the file is whole or not there."""
        path = Path(path)
        with atomic_path(path) as temporary:
            self.to_xarray().to_netcdf(temporary, engine="h5netcdf")
        return path

    def plot(self, axes: Axes | None = None) -> Axes:
        """Irradiance of the first wavelength; returns the matplotlib axes."""
        from .figures import show_plane

        return show_plane(
            self.irradiance.reshape(-1, *self.grid.shape)[0], self.grid, axes, label="irradiance (W/m²)"
        )


def simulate(
    mask: Mask,
    field: Field,
    *,
    distance: float | None = None,
    detector: Detector | None = None,
    fabrication: Any = None,
    coherence: str = "coherent",
    output: Grid | None = None,
    method: str = "auto",
    seed: int | None = None,
) -> Simulation:
    """Send light through a mask and record it.

    With just the two it goes to the mask's own design distance, or stops right behind the mask when the
    mask knows none. Coherent: the field times the mask's transmission, propagated. Incoherent: the field's
    irradiance is the geometric image of a scene in the output plane, convolved with the mask's point
    spread function (normalised to the light that the mask receives); Goodman, Introduction to Fourier
    Optics, sections 6.3 and 7.1.

    Args:
        mask: on the field's grid when coherent; sets the pitch of the scene when incoherent.
        field: what arrives, or the scene.
        distance: from mask to sensor in m.
        detector: a camera; its pixels cover the output window around the axis.
        fabrication: errors (see `photonet.fabrication`) for one device, drawn from ``seed``.
        coherence: ``coherent`` or ``incoherent``.
        output: the grid of the result; by default the mask's.
        method: of propagation; see `photonet.plan`.
        seed: whole number; draws the device and the exposure, from separate streams.

    Returns:
        `Simulation` with ``.field``, ``.irradiance``, ``.image`` (DN), ``.plan``.

    Raises:
        GridMismatch: mask and field are sampled differently.
        InvalidArgument: incoherent light without a distance, random errors or a camera without a seed.
        UnknownName: an unknown ``coherence`` or ``method``.

    Example:
        >>> mask = Mask.from_phase(torch.zeros(64, 64), pitch=1e-6)
        >>> light = Field.plane_wave(shape=64, pitch=1e-6, wavelength=525e-9)
        >>> out = simulate(mask, light, distance=100e-6, detector=Detector(pitch=4e-6), seed=1)
        >>> out.image.shape, out.image.attrs["units"]
        ((16, 16), 'DN')
    """
    checks.choice("coherence", coherence, ("coherent", "incoherent"))
    if seed is None and (detector is not None or fabrication is not None):
        raise InvalidArgument("seed", "a whole number, to draw the device and the exposure from", None)
    if fabrication is not None:
        mask = mask.perturb(fabrication, seed=checks.count("seed", seed, least=0))
    distance = (
        mask.distance if distance is None else checks.real("distance", distance, "a finite distance in m")
    )
    grid = output or mask.grid
    transmission = mask.transmission(field.wavelength)
    chosen = None
    if coherence == "coherent":
        check_same_grid("mask", mask.grid, field.grid)
        result = Field(field.data * transmission, field.grid, field.wavelength)
        if distance is None:
            if output is not None:
                raise InvalidArgument("output", "a distance to propagate to as well", "no distance")
        else:
            chosen = plan_propagation(
                field.grid, field.wavelength, distance, output, method=method, field=result.data
            )
            result = result.propagate(distance, output=output, method=method)
        irradiance, grid = result.intensity(), result.grid
    else:
        if distance is None:
            raise InvalidArgument("distance", "the distance from mask to sensor in m", None)
        scene = field.intensity()
        check_same_grid("field", Grid(grid.shape, field.grid.pitch), Grid(grid.shape, grid.pitch))
        spread = psf(transmission, mask.grid, field.wavelength, distance, output=output, method=method)
        chosen = plan_propagation(mask.grid, field.wavelength, distance, output, method=method)
        irradiance, grid = convolve(scene, spread).clamp(min=0), field.grid
        result = Field(transmission.to(field.data.dtype), mask.grid, field.wavelength)
    attrs = provenance(
        coherence=coherence,
        distance=distance if distance is not None else "behind the mask",
        seed=seed if seed is not None else "none",
    )
    image = (
        _record(irradiance, grid, field.wavelength, detector, seed, attrs) if detector is not None else None
    )
    return Simulation(result, irradiance, grid, image, chosen, attrs)


def plan(
    optic: Mask | Field,
    distance: float | None = None,
    output: Grid | None = None,
    *,
    wavelength: Any = None,
    method: str = "auto",
) -> Plan:
    """How a propagation would be done, before anything is computed.

    Args:
        optic: a mask (in a plane wave) or a field.
        distance: in m; by default the mask's design distance.
        output: the destination grid.
        wavelength: for a mask without a design wavelength, in m.
        method: of propagation.

    Returns:
        `photonet.optics.Plan`: method, padding, band limit, predicted alias energy, memory, and why.

    Raises:
        InvalidArgument: no distance or wavelength known.

    Example:
        >>> light = Field.gaussian(shape=512, pitch=10e-6, wavelength=633e-9, waist=200e-6)
        >>> plan(light, 0.1).method, plan(light, 1.0).method
        ('angular_spectrum', 'rayleigh_sommerfeld')
    """
    if isinstance(optic, Mask):
        waves = wavelength if wavelength is not None else optic.wavelength
        if waves is None:
            raise InvalidArgument("wavelength", "a wavelength in m, as the mask has none of its own", None)
        distance = optic.distance if distance is None else distance
        data = optic.transmission(waves)
    else:
        waves, data = optic.wavelength, optic.data
    if distance is None:
        raise InvalidArgument("distance", "a finite distance in m", None)
    return plan_propagation(optic.grid, waves, distance, output, method=method, field=data)


def _record(
    irradiance: torch.Tensor,
    grid: Grid,
    wavelength: torch.Tensor,
    detector: Detector,
    seed: int | None,
    attrs: dict[str, Any],
) -> xr.DataArray:
    """The camera's picture in DN on as many whole pixels as the window holds, around the axis."""
    import xarray as xr

    shape = tuple(max(1, int(e / p * (1 + 1e-9))) for e, p in zip(grid.extent, detector.pitch, strict=True))
    pixels = Grid(shape, detector.pitch, _centred(grid, shape, detector.pitch))
    collected = detector.sample(irradiance, grid, shape, pixels.centre)
    # one seed, two streams: the camera's fixed pattern and its exposure share no numbers
    pattern = detector.pattern(
        shape, checks.count("seed", seed, least=0), dtype=collected.dtype, device=collected.device
    )
    grey = detector.expose(collected, wavelength, seed=seed, pattern=pattern)
    lead = [f"batch_{i}" for i in range(grey.ndim - 2)]
    return xr.DataArray(
        grey.detach().cpu().numpy(),
        dims=[*lead, "y", "x"],
        coords={"y": ("y", pixels.y.numpy(), {"units": "m"}), "x": ("x", pixels.x.numpy(), {"units": "m"})},
        attrs={"long_name": "grey value", "units": "DN", **attrs},
    )


def _centred(grid: Grid, shape: tuple[int, ...], pitch: tuple[float, float]) -> tuple[float, float]:
    """Centre of a pixel grid whose edges lie symmetrically in the window of ``grid``."""
    centres = []
    for n, d, c, m, p in zip(grid.shape, grid.pitch, grid.centre, shape, pitch, strict=True):
        # the axis sample of an even grid is half a sample beside the middle of its window
        middle = c - (n // 2 - (n - 1) / 2) * d
        centres.append(middle + (m // 2 - (m - 1) / 2) * p)
    return centres[0], centres[1]
