"""Where a real pixel leaves the linear model: crosstalk of charge, saturation, nonlinear conversion."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument
from ..precision import full_precision

__all__ = ["Response", "clean_crosstalk", "clean_response", "convert", "fill_well", "spread"]

Response = tuple[float, ...] | tuple[tuple[float, float], ...]
"""Coefficients of a polynomial, or rows (charge, response), all relative to the full well."""

GRID = torch.linspace(0, 1, 257, dtype=torch.float64)


def clean_crosstalk(value: Any) -> tuple[tuple[float, ...], ...]:
    """The kernel of charge crosstalk: odd sides, nothing negative, sum 1.

    One number c is the share of a pixel's charge that its four neighbours get, a quarter each.
    """
    if not isinstance(value, (list, tuple)):
        c = checks.fraction("crosstalk", value)
        return ((0.0, c / 4, 0.0), (c / 4, 1 - c, c / 4), (0.0, c / 4, 0.0)) if c else ((1.0,),)
    if not value or not all(isinstance(row, (list, tuple)) and len(row) == len(value[0]) for row in value):
        raise InvalidArgument("crosstalk", "a fraction, or rows of equal length", value)
    rows = tuple(tuple(checks.non_negative("crosstalk", v) for v in row) for row in value)
    if len(rows) % 2 == 0 or len(rows[0]) % 2 == 0:
        raise InvalidArgument("crosstalk", "a kernel with odd sides", f"{len(rows)} x {len(rows[0])}")
    total = sum(map(sum, rows))
    if abs(total - 1) > 1e-6:
        raise InvalidArgument("crosstalk", "a kernel with sum 1 (charge is moved, not made)", total)
    return rows


def clean_response(value: Any) -> Response:
    """A conversion from charge to signal that rises up to the full well."""
    if not isinstance(value, (list, tuple)):
        raise InvalidArgument("response", "coefficients, or rows (charge, response)", type(value).__name__)
    clean: Response
    if value and isinstance(value[0], (list, tuple)):
        if not all(isinstance(row, (list, tuple)) and len(row) == 2 for row in value) or len(value) < 2:
            raise InvalidArgument("response", "two or more rows (charge, response)", value)
        clean = tuple((checks.real("response", q), checks.real("response", r)) for q, r in value)
        if clean[0] != (0.0, 0.0) or clean[-1][0] != 1.0:
            raise InvalidArgument("response", "rows from (0, 0) to a charge of 1, the full well", value)
        if any(b[0] <= a[0] for a, b in pairwise(clean)):
            raise InvalidArgument("response", "rows with rising charge", value)
    else:
        clean = tuple(checks.real("response", c) for c in value)
    if bool((convert(GRID, 1.0, clean).diff() <= 0).any()):
        raise InvalidArgument("response", "a response that rises up to the full well", value)
    return clean


def spread(electrons: torch.Tensor, kernel: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    """Charge that diffuses to neighbours before it is collected: convolution of the mean.

    Electrons wander one by one, so the counts stay independent Poisson draws, of the convolved mean.
    What leaves the frame is lost.

    Args:
        electrons: [..., y, x] mean electrons.
        kernel: share of the charge that arrives at each offset (y, x), the middle being the pixel itself.

    Example:
        >>> point = torch.zeros(3, 3); point[1, 1] = 100.0
        >>> spread(point, clean_crosstalk(0.04))[1].tolist()
        [1.0, 96.0, 1.0]
    """
    if kernel == ((1.0,),):
        return electrons
    weight = torch.tensor(kernel, dtype=electrons.dtype, device=electrons.device).flip(0, 1)
    planes = electrons.reshape(-1, 1, *electrons.shape[-2:])
    with full_precision(planes):
        moved = torch.nn.functional.conv2d(
            planes, weight[None, None], padding=(len(kernel) // 2, len(kernel[0]) // 2)
        )
    return moved.reshape(electrons.shape)


def fill_well(charge: torch.Tensor, full_well: float, softness: float) -> torch.Tensor:
    """Charge that a pixel keeps: all up to the full well, or approaching it softly.

    With softness s the hard minimum becomes ``W - s W ln(1 + exp((W - q) / (s W)))``, W being the full
    well: the charge lost at W itself is s W ln 2. The gradient falls from 1 to 0 over about s W.

    Args:
        charge: [...] in electrons.
        full_well: W in electrons.
        softness: s relative to W; 0 is the hard minimum.

    Example:
        >>> q = torch.tensor([0.0, 500.0, 1000.0, 3000.0])
        >>> fill_well(q, 1000.0, 0.0).tolist(), fill_well(q, 1000.0, 0.05).round().tolist()
        ([0.0, 500.0, 1000.0, 1000.0], [0.0, 500.0, 965.0, 1000.0])
    """
    if softness == 0:
        return charge.clamp(max=full_well)
    width = softness * full_well
    return full_well - width * torch.nn.functional.softplus((full_well - charge) / width)


def convert(charge: torch.Tensor, full_well: float, response: Response) -> torch.Tensor:
    """Signal of a charge, in electrons that would give it in a linear camera.

    Coefficients (c1, c2, ...) mean ``q (1 + c1 (q/W) + c2 (q/W)^2 + ...)``, so that the system gain stays
    the slope at low signal; a table is interpolated linearly. W is the full well.

    Args:
        charge: [...] in electrons.
        full_well: W in electrons.
        response: coefficients or table, relative to W.

    Example:
        >>> convert(torch.tensor([0.0, 500.0, 1000.0]), 1000.0, (-0.02,)).tolist()
        [0.0, 495.0, 980.0]
    """
    if not response:
        return charge
    share = charge / full_well
    if not isinstance(response[0], tuple):
        factor = torch.zeros_like(share)
        for c in reversed(response):
            factor = (factor + c) * share
        return charge * (1 + factor)
    at, values = torch.tensor(response, dtype=share.dtype, device=share.device).T.contiguous()
    right = torch.searchsorted(at, share.detach().contiguous()).clamp(1, len(at) - 1)
    slope = (values[right] - values[right - 1]) / (at[right] - at[right - 1])
    return full_well * (values[right - 1] + (share - at[right - 1]) * slope)
