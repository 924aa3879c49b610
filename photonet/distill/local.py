"""Label-free calibration of pixels that differ: at each position a small matrix besides what all share."""

from __future__ import annotations

import torch
from torch import nn

from ..measured.ridge import Moments, ridge
from .calibrate import FOLDS, check_maps, fit_ridge_map

__all__ = ["LocalMap", "fit_local_map"]


class LocalMap(nn.Module):
    r"""Measured feature maps to simulated ones, with a matrix and a constant of each position p.

    .. math:: s_p = (S * m)_p + V_p (S * m)_p + W_p m_p + b_p

    Args:
        shared: the convolution S with its own constant.
        weight: [c, c + k, y, x], V beside W.
        offset: [c, y, x].

    Shape:
        [n, k, y, x] -> [n, c, y, x].

    Example:
        >>> shared = nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)
        >>> undone = torch.tensor([-1.0, 2.0])[None, :, None, None].expand(1, 2, 4, 4)
        >>> twice, maps = LocalMap(shared, undone, torch.zeros(1, 4, 4)), torch.rand(3, 1, 4, 4)
        >>> torch.allclose(twice(maps), 2 * maps, atol=1e-6)
        True
    """

    weight: torch.Tensor
    offset: torch.Tensor

    def __init__(self, shared: nn.Conv2d, weight: torch.Tensor, offset: torch.Tensor) -> None:
        super().__init__()
        self.shared = shared
        self.register_buffer("weight", weight)
        self.register_buffer("offset", offset)

    def forward(self, measured: torch.Tensor) -> torch.Tensor:
        """Simulated feature maps, as far as they can be known."""
        first: torch.Tensor = self.shared(measured)
        own = torch.einsum("cjyx,njyx->ncyx", self.weight, torch.cat([first, measured], dim=1))
        return first + own + self.offset


def fit_local_map(measured: torch.Tensor, simulated: torch.Tensor) -> LocalMap:
    r"""Fit a `LocalMap`; labels are not used.

    The shared map of `fit_ridge_map`, then at each position a ridge regression of what it leaves on the
    channels there, as they were measured and as the shared map has them, and a constant:

    .. math:: \min \sum \| s_p - (S * m)_p - V_p (S * m)_p - W_p m_p - b_p \|^2
              + \lambda (\| V_p \|^2 + \| W_p \|^2 + \| b_p \|^2 / z_0^2)

    with the root mean square :math:`z_0` of all channels, so a position that saw little keeps what all
    share. One :math:`\lambda` for all positions, chosen by 5-fold cross-validation over scenes; an infinite
    one is among the choices. Vignetting and unequal pixels are undone by c + k + 1 numbers for each output,
    where a map of all features to all has k y x of them to find. Solved in float64, all positions together.

    Args:
        measured: [n, k, y, x], n >= 2.
        simulated: [n, c, y, x] of the same scenes.

    Raises:
        GridMismatch: different scenes or sizes.
        InvalidArgument: fewer than two scenes, or values that are not finite.

    Example:
        >>> simulated = torch.rand(40, 2, 7, 7)
        >>> dimmed = torch.linspace(0.3, 1.0, 49).reshape(7, 7) * simulated
        >>> error = fit_local_map(dimmed, simulated)(dimmed) - simulated
        >>> float(error.std() / simulated.std()) < 0.01
        True
    """
    check_maps(measured, simulated)
    shared = fit_ridge_map(measured, simulated)
    with torch.no_grad():
        first = shared(measured).double()
    seen = torch.cat([first, measured.double()], dim=1)
    size = seen.square().mean().sqrt()
    rows = torch.cat([seen, size.expand_as(seen[:, :1])], dim=1)
    left = simulated.double() - first
    a, b = (maps.flatten(2).permute(2, 0, 1) for maps in (rows, left))  # [positions, n, channels]

    folds = min(FOLDS, len(measured))
    moments = [Moments.of(a[:, fold::folds], b[:, fold::folds]) for fold in range(folds)]
    weight = ridge(moments, torch.zeros_like(moments[0].right)).weight
    own = weight.permute(2, 1, 0).unflatten(2, measured.shape[-2:])  # [c, c + k + 1, y, x]
    return LocalMap(shared, own[:, :-1].to(measured), (size * own[:, -1]).to(measured))
