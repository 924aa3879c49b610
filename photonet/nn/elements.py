"""Layers that are single optical elements: fields [..., L, y, x] in, fields out.

What is trainable is a parameter, what is not is a plain number or a buffer; wavelengths and distances stay
float64 whatever precision the fields have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import nn

from .. import checks
from ..arrays import as_tensor, real_dtype
from ..errors import GridMismatch, InvalidArgument
from ..grid import Grid
from ..optics.elements import circular_aperture, ideal_lens, quadratic_lens, rectangular_aperture
from ..optics.phase import wrapped
from ..optics.plan import METHODS
from ..optics.propagate import check_field, propagate
from ..optics.scalars import plain

__all__ = ["Aperture", "FreeSpace", "Lens", "PhaseMask"]

LENSES = {"ideal": ideal_lens, "quadratic": quadratic_lens}


def length_parameter(name: str, value: Any, trainable: bool) -> float | nn.Parameter:
    """A length in m as a number, or as a float64 parameter when it is to be trained."""
    length = checks.real(name, value, "a finite length in m")
    return nn.Parameter(torch.tensor(length, dtype=torch.float64)) if trainable else length


def turn(u: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """``u exp(i phase)``: the phase is wrapped in its own precision and then cast to that of ``u``."""
    angle = wrapped(phase, u.dtype)
    return u * torch.polar(torch.ones_like(angle), angle)


class Lengths(nn.Module):
    """A layer whose own parameters are lengths: moved with the layer, but never cast.

    Rounded to single precision, a centimetre is off by a thousandth of a turn of ``exp(i k z)``; to half, by
    several turns.
    """

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        def move(length: torch.Tensor) -> torch.Tensor:
            moved = fn(length)
            return moved if moved.dtype == length.dtype else length.to(moved.device)

        if recurse:
            for child in self.children():
                child._apply(fn)
        return super()._apply(move, recurse=False)


class FreeSpace(Lengths):
    """Free space between two planes; see `photonet.optics.propagate`.

    Args:
        grid: samples of the source plane.
        wavelength: in m, one value or [L].
        distance: in m.
        output: samples of the destination plane, ``grid`` when None.
        method: as in `propagate`.
        carrier: include the common phase exp(i k z). Leave it out (the default) where irradiance is what
            counts: its slope drowns the gradient of the distance in single precision.
        trainable: make the distance a parameter.

    Shape:
        complex [..., L, y, x] -> complex [..., L, y', x'].

    Raises:
        InvalidArgument: a distance that is not finite. What else `propagate` raises comes with the first
            field.
        UnknownName: an unknown method.

    Example:
        >>> space = FreeSpace(Grid(32, 2e-6), 525e-9, 1e-3)
        >>> space(torch.ones(5, 1, 32, 32, dtype=torch.complex64)).shape
        torch.Size([5, 1, 32, 32])
    """

    def __init__(
        self,
        grid: Grid,
        wavelength: Any,
        distance: Any,
        *,
        output: Grid | None = None,
        method: str = "auto",
        carrier: bool = False,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        self.grid = checks.instance("grid", grid, Grid, "a Grid")
        self.output = grid if output is None else checks.instance("output", output, Grid, "a Grid")
        self.wavelength = tuple(checks.wavelength(wavelength).tolist())
        self.distance = length_parameter("distance", distance, trainable)
        self.method, self.carrier = checks.choice("method", method, METHODS), carrier

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """The field on ``output``."""
        return propagate(
            u,
            self.grid,
            self.wavelength,
            self.distance,
            output=self.output,
            method=self.method,
            carrier=self.carrier,
        )

    def extra_repr(self) -> str:
        """Distance and grid, for ``print(model)``."""
        return f"{float(plain(self.distance)):g} m, {self.grid}"


class Lens(Lengths):
    """A thin lens; see `photonet.optics.ideal_lens`.

    Args:
        grid: samples of the plane.
        wavelength: in m, one value or [L].
        focal_length: in m, negative for a diverging lens.
        kind: ``ideal`` (spherical wave, no aberration on the axis) or ``quadratic`` (paraxial).
        trainable: make the focal length a parameter.

    Shape:
        complex [..., L, y, x] -> the same.

    Raises:
        InvalidArgument: a focal length of zero.
        UnknownName: another kind.

    Example:
        >>> lens = Lens(Grid(32, 2e-6), 525e-9, 5e-3, trainable=True)
        >>> [name for name, _ in lens.named_parameters()]
        ['focal_length']
    """

    def __init__(
        self, grid: Grid, wavelength: Any, focal_length: Any, *, kind: str = "ideal", trainable: bool = False
    ) -> None:
        super().__init__()
        self.grid = checks.instance("grid", grid, Grid, "a Grid")
        self.wavelength = tuple(checks.wavelength(wavelength).tolist())
        self.focal_length = length_parameter("focal_length", focal_length, trainable)
        self.kind = checks.choice("kind", kind, LENSES)
        if plain(self.focal_length) == 0:
            raise InvalidArgument("focal_length", "a finite length in m, not zero", 0)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """The field right behind the lens.

        Raises:
            GridMismatch: the field has other samples or wavelengths than the lens.
        """
        check_field(u, self.grid, self.wavelength)
        return turn(u, LENSES[self.kind](self.grid, self.wavelength, self.focal_length).to(u.device))

    def extra_repr(self) -> str:
        """Kind and focal length, for ``print(model)``."""
        return f"{self.kind}, f = {float(plain(self.focal_length)):g} m"


class PhaseMask(nn.Module):
    """A lossless mask whose phase is trained.

    A layer, for networks; a `photonet.mask.PhaseMask`, from `photonet.Mask.from_phase`, is what is made,
    perturbed and simulated.

    Args:
        phase: starting phase in rad, real [..., y, x]; leading axes broadcast with those of the fields,
            less the wavelength.
        wavelength: of the fields in m, [L], where it matters.
        design_wavelength: in m. With it the phase is that of a relief without dispersion and is
            multiplied by design wavelength / wavelength; without it, the same for all.
        trainable: False keeps the phase as a buffer.

    Shape:
        complex [..., L, y, x] -> the same.

    Raises:
        InvalidArgument: a complex phase, NaN, or only one of the two wavelengths.

    Example:
        >>> mask = PhaseMask(torch.full((4, 4), 3.14159265))
        >>> mask(torch.ones(1, 4, 4, dtype=torch.complex64)).real.mean().item()
        -1.0
    """

    phase: torch.Tensor

    def __init__(
        self, phase: Any, *, wavelength: Any = None, design_wavelength: Any = None, trainable: bool = True
    ) -> None:
        super().__init__()
        start = as_tensor("phase", phase, least_dims=2)
        if start.is_complex():
            raise InvalidArgument("phase", "a real phase in rad", f"{start.dtype}", "pass its angle()")
        if (wavelength is None) != (design_wavelength is None):
            raise InvalidArgument("design_wavelength", "both wavelengths, or none of them", design_wavelength)
        start = start.detach().clone()
        if trainable:
            self.phase = nn.Parameter(start)
        else:
            self.register_buffer("phase", start)
        self.scale = [1.0]
        if design_wavelength is not None:
            design = float(checks.wavelength(design_wavelength, "design_wavelength")[0])
            self.scale = [design / w for w in checks.wavelength(wavelength).tolist()]

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """The field right behind the mask.

        Raises:
            GridMismatch: the field has other samples than the mask, other wavelengths or another batch.
        """
        phase = self.phase[..., None, :, :]
        if self.scale != [1.0]:
            phase = phase * phase.new_tensor(self.scale)[:, None, None]
        _check_fits(u, phase, "the mask")
        return turn(u, phase)

    def extra_repr(self) -> str:
        """Samples, for ``print(model)``."""
        return " x ".join(map(str, self.phase.shape))


class Aperture(nn.Module):
    """A fixed transmission, of area-weighted edges when made by `circular` or `rectangular`.

    Args:
        transmission: amplitude transmission, real or complex [..., y, x], the same at all wavelengths.

    Shape:
        complex [..., L, y, x] -> the same.

    Example:
        >>> hole = Aperture.circular(Grid(32, 1e-6), 20e-6)
        >>> hole(torch.ones(1, 32, 32, dtype=torch.complex64)).abs().sum().round().item()
        314.0
    """

    transmission: torch.Tensor

    def __init__(self, transmission: Any) -> None:
        super().__init__()
        self.register_buffer("transmission", as_tensor("transmission", transmission, least_dims=2))

    @classmethod
    def circular(cls, grid: Grid, diameter: Any, *, centre: Any = (0.0, 0.0)) -> Self:
        """A round hole of ``diameter`` (m) around ``centre`` (y, x) in m."""
        return cls(circular_aperture(grid, diameter, centre=centre))

    @classmethod
    def rectangular(cls, grid: Grid, size: Any, *, centre: Any = (0.0, 0.0)) -> Self:
        """A rectangular hole of ``size`` (y, x) in m around ``centre``."""
        return cls(rectangular_aperture(grid, size, centre=centre))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """The field right behind the aperture.

        Raises:
            GridMismatch: the field has other samples than the aperture, or another batch.
        """
        t = self.transmission[..., None, :, :]
        _check_fits(u, t, "the aperture")
        return u * t.to(u.dtype if t.is_complex() else real_dtype(u.dtype))


def _check_fits(u: torch.Tensor, element: torch.Tensor, whose: str) -> None:
    """Raise `GridMismatch` when ``u`` cannot be multiplied with an element [..., L or 1, y, x]."""
    checks.instance("u", u, torch.Tensor, "a complex tensor [..., L, y, x]")
    if u.shape[-2:] != element.shape[-2:]:
        raise GridMismatch("u", f"{whose}'s samples {tuple(element.shape[-2:])}", tuple(u.shape[-2:]))
    checks.broadcasts("u", u, element, f"as {whose} has them")
