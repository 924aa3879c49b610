"""Ridge regression from sums alone, its strength chosen by cross-validation: for rows beyond memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import InvalidArgument

__all__ = ["Moments", "Ridge", "ridge"]

STRENGTHS = (0.0, *(10.0**e for e in range(-8, 2)), torch.inf)
"""Ridge strengths to choose from, relative to the mean diagonal; the last leaves the prior as it is."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the rows of a regression of [rows, b] on [rows, a]; they add up.

    Leading axes are regressions of their own, which share a strength.

    Attributes:
        gram: [..., a, a]; right: [..., a, b]; power: [..., b], sums of squares of what is predicted.
    """

    gram: torch.Tensor
    right: torch.Tensor
    power: torch.Tensor

    @classmethod
    def of(cls, design: torch.Tensor, target: torch.Tensor) -> Moments:
        """Those of some rows, in float64."""
        a, b = design.double(), target.double()
        return cls(a.mT @ a, a.mT @ b, b.square().sum(-2))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.right + other.right, self.power + other.power)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.gram - other.gram, self.right - other.right, self.power - other.power)

    def squares(self, weight: torch.Tensor) -> torch.Tensor:
        """Sums [..., b] of squared residuals of these rows with weights [..., a, b]."""
        cross = (weight * self.right).sum(-2)
        return (self.power - 2 * cross + (weight * (self.gram @ weight)).sum(-2)).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Ridge:
    """Weights [..., a, b], the strength that was chosen, and held-out sums of squares [..., b] with it."""

    weight: torch.Tensor
    strength: float
    held_out: torch.Tensor


def ridge(folds: Sequence[Moments], prior: torch.Tensor, free: int = 0) -> Ridge:
    r"""Least squares drawn towards a prior: :math:`\min_W \|A W - B\|^2 + \lambda \|W - W_0\|^2`.

    Args:
        folds: sums of two or more disjoint sets of rows.
        prior: W_0, [..., a, b].
        free: number of the last columns of A that are not drawn (an intercept).

    Raises:
        InvalidArgument: fewer than two folds.

    Example:
        >>> a = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
        >>> b = a @ torch.tensor([[2.0], [-1.0]])
        >>> found = ridge([Moments.of(a[:30], b[:30]), Moments.of(a[30:], b[30:])], torch.zeros(2, 1))
        >>> found.weight[:, 0].round(decimals=6).tolist(), float(found.held_out) < 1e-9
        ([2.0, -1.0], True)
    """
    if len(folds) < 2:
        raise InvalidArgument("folds", "two or more sets of rows", len(folds))
    whole = folds[0]
    for fold in folds[1:]:
        whole = whole + fold
    prior = prior.to(whole.gram)
    errors = dict.fromkeys(STRENGTHS, torch.zeros_like(whole.power))
    for fold in folds:
        others = _Solver(whole - fold, prior, free)
        for strength in STRENGTHS:
            errors[strength] = errors[strength] + fold.squares(others.weight(strength))
    best = min(errors, key=lambda strength: float(errors[strength].sum()))
    return Ridge(_Solver(whole, prior, free).weight(best), best, errors[best])


class _Solver:
    """One decomposition for all strengths: the free columns are eliminated first."""

    def __init__(self, moments: Moments, prior: torch.Tensor, free: int) -> None:
        cut = prior.shape[-2] - free
        gram, right, self.prior = moments.gram, moments.right, prior[..., :cut, :]
        self.inverse = torch.linalg.pinv(gram[..., cut:, cut:], hermitian=True)
        self.cross, self.right = gram[..., cut:, :cut], right[..., cut:, :]
        inner = gram[..., :cut, :cut] - self.cross.mT @ self.inverse @ self.cross
        power, self.basis = torch.linalg.eigh(inner)
        self.power = power.clamp_min(0)
        self.along = self.basis.mT @ (
            right[..., :cut, :] - self.cross.mT @ self.inverse @ self.right - inner @ self.prior
        )
        self.scale = float(gram.diagonal(dim1=-2, dim2=-1)[..., :cut].mean())

    def weight(self, strength: float) -> torch.Tensor:
        """[..., a, b]; directions that the rows do not see keep the prior."""
        if strength == torch.inf:
            drawn = self.prior
        else:
            damped = self.power + strength * self.scale
            least = damped.shape[-1] * torch.finfo(damped.dtype).eps * damped.amax(-1, keepdim=True)
            step = torch.where(damped > least, 1 / damped, 0.0)[..., None] * self.along
            drawn = self.prior + self.basis @ step
        return torch.cat([drawn, self.inverse @ (self.right - self.cross @ drawn)], dim=-2)
