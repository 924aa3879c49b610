"""What a bench does to a picture between the optic and the pixel: geometry, stray light, response, drift.

Pure functions; `photonet.measured.Device` composes them, `photonet.measured.register` inverts the geometry.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..errors import InvalidArgument

__all__ = ["b_spline", "cos4_falloff", "laser_power", "soft_saturation", "spline_samples", "warp"]

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
        InvalidArgument: fewer than two axes, or a scale of -1 or below.

    Example:
        >>> import math
        >>> picture = torch.zeros(1, 9, 9, dtype=torch.float64)
        >>> picture[0, 4, 6] = 1.0
        >>> round(warp(picture, rotation=math.pi / 2)[0, 6, 4].item(), 9)
        1.0
    """
    if images.ndim < 2 or not images.is_floating_point():
        raise InvalidArgument("images", "real pictures [..., y, x]", f"{images.dtype} {tuple(images.shape)}")
    values = [
        torch.as_tensor(v, dtype=images.dtype, device=images.device)
        for v in (rotation, scale, shift_y, shift_x)
    ]
    angle, enlargement, dy, dx = values
    if not bool(enlargement > -1):
        raise InvalidArgument("scale", "a relative enlargement above -1", float(enlargement))
    height, width = images.shape[-2:]
    y = torch.arange(height, dtype=images.dtype, device=images.device)[:, None] - height // 2 - dy
    x = torch.arange(width, dtype=images.dtype, device=images.device)[None, :] - width // 2 - dx
    cos, sin = torch.cos(angle) / (1 + enlargement), torch.sin(angle) / (1 + enlargement)
    # where the light of each sample came from
    from_y = cos * y - sin * x + height // 2
    from_x = cos * x + sin * y + width // 2
    return _spline(images, from_y, from_x) / (1 + enlargement).square()


def _spline(images: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Values of the cubic spline through pictures [..., v, u] at points [v, u]."""
    height, width = images.shape[-2:]
    coefficients = torch.linalg.solve(spline_samples(height, images), images)
    coefficients = torch.linalg.solve(spline_samples(width, images), coefficients.mT).mT
    flat = coefficients.flatten(-2)
    out = torch.zeros_like(images)
    low_y, low_x = y.detach().floor(), x.detach().floor()
    for i in range(-1, 3):
        row = (low_y + i).long()
        for j in range(-1, 3):
            column = (low_x + j).long()
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            weight = b_spline(y - low_y - i) * b_spline(x - low_x - j) * inside
            out = out + weight * flat[..., place.flatten()].reshape(images.shape)
    return out


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


def spline_samples(n: int, like: torch.Tensor) -> torch.Tensor:
    """Values of n B-splines at their n centres; solved for, they make a spline go through n samples.

    Args:
        n: how many.
        like: a tensor of the dtype and device wanted.

    Returns:
        [n, n], symmetric, three diagonals.

    Example:
        >>> spline_samples(2, torch.zeros(0)).mul(6).round().tolist()
        [[4.0, 1.0], [1.0, 4.0]]
    """
    one = torch.eye(n, dtype=like.dtype, device=like.device)
    near = torch.ones(n - 1, dtype=like.dtype, device=like.device)
    return 2 / 3 * one + (near.diag(1) + near.diag(-1)) / 6


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
