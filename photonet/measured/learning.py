r"""Learning curves with honest bands: what a few scored splits of a small set say about larger ones.

The model falls short of its limit a by less and less,

.. math:: A(n) = a - b\, e^{-c\, (x^\lambda - 1) / \lambda}, \quad x = n / n_1,

with n_1 the smallest size that was tried: the power law :math:`b x^{-c}` for :math:`\lambda \to 0`, an
exponential for :math:`\lambda = 1`, stretched ones between (the exponent is the transform of Box and Cox,
J. R. Stat. Soc. B 26, 211, 1964). Its parameters have wide priors; what is known of them comes from the mean
scores at a few sizes, whose errors are common to all sizes, as the same few pictures judge all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Curves", "fit_curves"]

BOOTSTRAPS = 1000
PROPOSALS = 40_000
DRAWS = 4000

RATE = (math.log(0.5), 1.0)
"""Prior of log c: mean and standard deviation; c from 0.1 to 2.6 with 90 %. Lambda is uniform in (0, 1.5)."""

STEEPEST = 1.5
"""Largest lambda: above 1 the curve rises slowly at first."""

MISFIT = 0.01
"""Standard deviation of a real curve about the model, on the scale of arcsin sqrt A."""


@dataclass(frozen=True)
class Curves:
    """Draws from what is known of a learning curve.

    Args:
        size: n_1.
        a, b, c, power: parameters of each draw, ``power`` being lambda, float64 [draws].
        luck: variance of the accuracy between training sets of one sample; that of n is n times smaller.
        noise: standard normal numbers, one per draw.
    """

    size: int
    a: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor
    power: torch.Tensor
    luck: float
    noise: torch.Tensor

    def expected(self, n: torch.Tensor) -> torch.Tensor:
        """Mean accuracy over training sets of n samples, [draws, len(n)]."""
        x = n.double() / self.size
        return _law(x, *(one[:, None] for one in (self.a, self.b, self.c, self.power)))

    def single(self, n: torch.Tensor) -> torch.Tensor:
        """Accuracy after one training set of n samples, [draws, len(n)]."""
        luck = (self.luck / n.double()).sqrt() * self.noise[:, None]
        return (self.expected(n) + luck).clamp(0, 1)

    def needed(self, accuracy: float) -> torch.Tensor:
        """Samples from which on the mean accuracy is reached, [draws]; infinite where it never is."""
        short = self.a - accuracy
        way = (self.b / short.clamp_min(1e-300)).log() / self.c
        x = (1 + self.power * way).clamp_min(0) ** (1 / self.power)
        return torch.where(short > 0, self.size * x, torch.inf)


def _law(
    x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, power: torch.Tensor
) -> torch.Tensor:
    return a - b * torch.exp(-c * (x**power - 1) / power)


def fit_curves(
    sizes: torch.Tensor,
    scores: torch.Tensor,
    generator: torch.Generator,
    control: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[Curves, torch.Tensor]:
    r"""Learn a curve from scored splits.

    1. The mean score of each size, and the covariance of these means, by the Bayesian bootstrap (Rubin, Ann.
       Stat. 9, 130, 1981) over pictures and over splits together, with half a right and half a wrong picture
       added: for one size that is the Jeffreys interval of a proportion. With a control, its mean score is
       bootstrapped along (a quarter of a picture is added for each pair of answers), and by as much as it is
       off its true mean, times the regression on it, the others are put right.
    2. On the scale of arcsin sqrt, where a proportion's variance is constant, the means are normal with that
       covariance, plus a misfit of the law.
    3. Draws from wide priors (a, b and lambda flat, log c normal) are weighted by this likelihood and
       resampled.

    Args:
        sizes: training samples, increasing, [s].
        scores: of each picture in [0, 1], float64 [s, splits, pictures], NaN where the picture was not
            held out. Every size needs some picture held out.
        generator: of all random numbers.
        control: scores of the same pictures, [pictures], NaN where unknown, by something whose mean score is
            known better, and its scores of other pictures, [others].

    Returns:
        The curves, and the bootstrapped mean scores [bootstraps, s].
    """
    sizes, held = sizes.double(), ~scores.isnan()
    values = scores.nan_to_num(0.0)
    doubt = torch.tensor([[1.0], [0.0]])
    if control is None:
        y = _bootstrap(values, held, doubt.expand(2, len(sizes)), generator)
    else:
        own, other = (one.double().expand(1, 1, -1) for one in control)
        own = own.expand(1, *values.shape[1:])
        both = torch.cat([values, own.nan_to_num(0.0)])
        every = torch.cat([held, own.isfinite()])
        either = torch.stack([torch.tensor([a] * len(sizes) + [b]) for a in (0.0, 1.0) for b in (0.0, 1.0)])
        y = _bootstrap(both, every, either, generator)
        true = _bootstrap(other, torch.ones_like(other, dtype=torch.bool), doubt, generator)
        y, reference = y[:, :-1], y[:, -1:]
        off = reference - reference.mean()
        y = y - (off * y).mean(0) / off.square().mean() * (reference - true)
    at = y.mean(0)
    covariance = torch.cov(y.T).reshape(len(sizes), len(sizes))
    covariance = covariance + MISFIT**2 * torch.eye(len(sizes), dtype=y.dtype)

    wide = 6 * covariance.diagonal().sqrt()
    lowest = ((at - wide).clamp(0, math.pi / 2).sin() ** 2).tolist()
    uniform = torch.rand(3, PROPOSALS, generator=generator, dtype=torch.float64)
    a = max(lowest) + (1 - max(lowest)) * uniform[0]
    b = (a - lowest[0]) * uniform[1]
    c = torch.exp(RATE[0] + RATE[1] * torch.randn(PROPOSALS, generator=generator, dtype=torch.float64))
    power = STEEPEST * uniform[2].clamp_min(1e-3)
    curve = _law(sizes / sizes[0], *(one[:, None] for one in (a, b, c, power)))
    missed = curve.clamp(0, 1).sqrt().asin() - at
    cost = (missed * torch.linalg.solve(covariance, missed.T).T).sum(1) / 2
    weight = torch.exp(cost.min() - cost) * (a - lowest[0])  # the proposal of b was denser where a is small
    steps = (torch.arange(DRAWS) + torch.rand(1, generator=generator)).double() / DRAWS
    ladder = weight.cumsum(0) / weight.sum()
    chosen = torch.searchsorted(ladder, steps).clamp_max(PROPOSALS - 1)
    noise = torch.randn(DRAWS, generator=generator, dtype=torch.float64)
    a, b, c, power = (one[chosen] for one in (a, b, c, power))
    means = y.clamp(0, math.pi / 2).sin().square()
    return Curves(int(sizes[0]), a, b, c, power, _luck(sizes, values, held), noise), means


def _bootstrap(
    values: torch.Tensor, held: torch.Tensor, extra: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Mean scores [bootstraps, s] as angles, with random weights of the splits and of the pictures.

    The pictures ``extra`` [e, s] share the weight of one, so that nothing is ever certain.
    """
    random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    _, splits, pictures = values.shape
    of_splits = torch.from_numpy(random.exponential(size=(BOOTSTRAPS, splits)))
    total = torch.einsum("br,sri->bsi", of_splits, values)
    count = torch.einsum("br,sri->bsi", of_splits, held.double())
    seen = held.any(1)  # [s, i]
    score = total / torch.where(seen, count, 1.0)
    weight = torch.from_numpy(random.exponential(size=(BOOTSTRAPS, 1, pictures))) * seen
    doubt = torch.from_numpy(random.gamma(1 / len(extra), size=(BOOTSTRAPS, len(extra))))
    mean = ((weight * score).sum(2) + doubt @ extra.double()) / (weight.sum(2) + doubt.sum(1, keepdim=True))
    return mean.clamp(0, 1).sqrt().asin()


def _luck(sizes: torch.Tensor, values: torch.Tensor, held: torch.Tensor) -> float:
    """Variance between training sets times their size: the scatter of splits that pictures do not explain."""
    count = held.sum(2).double()  # [s, splits]
    mean = values.sum(2) / count
    inside = (values.square().sum(2) / count - mean.square()) / (count - 1).clamp_min(1)
    excess = mean.var(1) - inside.mean(1)
    return max(0.0, float((excess * sizes).mean()))
