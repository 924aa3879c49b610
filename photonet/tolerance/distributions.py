"""How an error is spread over devices: each law maps the unit interval to the error's value.

A law is used through its quantile function alone, so any sampler of the unit cube can drive it. A law of
your own needs a ``unit``, a ``ppf(u)`` that takes a float64 NumPy array and returns one of the same
shape, and a ``repr`` that tells all its parameters (a study is recognised by it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from ..checks import fraction, non_negative, positive, real
from ..errors import InvalidArgument

__all__ = [
    "Bernoulli",
    "Choice",
    "Distribution",
    "Fixed",
    "LogNormal",
    "Normal",
    "TruncatedNormal",
    "Uniform",
]

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@runtime_checkable
class Distribution(Protocol):
    """What a study asks of a law: its quantile function and the unit of what that returns."""

    @property
    def unit(self) -> str:
        """Unit of the values, for the labels of the result."""

    def ppf(self, u: Any) -> Any:
        """Value below which a fraction ``u`` of the devices lies."""


def _quantile(u: Array, rule: Callable[[np.ndarray], np.ndarray]) -> Array:
    """Check ``u`` and apply ``rule`` to it in float64; a tensor comes back as a tensor on its device."""
    points = np.asarray(u.detach().cpu() if isinstance(u, torch.Tensor) else u, dtype=np.float64)
    if not ((points >= 0) & (points <= 1)).all():  # also catches NaN
        raise InvalidArgument("u", "probabilities between 0 and 1", "values outside")
    values = np.asarray(rule(points), dtype=np.float64)
    if isinstance(u, torch.Tensor):
        return torch.from_numpy(values).to(u.device)
    return values


def _set(law: Any, **values: Any) -> None:
    """Store the checked values of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(law, name, value)


@dataclass(frozen=True)
class Normal:
    """Gaussian law.

    Args:
        mean: centre, in ``unit``.
        sigma: standard deviation, in ``unit``; 0 means no error at all.
        unit: unit of the values, for the labels of the result.

    Raises:
        InvalidArgument: a value that is not finite, or a negative ``sigma``.

    Example:
        >>> etch = Normal(0.0, 5e-9, unit="m")
        >>> etch.ppf(np.array([0.5, 0.975])).round(10)
        array([0.0e+00, 9.8e-09])
    """

    mean: float
    sigma: float
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _set(self, mean=real("mean", self.mean), sigma=non_negative("sigma", self.sigma))

    def ppf(self, u: Array) -> Array:
        """Quantiles [...] in ``unit`` of the probabilities ``u`` [...]: mean + sigma * probit(u)."""
        from scipy.special import ndtri

        if self.sigma == 0:  # probit is infinite at 0 and 1, and 0 * inf is NaN
            return _quantile(u, lambda p: np.full(p.shape, self.mean))
        return _quantile(u, lambda p: self.mean + self.sigma * ndtri(p))


@dataclass(frozen=True)
class Uniform:
    """Every value between ``low`` and ``high`` equally likely.

    Args:
        low: lower end, in ``unit``.
        high: upper end, in ``unit``; not below ``low``.
        unit: unit of the values, for the labels of the result.

    Raises:
        InvalidArgument: a value that is not finite, or ``high`` below ``low``.

    Example:
        >>> Uniform(-1.0, 3.0).ppf(np.array([0.25]))
        array([0.])
    """

    low: float
    high: float
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _set(self, low=real("low", self.low), high=real("high", self.high))
        if self.high < self.low:
            raise InvalidArgument("high", f"a number of at least low = {self.low:g}", self.high)

    def ppf(self, u: Array) -> Array:
        """Quantiles [...] in ``unit`` of the probabilities ``u`` [...]."""
        # not low + (high - low) p, which overflows and can leave the interval by a rounding
        return _quantile(u, lambda p: self.low * (1 - p) + self.high * p)


@dataclass(frozen=True)
class TruncatedNormal:
    """Gaussian law of which only the part between ``low`` and ``high`` occurs (parts outside are rejected).

    Args:
        mean: centre of the untruncated law, in ``unit``.
        sigma: standard deviation of the untruncated law, in ``unit``; positive.
        low: lowest value that passes inspection, in ``unit``.
        high: highest value that passes inspection, in ``unit``; above ``low``.
        unit: unit of the values, for the labels of the result.

    Raises:
        InvalidArgument: a value that is not finite, ``sigma`` not positive, or an empty interval.

    Example:
        >>> TruncatedNormal(0.0, 1.0, -2.0, 2.0).ppf(np.array([0.0, 0.25, 1.0])).round(4)
        array([-2.    , -0.6391,  2.    ])
    """

    mean: float
    sigma: float
    low: float
    high: float
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _set(self, mean=real("mean", self.mean), sigma=positive("sigma", self.sigma))
        _set(self, low=real("low", self.low), high=real("high", self.high))
        if self.high <= self.low:
            raise InvalidArgument("high", f"a number above low = {self.low:g}", self.high)

    def ppf(self, u: Array) -> Array:
        """Quantiles [...] in ``unit`` of the probabilities ``u`` [...], exact also far in a tail."""
        from scipy.stats import truncnorm

        ends = ((self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma)
        return _quantile(
            u,
            lambda p: np.clip(  # only against roundings: the law itself ends at low and high
                self.mean + self.sigma * truncnorm.ppf(p, *ends), self.low, self.high
            ),
        )


@dataclass(frozen=True)
class LogNormal:
    """A positive quantity whose logarithm is Gaussian (a gain, a roughness, a dose).

    Args:
        median: half of the devices lie below; positive, in ``unit``.
        sigma: standard deviation of the natural logarithm, without unit; 0.1 is about 10 %.
        unit: unit of the values, for the labels of the result.

    Raises:
        InvalidArgument: ``median`` not positive, ``sigma`` negative, or either not finite.

    Example:
        >>> LogNormal(2.0, 0.1).ppf(np.array([0.5]))
        array([2.])
    """

    median: float
    sigma: float
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _set(self, median=positive("median", self.median), sigma=non_negative("sigma", self.sigma))

    def ppf(self, u: Array) -> Array:
        """Quantiles [...] in ``unit`` of the probabilities ``u`` [...]: median * exp(sigma * probit(u))."""
        from scipy.special import ndtri

        if self.sigma == 0:
            return _quantile(u, lambda p: np.full(p.shape, self.median))
        return _quantile(u, lambda p: self.median * np.exp(self.sigma * ndtri(p)))


@dataclass(frozen=True)
class Choice:
    """One of a few values: process corners, suppliers, lots.

    Args:
        values: the values, in ``unit``. Their order is kept, so sort them if ranks shall mean something.
        weights: how often each occurs, in any scale; equally often if left out.
        unit: unit of the values, for the labels of the result.

    Raises:
        InvalidArgument: no value, one that is not finite, or weights that do not fit.

    Example:
        >>> Choice([1.0, 2.0, 4.0], weights=[1, 1, 2]).ppf(np.array([0.1, 0.4, 0.9]))
        array([1., 2., 4.])
    """

    values: Sequence[float]
    weights: Sequence[float] | None = None
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        values = tuple(real("values", v, "finite numbers") for v in self.values)
        weights = (1.0,) * len(values) if self.weights is None else self.weights
        weights = tuple(non_negative("weights", w) for w in weights)
        if not values:
            raise InvalidArgument("values", "at least one value", "none")
        if len(weights) != len(values):
            raise InvalidArgument("weights", f"{len(values)} weights, one a value", f"{len(weights)}")
        if sum(weights) <= 0:
            raise InvalidArgument("weights", "at least one positive weight", weights)
        _set(self, values=values, weights=weights)

    def ppf(self, u: Array) -> Array:
        """Values [...] in ``unit`` at the probabilities ``u`` [...]; a value of weight 0 never comes."""
        possible = [(v, w) for v, w in zip(self.values, self.weights or (), strict=True) if w > 0]
        values = np.array([v for v, _ in possible])
        shares = np.cumsum([w for _, w in possible])
        return _quantile(u, lambda p: values[np.searchsorted(shares[:-1] / shares[-1], p, side="right")])


@dataclass(frozen=True)
class Bernoulli:
    """1 with a given probability, else 0: a defect that is there or not.

    Args:
        probability: of the 1; between 0 and 1.
        unit: unit of the values, for the labels of the result.

    Raises:
        InvalidArgument: a probability outside [0, 1].

    Example:
        >>> Bernoulli(0.2).ppf(np.array([0.5, 0.9]))
        array([0., 1.])
    """

    probability: float
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _set(self, probability=fraction("probability", self.probability))

    def ppf(self, u: Array) -> Array:
        """0 or 1 [...] at the probabilities ``u`` [...]."""
        return _quantile(u, lambda p: (p > 1 - self.probability).astype(np.float64))


@dataclass(frozen=True)
class Fixed:
    """The same value for every device: switches one error off, or on, without touching the system.

    Args:
        value: in ``unit``.
        unit: unit of the value, for the labels of the result.

    Raises:
        InvalidArgument: a value that is not finite.

    Example:
        >>> Fixed(3.0).ppf(np.array([0.1, 0.9]))
        array([3., 3.])
    """

    value: float
    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _set(self, value=real("value", self.value))

    def ppf(self, u: Array) -> Array:
        """``value``, as often as there are probabilities ``u`` [...]."""
        return _quantile(u, lambda p: np.full(p.shape, self.value))
