"""`Display`: a screen in front of the optic, the bench on which hybrid networks are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from . import checks
from .arrays import as_tensor, real_dtype
from .errors import GridMismatch, InvalidArgument
from .grid import Grid, check_coordinates
from .optics.scalars import plain

__all__ = ["Display"]


@dataclass(frozen=True, eq=False, repr=False)
class Display:
    """Pixels that emit incoherently, at a distance before the mask; `photonet.simulate` images them.

    Args:
        exitance: what every pixel emits in W/m^2 of its area, at each wavelength, real [..., L, y, x].
        grid: one sample for each pixel; a centre beside the axis displaces the screen.
        wavelength: vacuum wavelengths in m, [L] (one number is taken as one wavelength).
        distance: from the screen to the mask in m, positive.
        order: of the emission, ``cos(theta)^order``: 1 is Lambert's law, more is directed forwards
            (``-ln 2 / ln cos h`` for a half angle h at half intensity).

    Raises:
        InvalidArgument: an exitance that is complex, negative or not finite, a distance that is not
            positive, a negative order.
        GridMismatch: the last two axes are not the grid's, or the wavelength axis is not L.

    Example:
        >>> screen = Display.from_image(torch.eye(28), pitch=50e-6, wavelength=525e-9, distance=0.1)
        >>> screen
        <Display 28 x 28 at 5e-05 x 5e-05 m, 0.1 m away, 525 nm>
    """

    exitance: torch.Tensor
    grid: Grid
    wavelength: torch.Tensor
    distance: Any
    order: Any = 1.0

    def __post_init__(self) -> None:
        waves = checks.wavelength(self.wavelength)
        light = as_tensor("exitance", self.exitance, least_dims=3)
        checks.instance("grid", self.grid, Grid, "a Grid")
        object.__setattr__(self, "wavelength", waves)
        object.__setattr__(self, "exitance", light)
        if light.is_complex() or bool((light < 0).any()):
            raise InvalidArgument("exitance", "real values of at least 0 W/m^2", "negative or complex values")
        if tuple(light.shape[-2:]) != self.grid.shape:
            ny, nx = self.grid.shape
            raise GridMismatch("exitance", f"[..., wavelength, {ny}, {nx}]", tuple(light.shape))
        if light.shape[-3] != len(waves):
            raise GridMismatch(
                "wavelength", f"{light.shape[-3]} wavelengths, as the exitance has", len(waves)
            )
        checks.positive("distance", plain(self.distance), "a positive length in m")
        checks.non_negative("order", plain(self.order), "an order of at least 0")

    def __repr__(self) -> str:
        batch = " x ".join(map(str, self.exitance.shape[:-3]))
        waves = ", ".join(f"{1e9 * w:g}" for w in self.wavelength.detach().tolist())
        start = f"<Display {batch + ' of ' if batch else ''}{self.grid}"
        return f"{start}, {float(plain(self.distance)):g} m away, {waves} nm>"

    @classmethod
    def from_image(
        cls,
        image: Any,
        *,
        pitch: Any,
        wavelength: Any,
        distance: Any,
        exitance: Any = 1.0,
        order: Any = 1.0,
        centre: Any = (0.0, 0.0),
    ) -> Display:
        """A screen that shows an image.

        Args:
            image: [y, x], the same at all wavelengths, or [..., L, y, x] with a channel for each; values of
                at least 0, where 1 is full white (NumPy, xarray or torch).
            pitch: of the pixels in m.
            wavelength: in m, one or several.
            distance: from the screen to the mask in m.
            exitance: of a pixel of value 1 in W/m^2, one number or one for each wavelength (the spectrum).
            order: of the emission.
            centre: position (y, x) of the middle pixel in m.

        Raises:
            InvalidArgument: pixels or an exitance that are complex, negative or not finite; a pitch or a
                distance that is not positive, a negative order.
            GridMismatch: another number of channels, or of exitances, than of wavelengths; coordinates of an
                xarray image that contradict the pitch or the wavelengths.

        Example:
            >>> white = Display.from_image(
            ...     torch.ones(2, 2), pitch=1e-4, wavelength=[450e-9, 635e-9], distance=0.1, exitance=[2, 3]
            ... )
            >>> white.exitance[:, 0, 0].tolist()
            [2.0, 3.0]
        """
        values = as_tensor("image", image, least_dims=2)
        if values.is_complex() or bool((values < 0).any()):
            raise InvalidArgument("image", "real pixel values of at least 0", "negative or complex values")
        waves = checks.wavelength(wavelength)
        white = as_tensor("exitance", exitance).to(values.device, real_dtype(values.dtype)).reshape(-1)
        if len(white) not in (1, len(waves)):
            raise GridMismatch("exitance", f"one value, or {len(waves)}: one for each wavelength", len(white))
        if values.ndim == 2:
            values = values.expand(len(waves), -1, -1)
        grid = Grid(tuple(values.shape[-2:]), pitch, centre)
        check_coordinates("image", image, grid, waves)
        return cls(values.to(white) * white[:, None, None], grid, waves.to(values.device), distance, order)

    def power(self) -> torch.Tensor:
        """Power that the screen emits into the half space in W, [..., L]."""
        return self.exitance.sum(dim=(-2, -1)) * self.grid.cell
