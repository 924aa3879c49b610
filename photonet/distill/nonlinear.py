"""Label-free calibration of a response that bends: a polynomial of neighbours, then the pixels' gains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .calibrate import check_maps

__all__ = ["NonlinearMap", "fit_nonlinear_map"]

POWERS = (1, 2, 3, 5)
"""Of a feature: tanh is odd about its own working point, which is not zero, so the square is needed too."""

NEIGHBOURHOOD = 3
ROUNDS = 3
STRENGTHS = tuple(10.0**e for e in range(-8, 1))
"""Ridge strengths that generalised cross-validation chooses from, relative to the mean diagonal."""


LEAST = 1e-200
"""Variance that is left where the fit is perfect: of a smaller one the inverse, of all scenes, overflows."""


class NonlinearMap(nn.Module):
    r"""Measured feature maps to simulated ones, through a polynomial and a gain of each pixel.

    .. math:: s = G \odot \left(\sum_{p \in \{1, 2, 3, 5\}} W_p * (z / z_0)^p + b\right) + O

    It cannot be merged into a dense layer: it stays in front of the backend, with
    :math:`4 \cdot 9\, k\, c` products for each position.

    Args:
        unit: [k, 1, 1], the size :math:`z_0` of each measured channel.
        weight: [c, 4 k, 3, 3]; the powers are the slower axis.
        bias: [c].
        gain: [c, y, x].
        offset: [c, y, x].

    Shape:
        [n, k, y, x] -> [n, c, y, x].

    Example:
        >>> z = torch.rand(2, 1, 4, 4)
        >>> weight = torch.zeros(1, 4, 3, 3)
        >>> weight[0, 1, 1, 1] = 1.0
        >>> one = torch.ones(1, 4, 4)
        >>> square = NonlinearMap(torch.ones(1, 1, 1), weight, torch.zeros(1), one, 0 * one)
        >>> torch.allclose(square(z), z.square())
        True
    """

    unit: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor

    def __init__(
        self,
        unit: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        gain: torch.Tensor,
        offset: torch.Tensor,
    ) -> None:
        super().__init__()
        for name, value in (
            ("unit", unit), ("weight", weight), ("bias", bias), ("gain", gain), ("offset", offset)
        ):  # fmt: skip
            self.register_buffer(name, value)

    def forward(self, measured: torch.Tensor) -> torch.Tensor:
        """Simulated feature maps, as far as they can be known."""
        shared = F.conv2d(_powers(measured / self.unit), self.weight, self.bias, padding=NEIGHBOURHOOD // 2)
        return self.gain * shared + self.offset


def fit_nonlinear_map(measured: torch.Tensor, simulated: torch.Tensor) -> NonlinearMap:
    r"""Fit a `NonlinearMap`; labels are not used.

    Three rounds of two steps in turn. The weights, shared by all positions, by ridge regression, its strength
    by generalised cross-validation (Golub, Heath, Wahba, Technometrics 21, 215, 1979). Then a gain and an
    offset of each pixel, shrunk towards 1 and 0 by empirical Bayes: the spread of the pixels is what their
    estimates scatter beyond their standard errors (DerSimonian, Laird, Control. Clin. Trials 7, 177, 1986),
    so that pixels which saw little keep what all share. Solved in float64.

    Args:
        measured: [n, k, y, x], n >= 2.
        simulated: [n, c, y, x] of the same scenes.

    Raises:
        GridMismatch: different scenes or sizes.
        InvalidArgument: fewer than two scenes, or values that are not finite.

    Example:
        >>> simulated = torch.rand(40, 2, 7, 7)
        >>> measured = torch.tanh(1.5 * simulated)
        >>> error = fit_nonlinear_map(measured, simulated)(measured) - simulated
        >>> float(error.std() / simulated.std()) < 0.02
        True
    """
    check_maps(measured, simulated)
    seen, wanted = measured.double(), simulated.double()
    unit = seen.abs().amax(dim=(0, 2, 3), keepdim=True)[0]
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    ridge = _Ridge(_powers(seen / unit))
    gain, offset = torch.ones_like(wanted[0]), torch.zeros_like(wanted[0])
    for _ in range(ROUNDS):
        solution = ridge.solve((wanted - offset) / gain)
        shared = ridge.apply(solution, wanted)
        gain, offset = _pixels(shared, wanted)
    outputs, inputs = wanted.shape[1], len(POWERS) * seen.shape[1]
    weight = solution[:-1].T.reshape(outputs, inputs, NEIGHBOURHOOD, NEIGHBOURHOOD)
    return NonlinearMap(unit, weight, solution[-1], gain, offset).to(measured)


def _powers(z: torch.Tensor) -> torch.Tensor:
    return torch.cat([z**p for p in POWERS], dim=1)


class _Ridge:
    """Ridge regression of several targets on the same patches, by generalised cross-validation."""

    def __init__(self, terms: torch.Tensor) -> None:
        patches = F.unfold(terms, NEIGHBOURHOOD, padding=NEIGHBOURHOOD // 2).transpose(1, 2)
        self.rows = patches.flatten(0, 1)  # [n positions, features]
        self.mean = self.rows.mean(0)
        centred = self.rows - self.mean
        power, self.basis = torch.linalg.eigh(centred.T @ centred)
        self.power = power.clamp_min(0)
        self.centred = centred

    def solve(self, targets: torch.Tensor) -> torch.Tensor:
        """[features + 1, c], the intercept last, for targets [n, c, y, x]."""
        flat = targets.flatten(2).transpose(1, 2).flatten(0, 1)
        mean = flat.mean(0)
        along = self.basis.T @ (self.centred.T @ (flat - mean))
        total, count = (flat - mean).square().sum(), len(flat)
        found, least = torch.zeros_like(along), torch.inf
        for strength in STRENGTHS:
            damped = self.power + (strength * self.power.mean()).clamp_min(torch.finfo(flat.dtype).tiny)
            weight = along / damped[:, None]
            left = total - 2 * (weight * along).sum() + (self.power[:, None] * weight.square()).sum()
            freedom = 1 + (self.power / damped).sum()
            score = float(left / (1 - freedom / count).clamp_min(1e-6).square())
            if score < least:
                found, least = weight, score
        weight = self.basis @ found
        return torch.cat([weight, (mean - self.mean @ weight)[None]])

    def apply(self, solution: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """The fitted values [n, c, y, x]."""
        values = self.rows @ solution[:-1] + solution[-1]
        return values.reshape(len(like), -1, like.shape[1]).transpose(1, 2).reshape(like.shape)


def _pixels(shared: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and offset [c, y, x] from the shared map's values to the wanted ones, shrunk to 1 and 0."""
    centre_x, centre_y = shared.mean(0), wanted.mean(0)
    x, y = shared - centre_x, wanted - centre_y
    noise = (wanted - shared).square().mean(dim=(0, 2, 3), keepdim=True)[0]
    noise = noise.clamp_min(LEAST)
    power = x.square().sum(0)
    slope = (x * (y - x)).sum(0) / power.clamp_min(torch.finfo(power.dtype).tiny)  # gain - 1
    gain = 1 + _shrunk(slope, power / noise)
    offset = _shrunk(centre_y - gain * centre_x, (len(shared) / noise).expand_as(gain))
    return gain.clamp(0.2, 5.0), offset


def _shrunk(estimate: torch.Tensor, precision: torch.Tensor) -> torch.Tensor:
    """Posterior means of quantities [c, y, x] around 0, from estimates with these precisions."""
    excess = (precision * estimate.square()).sum(dim=(-2, -1), keepdim=True) - estimate[0].numel()
    total = precision.sum(dim=(-2, -1), keepdim=True)
    spread = excess.clamp_min(0) / total.clamp_min(torch.finfo(total.dtype).tiny)
    return estimate * spread * precision / (1 + spread * precision)
