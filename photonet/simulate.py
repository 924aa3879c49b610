"""`simulate`: what was made and what light arrives, to what the camera records."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import checks
from .arrival import Road, from_display, from_scene, from_waves
from .detector import Detector
from .detector.picture import record
from .display import Display
from .errors import InvalidArgument
from .fabrication.draws import as_errors
from .field import Field
from .files import atomic_path
from .grid import Grid
from .mask import HeightMask, Mask
from .optics.ledger import Ledger, space_entry
from .optics.plan import METHODS, Plan
from .optics.plan import plan as plan_propagation
from .optics.scalars import plain
from .provenance import provenance

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Simulation", "plan", "simulate"]

LIKE_VACUUM = 1e-3
"""Difference of an index from 1 up to which free space stands for the medium: air has 3e-4."""


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """What `simulate` returns.

    Args:
        field: complex field in the output plane, every mode of partially coherent light; for incoherent
            light, which has none, the field of a point (far, or in the middle of the display) right behind
            the mask.
        irradiance: [..., L, y, x] in W/m^2 on ``grid``.
        grid: of the irradiance.
        image: what the camera recorded, in DN, with axes (y, x); None without a detector.
        plan: how the light was propagated; None where it was not.
        ledger: where the power went, element by element; None unless asked for.
        attrs: provenance.
    """

    field: Field
    irradiance: torch.Tensor
    grid: Grid
    image: xr.DataArray | None = None
    plan: Plan | None = None
    ledger: Ledger | None = None
    attrs: dict[str, Any] = dataclass_field(default_factory=dict)

    def __repr__(self) -> str:
        image = f", image {' x '.join(map(str, self.image.shape))} DN" if self.image is not None else ""
        return f"<Simulation of irradiance on {self.grid}{image}>"

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
    field: Field | Display,
    *,
    distance: Any = None,
    detector: Detector | None = None,
    fabrication: Any = None,
    coherence: str = "coherent",
    output: Grid | None = None,
    patches: Any = 1,
    method: str = "auto",
    strict: bool = False,
    ledger: bool = False,
    seed: int | None = None,
) -> Simulation:
    """Send light through a mask and record it.

    With just the two it goes to the mask's own design distance, or stops right behind the mask when the
    mask knows none. What arrives is one of these:

    - a coherent `Field` (the default): the field times the mask's transmission, propagated;
    - partially coherent light, a `Field` of modes such as `Field.gaussian_schell` makes, with
      ``coherence="partial"``: every mode goes by itself, and their irradiances add;
    - a scene, a `Field` with ``coherence="incoherent"``: its irradiance is the geometric image in the output
      plane, convolved with the mask's point spread function for far points, normalised to the light that the
      mask receives (Goodman, Introduction to Fourier Optics, sections 6.3 and 7.1);
    - a `Display` at a distance: `photonet.optics.image_display`, always incoherent.

    Free space before and behind the mask is vacuum; air differs from it by 3e-4 of the wavelength.

    Args:
        mask: on the field's grid when coherent; sets the pitch of the scene when incoherent.
        field: what arrives, the scene or the screen.
        distance: from mask to sensor in m; may require a gradient.
        detector: a camera; its pixels cover the output window around the axis.
        fabrication: errors (see `photonet.fabrication`) for one device, drawn from ``seed``; for each, where
            the mask is several devices.
        coherence: ``coherent``, ``partial`` (the axis before the wavelength is that of the modes) or
            ``incoherent``.
        output: the grid of the result; by default the mask's.
        patches: field points (y, x) at which the PSF for a `Display` is computed; 1 for the same everywhere.
        method: of propagation; see `photonet.plan`.
        strict: raise `SamplingError` where a `SamplingWarning` would be given.
        ledger: also book the power that goes into, is absorbed by, leaves beside and leaves each element.
        seed: whole number of at least 0; draws the device and the exposure, from separate streams. The noise
            of a picture depends on those it is exposed together with.

    Returns:
        `Simulation` with ``.field``, ``.irradiance``, ``.image`` (DN), ``.plan``, ``.ledger``.

    Raises:
        GridMismatch: mask and field are sampled differently or their batches do not broadcast, or partial
            light without an axis of modes.
        InvalidArgument: a field that is not finite, incoherent light without a distance, random errors or a
            camera without a seed, pixels larger than the window, patches for a `Field`, partial coherence of
            a `Display`, a distance behind a relief in another medium than air.
        UnknownName: an unknown ``coherence`` or ``method``.

    Example:
        >>> mask = Mask.from_phase(torch.zeros(64, 64), pitch=1e-6)
        >>> light = Field.plane_wave(shape=64, pitch=1e-6, wavelength=525e-9)
        >>> out = simulate(mask, light, distance=100e-6, detector=Detector(pitch=4e-6), seed=1)
        >>> out.image.shape, out.image.attrs["units"]
        ((16, 16), 'DN')
    """
    _check_light(mask, field, coherence, patches)
    checks.choice("method", method, METHODS)
    for name, value, kind in (("output", output, Grid), ("detector", detector, Detector)):
        if value is not None:
            checks.instance(name, value, kind, f"a photonet.{kind.__name__}")
    if seed is not None or detector is not None:
        seed = checks.count("seed", seed, least=0)
    if fabrication is not None:
        mask = mask.perturb(fabrication, seed=_device_seed(fabrication, seed))
    if distance is None:
        distance = mask.distance
    else:
        checks.real("distance", plain(distance), "a finite distance in m")
    if distance is None and (isinstance(field, Display) or coherence == "incoherent"):
        raise InvalidArgument("distance", "the distance from mask to sensor in m", None)
    if distance is not None:
        _check_vacuum(mask, field.wavelength)
    road = Road(mask.transmission(field.wavelength), mask.grid, distance, output, method, strict)
    if isinstance(field, Display):
        coherence = "incoherent"
        result, irradiance, chosen, entries = from_display(road, field, patches)
    elif coherence == "incoherent":
        result, irradiance, chosen, entries = from_scene(road, field)
    else:
        result, irradiance, chosen, entries = from_waves(road, field, coherence == "partial")
    grid = result.grid if distance is None else output or mask.grid
    if isinstance(field, Field) and coherence == "incoherent":
        grid = field.grid
    if distance is not None:
        landed = irradiance.sum((-2, -1)) * grid.cell
        entries.append(space_entry("free space", entries[-1].leaving, landed))
    attrs = provenance(
        coherence=coherence,
        distance=float(plain(distance)) if distance is not None else "behind the mask",
        method=chosen.method if chosen is not None else "none",
        output=str(grid),
        seed=seed if seed is not None else "none",
    )
    image = None
    if detector is not None:
        image = record(irradiance, grid, field.wavelength, detector, seed, attrs)
    book = Ledger(tuple(entries)) if ledger else None
    return Simulation(result, irradiance, grid, image, chosen, book, attrs)


def _check_light(mask: Any, field: Any, coherence: Any, patches: Any) -> None:
    """What is sent, through what, and whether the words about it belong to it."""
    if not isinstance(mask, Mask):
        raise InvalidArgument("mask", "a photonet.Mask", type(mask).__name__, "see Mask.from_phase")
    if not isinstance(field, (Field, Display)):
        raise InvalidArgument(
            "field", "a photonet.Field or a photonet.Display", type(field).__name__, "see Field.from_array"
        )
    checks.choice("coherence", coherence, ("coherent", "partial", "incoherent"))
    if isinstance(field, Field):
        checks.finite("field", field.data)
        if any(checks.count("patches", p) > 1 for p in checks.pair("patches", patches)):
            raise InvalidArgument("patches", "1 for a Field", patches, "only a Display has field points")
    elif coherence == "partial":
        raise InvalidArgument(
            "coherence", "incoherent for a Display", "'partial'", "see Field.gaussian_schell"
        )


def _check_vacuum(mask: Mask, waves: torch.Tensor) -> None:
    """Free space is vacuum: behind a relief in another medium it would be the wrong one."""
    if not isinstance(mask, HeightMask):
        return
    index = mask.surround.index(waves).detach()
    if float((index - 1).abs().max()) > LIKE_VACUUM:
        raise InvalidArgument(
            "distance",
            f"no distance behind a relief in {mask.surround.name}, as free space is vacuum",
            f"an index of {float(index[0].real):.4g}",
            "propagate the field behind the mask at the wavelength over this index",
        )


def _device_seed(errors: Any, seed: int | None) -> int:
    """The seed of the device; errors that are only known means need none."""
    known = all(
        getattr(e, "systematic", None) == 0 and getattr(e, "random", 0) == 0 for e in as_errors(errors)
    )
    return 0 if known and seed is None else checks.count("seed", seed, least=0)


def plan(
    optic: Mask | Field,
    distance: Any = None,
    output: Grid | None = None,
    *,
    wavelength: Any = None,
    method: str = "auto",
    strict: bool = False,
) -> Plan:
    """How a propagation would be done, before anything is computed.

    Args:
        optic: a mask (in a plane wave) or a field.
        distance: in m; by default the mask's design distance.
        output: the destination grid.
        wavelength: of the light on a mask in m, its design wavelength when None; a field has its own.
        method: of propagation.
        strict: raise `SamplingError` where ``simulate(..., strict=True)`` would.

    Returns:
        `photonet.optics.Plan`: method, padding, band limit, predicted alias energy, memory, and why.

    Raises:
        InvalidArgument: no distance or wavelength known, or a wavelength for a field.
        SamplingError: a window that the light cannot reach; with ``strict``, a predicted error above 1 %.

    Example:
        >>> light = Field.gaussian(shape=512, pitch=10e-6, wavelength=633e-9, waist=200e-6)
        >>> plan(light, 0.1).method, plan(light, 1.0).method
        ('angular_spectrum', 'rayleigh_sommerfeld')
    """
    if not isinstance(optic, (Mask, Field)):
        raise InvalidArgument("optic", "a Mask or a Field", type(optic).__name__)
    if isinstance(optic, Mask):
        waves = wavelength if wavelength is not None else optic.wavelength
        if waves is None:
            raise InvalidArgument("wavelength", "a wavelength in m, as the mask has none of its own", None)
        distance = optic.distance if distance is None else distance
        data = optic.transmission(waves)
    elif wavelength is not None:
        raise InvalidArgument("wavelength", "none, as the field has its own", repr(wavelength)[:60])
    else:
        waves, data = optic.wavelength, optic.data
    if distance is None:
        raise InvalidArgument("distance", "a finite distance in m", None)
    return plan_propagation(
        optic.grid,
        waves,
        distance,
        output,
        method=method,
        dtype=data.dtype,
        field=data.detach(),
        strict=strict,
    )
