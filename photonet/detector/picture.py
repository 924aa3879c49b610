"""From irradiance on a window to the camera's picture, with axes, units and provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..grid import Grid

if TYPE_CHECKING:
    import xarray as xr

    from .camera import Detector

__all__ = ["record"]


def record(
    irradiance: torch.Tensor,
    grid: Grid,
    wavelength: torch.Tensor,
    detector: Detector,
    seed: int | None,
    attrs: dict[str, Any],
) -> xr.DataArray:
    """The camera's picture in DN on as many whole pixels as the window holds, around its middle.

    Args:
        irradiance: [..., L, y, x] in W/m^2 on ``grid``.
        grid: of the irradiance.
        wavelength: [L] in m.
        detector: the camera.
        seed: of its fixed pattern and of the exposure, which share no numbers.
        attrs: provenance, to be kept with the picture.

    Returns:
        DN, with axes (y, x) in m.

    Raises:
        InvalidArgument: pixels larger than the window, or no seed.

    Example:
        >>> from photonet import Detector
        >>> light = torch.full((1, 8, 8), 0.05)
        >>> record(light, Grid(8, 2e-6), torch.tensor([633e-9]), Detector(pitch=4e-6), 0, {}).shape
        (4, 4)
    """
    import xarray as xr

    shape = tuple(int(e / p * (1 + 1e-9)) for e, p in zip(grid.extent, detector.pitch, strict=True))
    if min(shape) < 1:
        window = " x ".join(f"{e:g}" for e in grid.extent)
        raise InvalidArgument("detector", f"pixels within the window of {window} m", f"{detector.pitch} m")
    pixels = Grid(shape, detector.pitch, _centred(grid, shape, detector.pitch))
    collected = detector.sample(irradiance, grid, shape, pixels.centre)
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
