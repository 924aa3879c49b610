"""What arrives behind a mask: waves, a scene in the plane of the image, or a screen at a distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from . import checks
from .display import Display
from .errors import GridMismatch, InvalidArgument
from .field import Field
from .grid import Grid, check_same_grid
from .optics.irradiance import irradiance as squared
from .optics.kernels import carrier
from .optics.ledger import Entry, space_entry, thin_entry
from .optics.plan import Plan
from .optics.plan import plan as plan_propagation
from .optics.propagate import propagate
from .optics.psf import convolve, psf
from .optics.scalars import scalar
from .optics.scenes import collected_power, image_display
from .optics.sources import point_source

__all__ = ["Arrival", "Road", "from_display", "from_scene", "from_waves"]

Arrival = tuple[Field, torch.Tensor, Plan | None, list[Entry]]
"""The field, its irradiance [..., L, y, x] in the output plane, how it got there, and its power so far."""


@dataclass(frozen=True)
class Road:
    """From the mask on: what is the same for every kind of light.

    Args:
        transmission: complex [..., L, y, x] of the mask on ``grid``.
        grid: of the mask.
        distance: behind the mask in m, None for right behind it.
        output: the window at that distance; None for the mask's.
        method, strict: of the propagation.
    """

    transmission: torch.Tensor
    grid: Grid
    distance: Any
    output: Grid | None
    method: str
    strict: bool

    def plan(self, waves: torch.Tensor, u: torch.Tensor) -> Plan:
        return plan_propagation(
            self.grid,
            waves,
            self.distance,
            self.output,
            method=self.method,
            dtype=u.dtype,
            field=u.detach(),
            strict=self.strict,
        )


def from_waves(road: Road, field: Field, partial: bool) -> Arrival:
    """Coherent light, or modes in the axis before the wavelength whose irradiances add.

    Args:
        road: what follows.
        field: on the mask's grid.
        partial: whether its axis -4 is that of modes.

    Raises:
        GridMismatch: other samples than the mask's, no axis of modes, batches that do not broadcast.
        InvalidArgument: an output window without a distance.

    Example:
        >>> road = Road(torch.ones(1, 8, 8) + 0j, Grid(8, 1e-6), None, None, "auto", False)
        >>> light = Field.plane_wave(shape=8, pitch=1e-6, wavelength=525e-9)
        >>> from_waves(road, light, partial=False)[1].shape
        torch.Size([1, 8, 8])
    """
    check_same_grid("mask", road.grid, field.grid)
    transmission, distance, waves = road.transmission, road.distance, field.wavelength
    if partial:
        if field.data.ndim < 4:
            raise GridMismatch(
                "field",
                "axes [..., mode, wavelength, y, x]",
                tuple(field.data.shape),
                "see Field.gaussian_schell",
            )
        transmission = transmission.unsqueeze(-4)
    if distance is None and road.output is not None:
        raise InvalidArgument("output", "a distance to propagate to as well", "no distance")
    modes = -4 if partial else None

    def irradiance_of(u: torch.Tensor) -> torch.Tensor:
        return squared(u) if modes is None else squared(u).sum(modes)

    checks.broadcasts("field", field.data, transmission, "the mask's transmission")
    u = field.data * transmission
    powers = [irradiance_of(v).sum((-2, -1)) * road.grid.cell for v in (field.data, u)]
    entries = [thin_entry("mask", *powers)]
    if distance is None:
        return Field(u, field.grid, waves), irradiance_of(u), None, entries
    chosen = road.plan(waves, u)
    # without exp(ikz), whose slope of 1e7 rad/m would drown the gradient of the irradiance in rounding
    u = propagate(
        u,
        road.grid,
        waves,
        distance,
        output=road.output,
        method=road.method,
        carrier=False,
        strict=road.strict,
    )
    z = scalar("distance", distance, "a finite distance in m", device=u.device)
    turn = torch.exp(1j * carrier(waves.to(u.device), z))[:, None, None].to(u.dtype)
    return Field(u * turn, road.output or field.grid, waves), irradiance_of(u), chosen, entries


def from_scene(road: Road, field: Field) -> Arrival:
    """A scene given as its geometric image in the output plane, seen through the PSF for far points.

    Args:
        road: what follows.
        field: whose irradiance is that image, on the output's samples.

    Raises:
        GridMismatch: another pitch, or another centre, than the output's.

    Example:
        >>> road = Road(torch.ones(1, 8, 8) + 0j, Grid(8, 1e-6), 1e-5, None, "auto", False)
        >>> scene = Field.plane_wave(shape=8, pitch=1e-6, wavelength=525e-9)
        >>> from_scene(road, scene)[1].shape
        torch.Size([1, 8, 8])
    """
    grid, waves = road.output or road.grid, field.wavelength
    check_same_grid("field", Grid(grid.shape, field.grid.pitch), Grid(grid.shape, grid.pitch))
    if road.output is not None and road.output.centre != field.grid.centre:
        raise GridMismatch(
            "output", f"the centre of the scene, {field.grid.centre} m", f"{road.output.centre} m"
        )
    spread = psf(
        road.transmission,
        road.grid,
        waves,
        road.distance,
        output=None if road.output is None else Grid(grid.shape, grid.pitch),  # around its own axis
        method=road.method,
        strict=road.strict,
    )
    irradiance = convolve(field.intensity(), spread).clamp(min=0)
    behind = Field(road.transmission.to(field.data.dtype), road.grid, waves)
    entry = thin_entry("mask", field.power(), field.power() * behind.intensity().mean((-2, -1)))
    return behind, irradiance, road.plan(waves, behind.data), [entry]


def from_display(road: Road, screen: Display, patches: Any) -> Arrival:
    """A screen at a distance, seen through the PSF for points on it.

    Args:
        road: what follows.
        screen: before the mask.
        patches: field points (y, x) whose PSFs are computed.

    Raises:
        InvalidArgument: as of `photonet.optics.image_display`.

    Example:
        >>> road = Road(torch.ones(1, 8, 8) + 0j, Grid(8, 1e-6), 1e-5, None, "auto", False)
        >>> screen = Display(torch.ones(1, 8, 8), Grid(8, 1e-4), 525e-9, distance=0.1)
        >>> from_display(road, screen, 1)[1].shape
        torch.Size([1, 8, 8])
    """
    waves = screen.wavelength
    wave = point_source(road.grid, waves, distance=screen.distance, envelope=True)
    behind = Field(road.transmission * wave.to(road.transmission), road.grid, waves)
    irradiance = image_display(
        screen.exitance,
        screen.grid,
        road.transmission,
        road.grid,
        waves,
        screen.distance,
        road.distance,
        output=road.output,
        order=screen.order,
        patches=patches,
        method=road.method,
        strict=road.strict,
    )
    received = collected_power(
        screen.exitance, screen.grid, road.grid, screen.distance, order=screen.order
    ).sum((-2, -1))
    part = squared(behind.data).sum((-2, -1)) / squared(wave).sum((-2, -1))
    entries = [
        space_entry("display", screen.power(), received),
        thin_entry("mask", received, received * part),
    ]
    return behind, irradiance, road.plan(waves, behind.data), entries
