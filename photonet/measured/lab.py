"""What a bench does to a picture between the optic and the pixel: geometry, stray light, response, drift.

Pure functions; `photonet.measured.Device` composes them, `photonet.measured.register` inverts the geometry.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = [
    "b_spline",
    "cos4_falloff",
    "laser_power",
    "soft_saturation",
    "spline_taps",
    "spline_through",
    "warp",
]

HOUR = 3600.0


def warp(
    images: torch.Tensor, rotation: Any = 0.0, scale: Any = 0.0, shift_y: Any = 0.0, shift_x: Any = 0.0
) -> torch.Tensor:
    r"""Rotate, enlarge and displace pictures on the sensor.

    What was at :math:`r` about the axis arrives at :math:`(1 + s) R(\varphi)\, r + t`; the irradiance falls
    by :math:`(1 + s)^2`, so that the light is kept. Between samples a cubic spline through them (Unser,
    IEEE Signal Process. Mag. 16(6), 22, 1999), darkness outside. Cubic convolution would be cheaper, but
    moves a picture by up to 0.05 samples less than it is told.

    Args:
        images: real [..., y, x]; the axis is sample (y // 2, x // 2).
        rotation: angle in rad, positive from +x to +y; a number or a 0-d tensor, as the other parameters.
        scale: relative enlargement s, above -1.
        shift_y: displacement in samples.
        shift_x: displacement in samples.

    Returns:
        [..., y, x]; differentiable in the pictures and in the parameters.

    Raises:
        InvalidArgument: fewer than two axes, one without samples, or a scale of -1 or below.

    Example:
        >>> import math
        >>> picture = torch.zeros(1, 9, 9, dtype=torch.float64)
        >>> picture[0, 4, 6] = 1.0
        >>> round(warp(picture, rotation=math.pi / 2)[0, 6, 4].item(), 9)
        1.0
    """
    if images.ndim < 2 or 0 in images.shape[-2:] or not images.is_floating_point():
        raise InvalidArgument("images", "real pictures [..., y, x]", f"{images.dtype} {tuple(images.shape)}")
    values = [
        torch.as_tensor(v, dtype=images.dtype, device=images.device)
        for v in (rotation, scale, shift_y, shift_x)
    ]
    if not bool(values[1] > -1):
        raise InvalidArgument("scale", "a relative enlargement above -1", float(values[1]))
    height, width = images.shape[-2:]
    rows, of_rows, columns, of_columns = spline_taps((height, width), *values)
    # samples first: the pictures' values at a place lie side by side, which makes gathering cheap
    samples = spline_through(images).reshape(-1, height * width).T.contiguous()
    out = torch.zeros_like(samples)
    for row, of_row in zip(rows, of_rows, strict=True):
        for column, of_column in zip(columns, of_columns, strict=True):
            share = (of_row * of_column).reshape(-1, 1)
            out = torch.addcmul(out, share, samples.index_select(0, (row + column).flatten()))
    return out.T.reshape(images.shape)


def spline_taps(
    shape: tuple[int, int],
    rotation: torch.Tensor,
    scale: torch.Tensor,
    shift_y: torch.Tensor,
    shift_x: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where `warp` finds each sample's light: four rows and four columns of the spline, and their weights.

    Args:
        shape: (y, x) of the pictures.
        rotation, scale, shift_y, shift_x: of `warp`, 0-d tensors.

    Returns:
        For each sample, [4, y, x]: the first place of a row in the flattened pictures, and its weight; the
        place of a column in its row, and its weight. Products of two weights keep the light.

    Example:
        >>> rows, _, columns, weights = spline_taps((5, 5), *torch.zeros(4))
        >>> rows[:, 2, 2].tolist(), columns[:, 2, 2].tolist(), weights[:, 2, 2].mul(6).round().tolist()
        ([5, 10, 15, 20], [1, 2, 3, 4], [1.0, 4.0, 1.0, 0.0])
    """
    height, width = shape
    y = torch.arange(height).to(shift_y)[:, None] - height // 2 - shift_y
    x = torch.arange(width).to(shift_x)[None, :] - width // 2 - shift_x
    cos, sin = torch.cos(rotation) / (1 + scale), torch.sin(rotation) / (1 + scale)
    from_y, from_x = cos * y - sin * x + height // 2, cos * x + sin * y + width // 2
    taps = torch.arange(-1, 3).to(from_y)[:, None, None]
    row, column = from_y.detach().floor() + taps, from_x.detach().floor() + taps
    of_row = b_spline(from_y - row) * ((row >= 0) & (row < height)) / (1 + scale).square()
    of_column = b_spline(from_x - column) * ((column >= 0) & (column < width))
    rows, columns = row.clamp(0, height - 1).long() * width, column.clamp(0, width - 1).long()
    return rows, of_row, columns, of_column


def b_spline(t: torch.Tensor) -> torch.Tensor:
    """The cubic B-spline of unit knots, which is zero from |t| = 2 on.

    Args:
        t: positions [...] in knots, |t| at most 2.

    Example:
        >>> b_spline(torch.tensor([0.0, 1.0, 2.0])).mul(6).round().tolist()
        [4.0, 1.0, 0.0]
    """
    t = t.abs()
    return torch.where(t < 1, 2 / 3 - t.square() * (1 - t / 2), (2 - t).clamp(min=0) ** 3 / 6)


def spline_through(images: torch.Tensor) -> torch.Tensor:
    """Coefficients of the cubic spline that goes through the samples of pictures.

    Args:
        images: [..., y, x].

    Returns:
        [..., y, x]: the weight of the B-spline at each sample.

    Example:
        >>> weights = spline_through(torch.ones(1, 15, 15, dtype=torch.float64))
        >>> weights[0, 7, 6:9].mul(1000).round().tolist()  # far from the border splines add up to 1
        [1000.0, 1000.0, 1000.0]
    """
    height, width = (_through(n, images) for n in images.shape[-2:])
    return height @ images @ width


def _through(n: int, like: torch.Tensor) -> torch.Tensor:
    """The inverse of the values of n B-splines at their n centres: symmetric, its condition is 3 at most."""
    one = torch.eye(n, dtype=torch.float64)
    near = torch.ones(n - 1, dtype=torch.float64)
    inverse = torch.linalg.inv(2 / 3 * one + (near.diag(1) + near.diag(-1)) / 6)
    # it decays by 0.27 from sample to sample, down to numbers so small that processors are slow with them
    return inverse.where(inverse.abs() > 1e-20, 0.0).to(like)


def cos4_falloff(shape: tuple[int, int], loss: float) -> torch.Tensor:
    r"""Relative illumination of a sensor by a lens: the :math:`\cos^4` law.

    Args:
        shape: (y, x) samples.
        loss: fraction of the light that is missing in the corner, in [0, 1).

    Returns:
        float64 [y, x], 1 on the axis and 1 - ``loss`` at the corner that is farthest from it.

    Raises:
        InvalidArgument: a loss outside [0, 1).

    Example:
        >>> round(cos4_falloff((8, 8), 0.35)[0, 0].item(), 9)
        0.65
    """
    if not 0 <= checks.real("loss", loss) < 1:
        raise InvalidArgument("loss", "a fraction of at least 0 and below 1", loss)
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
    radius = y[:, None].square() + x[None, :].square()
    corner = max(float(radius.max()), 1.0)
    tan_squared = (1 - loss) ** -0.5 - 1  # of the corner's field angle
    return (1 + tan_squared * radius / corner) ** -2


def soft_saturation(light: torch.Tensor, saturation: float) -> torch.Tensor:
    r"""A response that bends: :math:`\tanh(\sigma x) / \sigma`, slope 1 in the dark.

    Args:
        light: [...], relative to white.
        saturation: sigma, white over the level where the response is flat; 0 is a linear response.
            The response never exceeds ``1 / saturation``.

    Example:
        >>> soft_saturation(torch.tensor([0.01, 10.0]), 2.0)
        tensor([0.0100, 0.5000])
    """
    if checks.non_negative("saturation", saturation) == 0:
        return light
    return torch.tanh(saturation * light) / saturation


def laser_power(time: torch.Tensor, drift: float) -> torch.Tensor:
    r"""Relative power of the laser, :math:`e^{d t}`.

    Args:
        time: in s since the bench was aligned.
        drift: d, relative change per hour.

    Example:
        >>> laser_power(torch.tensor([0.0, 3600.0]), -0.05)
        tensor([1.0000, 0.9512])
    """
    return torch.exp(time * (checks.real("drift", drift) / HOUR))
