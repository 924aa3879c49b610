"""Where the power goes, element by element: `Ledger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..grid import Grid
from .irradiance import irradiance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Entry", "Ledger", "power", "space_entry", "thin_entry"]


@dataclass(frozen=True)
class Entry:
    """One element's balance, each [..., L] in W: ``entering = absorbed + outside + leaving``.

    Attributes:
        element: its name.
        entering: power that reaches it.
        absorbed: power that it takes (or reflects: what does not go on).
        outside: power that leaves beside the window of samples.
        leaving: power that goes on to the next element.
    """

    element: str
    entering: torch.Tensor
    absorbed: torch.Tensor
    outside: torch.Tensor
    leaving: torch.Tensor


@dataclass(frozen=True)
class Ledger:
    """The balance of every element, in the order in which the light meets them.

    Example:
        >>> one, half = torch.ones(1), torch.full((1,), 0.5)
        >>> print(Ledger((thin_entry("mask", one, half), space_entry("free space", half, half))))
        element           in (W)    absorbed     outside         out
        mask                   1         0.5           0         0.5
        free space           0.5           0           0         0.5
    """

    entries: tuple[Entry, ...]

    def __str__(self) -> str:
        lines = [f"{'element':<12}{'in (W)':>12}{'absorbed':>12}{'outside':>12}{'out':>12}"]
        for e in self.entries:
            values = (e.entering, e.absorbed, e.outside, e.leaving)
            lines.append(f"{e.element:<12}" + "".join(f"{float(v.sum()):>12.4g}" for v in values))
        return "\n".join(lines)

    def to_xarray(self) -> xr.Dataset:
        """Variables entering, absorbed, outside and leaving (W) over (element, ..., wavelength)."""
        import xarray as xr

        data = {}
        for name in ("entering", "absorbed", "outside", "leaving"):
            each = [getattr(e, name).detach().cpu() for e in self.entries]
            values = torch.stack(torch.broadcast_tensors(*each))  # light that is common to several devices
            lead = [f"batch_{i}" for i in range(values.ndim - 2)]
            data[name] = (["element", *lead, "wavelength"], values.numpy(), {"units": "W"})
        return xr.Dataset(data, coords={"element": [e.element for e in self.entries]})


def power(u: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Power [..., L] in W of a field [..., L, y, x] in sqrt(W)/m.

    Example:
        >>> power(torch.full((1, 4, 4), 2 + 0j), Grid(4, 0.5)).tolist()
        [16.0]
    """
    return irradiance(u).sum((-2, -1)) * grid.cell


def thin_entry(element: str, entering: torch.Tensor, leaving: torch.Tensor) -> Entry:
    """Entry of an element without length: what does not go on was absorbed."""
    entering, leaving = torch.broadcast_tensors(entering, leaving)
    return Entry(element, entering, entering - leaving, torch.zeros_like(entering), leaving)


def space_entry(element: str, entering: torch.Tensor, leaving: torch.Tensor) -> Entry:
    """Entry of free space, which absorbs nothing: what does not arrive in the window went beside it.

    Evanescent waves carry no power but count in the sum over the samples; their part is booked here too.
    """
    entering, leaving = torch.broadcast_tensors(entering, leaving)
    return Entry(element, entering, torch.zeros_like(entering), entering - leaving, leaving)
