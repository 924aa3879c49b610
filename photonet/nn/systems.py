"""Layers that are whole optical systems: the 4f filter and the diffractive (all-optical) network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid
from ..optics.elements import rectangular_aperture
from ..optics.irradiance import irradiance
from ..optics.ledger import Ledger, power, space_entry, thin_entry
from ..optics.relay import focal_plane, magnified, pupil_grid
from ..precision import full_precision
from .elements import FreeSpace, Lengths, PhaseMask, length_parameter

__all__ = ["DiffractiveStack", "FourF", "detector_regions"]


class FourF(Lengths):
    """Two ideal lenses with a filter in the Fourier plane between them; see `photonet.optics.four_f`.

    Exact at the shortest wavelength; what is lost at the others is told in `photonet.optics.pupil_grid`.

    Args:
        grid: samples of the object.
        wavelength: in m, one value or [L].
        focal_length: of the first lens in m.
        pupil: any layer from fields to fields on ``plane`` (a `PhaseMask`, an `Aperture`, several in an
            ``nn.Sequential``); None for an open pupil.
        plane: samples of the Fourier plane; by default `photonet.optics.pupil_grid`.
        second: focal length of the second lens in m, the first when None.
        trainable: make the focal lengths parameters (one, when the lenses are alike).

    Shape:
        complex [..., L, y, x] -> complex [..., L, y, x] on ``output``: upside down, magnified by
        ``second / focal_length``.

    Raises:
        InvalidArgument: a focal length of zero; with the first field, one that is not complex.
        GridMismatch: the field or the pupil has other samples.

    Example:
        >>> system = FourF(Grid(9, 10e-6), 525e-9, 0.1)
        >>> u = torch.rand(2, 1, 9, 9, dtype=torch.float64).to(torch.complex128)
        >>> torch.allclose(system(u), -u.flip(-2, -1))
        True
    """

    def __init__(
        self,
        grid: Grid,
        wavelength: Any,
        focal_length: Any,
        *,
        pupil: nn.Module | None = None,
        plane: Grid | None = None,
        second: Any = None,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        if not all(f is None or checks.real("focal_length", f) for f in (focal_length, second)):
            raise InvalidArgument("focal_length", "a finite length in m, not zero", 0)
        self.grid = checks.instance("grid", grid, Grid, "a Grid")
        self.wavelength = tuple(checks.wavelength(wavelength).tolist())
        self.focal_length = length_parameter("focal_length", focal_length, trainable)
        self.second = self.focal_length if second is None else length_parameter("second", second, trainable)
        if plane is None:
            plane = pupil_grid(grid, wavelength, focal_length)
        self.plane = checks.instance("plane", plane, Grid, "a Grid", "see pupil_grid")
        self.output = magnified(grid, self.focal_length, self.second)
        self.pupil = nn.Identity() if pupil is None else pupil

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """The image."""
        return self._planes(u)[-1]

    def ledger(self, u: torch.Tensor) -> Ledger:
        """Power in and out of each part, per field and wavelength, for the object ``u``."""
        _, arriving, filtered, image = self._planes(u)
        powers = [power(u, self.grid), power(arriving, self.plane), power(filtered, self.plane)]
        return Ledger(
            (
                space_entry("first lens", powers[0], powers[1]),
                thin_entry("pupil", powers[1], powers[2]),
                space_entry("second lens", powers[2], power(image, self.output)),
            )
        )

    def _planes(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The fields of the object, before and behind the pupil, and of the image."""
        arriving = focal_plane(u, self.grid, self.wavelength, self.focal_length, self.plane)
        filtered = self.pupil(arriving)
        image = focal_plane(filtered, self.plane, self.wavelength, self.second, self.output)
        return u, arriving, filtered, image


def detector_regions(grid: Grid, classes: int, *, size: Any = None) -> torch.Tensor:
    """One rectangle of sensor for each class, of equal area, in even rows that fill the window.

    Args:
        grid: samples of the detector plane.
        classes: how many regions; they are placed row by row.
        size: side of a region (y, x) in m; by default half the distance of neighbours.

    Returns:
        The part of each sample that a region covers, float64 [classes, y, x].

    Raises:
        InvalidArgument: no classes, a size that is not positive, or regions that overlap.

    Example:
        >>> detector_regions(Grid(8, 1e-6), 4, size=2e-6).sum(dim=(-2, -1)).round(decimals=9).tolist()
        [4.0, 4.0, 4.0, 4.0]
    """
    checks.instance("grid", grid, Grid, "a Grid")
    columns = math.ceil(math.sqrt(checks.count("classes", classes)))
    rows = math.ceil(classes / columns)
    step_y, step_x = grid.extent[0] / rows, grid.extent[1] / columns
    sides = (step_y / 2, step_x / 2) if size is None else checks.pair("size", size)
    if sides[0] > step_y or sides[1] > step_x:
        raise InvalidArgument("size", f"at most ({step_y:g}, {step_x:g}) m, so that none overlap", size)
    # of even grids the axis sample is half a sample beside it, and regions at one edge would be cut
    cy, cx = (float(axis[0] + axis[-1]) / 2 for axis in (grid.y, grid.x))
    return torch.stack(
        [
            rectangular_aperture(
                grid,
                sides,
                centre=(
                    cy + (c // columns - (rows - 1) / 2) * step_y,
                    cx + (c % columns - (columns - 1) / 2) * step_x,
                ),
            )
            for c in range(classes)
        ]
    )


class DiffractiveStack(nn.Module):
    """The all-optical network: phase masks in free space, and one region of the sensor for each class.

    From the input plane the light goes ``distance``, through a mask, ``distance``, through the next one
    and so on, and after the last mask to the sensor. The scores are the logarithms of the regions' shares of
    the light that falls on regions, so cross-entropy sees these shares as the probabilities, whatever the
    brightness. Architecture: Lin et al., Science 361, 1004 (2018); there with a softmax of the powers.

    Args:
        grid: samples of every plane.
        wavelength: in m, one value or [L]; powers add over wavelengths.
        distance: between neighbouring planes in m.
        layers: number of masks.
        classes: number of scores.
        size: side of a region in m; see `detector_regions`.
        method: of propagation.
        trainable_distance: train the distances as well, each its own.
        seed: of the starting phases, uniform within 0.1 rad of zero.

    Shape:
        complex [..., L, y, x] -> [..., classes].

    Raises:
        InvalidArgument: counts below one, a distance that is not finite, regions that overlap.

    Example:
        >>> stack = DiffractiveStack(Grid(32, 8e-6), 525e-9, 5e-3, layers=2)
        >>> scores = stack(torch.ones(3, 1, 32, 32, dtype=torch.complex64))
        >>> scores.shape, torch.allclose(scores.exp().sum(-1), torch.ones(3))
        (torch.Size([3, 10]), True)
    """

    regions: torch.Tensor

    def __init__(
        self,
        grid: Grid,
        wavelength: Any,
        distance: Any,
        *,
        layers: int = 5,
        classes: int = 10,
        size: Any = None,
        method: str = "auto",
        trainable_distance: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        count = checks.count("layers", layers)
        generator = torch.Generator().manual_seed(checks.count("seed", seed, least=0))
        checks.instance("grid", grid, Grid, "a Grid")
        starts = 0.1 * (2 * torch.rand(count, *grid.shape, generator=generator) - 1)
        self.grid = grid
        self.masks = nn.ModuleList(PhaseMask(start) for start in starts)
        self.spaces = nn.ModuleList(
            FreeSpace(grid, wavelength, distance, method=method, trainable=trainable_distance)
            for _ in range(count + 1)
        )
        self.register_buffer("regions", detector_regions(grid, classes, size=size).float(), persistent=False)

    def field(self, u: torch.Tensor) -> torch.Tensor:
        """The field on the sensor, complex [..., L, y, x]."""
        for space, mask in zip(self.spaces, self.masks, strict=False):
            u = mask(space(u))
        sensor: torch.Tensor = self.spaces[-1](u)
        return sensor

    def powers(self, u: torch.Tensor) -> torch.Tensor:
        """Power in W on each region, [..., classes], summed over wavelengths."""
        return self._collect(self.field(u))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Scores: logarithms of the regions' shares."""
        powers = self.powers(u)
        powers = powers.clamp_min(torch.finfo(powers.dtype).tiny)
        return (powers / powers.sum(-1, keepdim=True)).log()

    def ledger(self, u: torch.Tensor) -> Ledger:
        """Power in and out of each part, per field and wavelength; regions come last."""
        entries, entering = [], power(u, self.grid)
        for number, (space, mask) in enumerate(zip(self.spaces, self.masks, strict=False), start=1):
            u = space(u)
            arriving = power(u, self.grid)
            u = mask(u)
            behind = power(u, self.grid)
            entries += [
                space_entry(f"space {number}", entering, arriving),
                thin_entry(f"mask {number}", arriving, behind),
            ]
            entering = behind
        u = self.spaces[-1](u)
        arriving = power(u, self.grid)
        entries.append(space_entry(f"space {len(self.spaces)}", entering, arriving))
        inside = (irradiance(u) * self.regions.sum(0).to(arriving)).sum((-2, -1)) * self.grid.cell
        entries.append(space_entry("regions", arriving, inside))
        return Ledger(tuple(entries))

    def _collect(self, u: torch.Tensor) -> torch.Tensor:
        light = irradiance(u).sum(-3)
        with full_precision(light):
            return torch.einsum("...yx,cyx->...c", light, self.regions.to(light)) * self.grid.cell
