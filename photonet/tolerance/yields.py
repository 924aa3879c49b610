"""The share of devices that work, and how well that share is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import choice, count, instance, lookup, real
from ..errors import InvalidArgument
from .samplers import SAMPLERS

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "AtLeast",
    "AtMost",
    "Limit",
    "Require",
    "check_require",
    "check_study",
    "measured",
    "of_role",
    "with_yield",
    "yield_curve",
    "yield_interval",
]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class AtMost:
    """A requirement on a metric of which less is better (an error, a loss): passes at ``value`` or below.

    Args:
        value: the largest value that passes, in the metric's unit.

    Raises:
        InvalidArgument: not a finite number.

    Example:
        >>> AtMost(0.05).passes(np.array([0.04, 0.06])).tolist()
        [True, False]
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", real("require", self.value))

    def passes(self, metric: np.ndarray) -> np.ndarray:
        """Which devices [...] pass."""
        return metric <= self.value


@dataclass(frozen=True)
class AtLeast:
    """A requirement on a metric of which more is better: passes at ``value`` or above.

    A bare number in ``require`` means this.

    Args:
        value: the least value that passes, in the metric's unit.

    Raises:
        InvalidArgument: not a finite number.

    Example:
        >>> AtLeast(0.9).passes(np.array([0.89, 0.9])).tolist()
        [False, True]
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", real("require", self.value))

    def passes(self, metric: np.ndarray) -> np.ndarray:
        """Which devices [...] pass."""
        return metric >= self.value


Limit = AtLeast | AtMost
BETTER: dict[str, type[AtLeast] | type[AtMost]] = {"more": AtLeast, "less": AtMost}
Require = float | Limit | Mapping[str, float | Limit]


def check_require(require: Require | None, sampler: str) -> dict[str, Limit]:
    """``require`` as a mapping from the metric's name to its limit; refuses a sampler without yield."""
    if require is None:
        return {}
    if lookup("sampler", sampler, SAMPLERS).design != "sample":
        good = ", ".join(name for name, entry in SAMPLERS.items() if entry.design == "sample")
        raise InvalidArgument(
            "require",
            "a sampler whose rows follow the errors' laws",
            repr(sampler),
            f"for a yield use {good}",
        )
    named: Mapping[str, Any] = require if isinstance(require, Mapping) else {"metric": require}
    if not named:
        raise InvalidArgument("require", "at least one metric", "an empty mapping")
    return {
        name: limit if isinstance(limit, AtLeast | AtMost) else AtLeast(limit)
        for name, limit in named.items()
    }


def yield_interval(passed: int, devices: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper-Pearson interval of a yield.

    It covers the true yield with at least the given probability, for any yield and any number of
    independent devices (Clopper and Pearson, Biometrika 26 (1934) 404). Latin hypercube and Sobol' rows are
    not independent but spread more evenly; for them the interval is wider than it need be.

    Args:
        passed: devices that work.
        devices: devices in all.
        confidence: probability that the interval covers the yield.

    Returns:
        Lower and upper end, between 0 and 1.

    Raises:
        InvalidArgument: more passed than there are, or a confidence outside (0, 1).

    Example:
        >>> low, high = yield_interval(64, 64)          # all pass: 0.025 ** (1 / 64)
        >>> f"{low:.4f} {high:.0f}"
        '0.9440 1'
    """
    from scipy.stats import binomtest

    devices, passed = count("devices", devices), count("passed", passed, 0)
    if passed > devices:
        raise InvalidArgument("passed", f"at most devices = {devices}", passed)
    if not 0 < real("confidence", confidence) < 1:
        raise InvalidArgument("confidence", "a probability between 0 and 1", confidence)
    interval = binomtest(passed, devices).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def with_yield(ds: xr.Dataset, require: Require) -> xr.Dataset:
    """The study with its yield for these requirements; earlier ones are replaced, nothing is run again.

    Args:
        ds: a finished study, as `tolerance` returns it.
        require: for each metric the least value that passes, or `AtMost` a value; a bare one if the metric
            has no name.

    Returns:
        A copy of ``ds`` with ``passes`` (bool [device]: meets every requirement) and, over
        ``requirement``, ``threshold``, ``yield``, ``yield_low`` and ``yield_high``: the share of devices
        that pass and its 95 % Clopper-Pearson interval (see `yield_interval`). The requirements are the
        metrics' names; of several, a last one, ``all``, counts the devices that meet all of them.

    Raises:
        UnknownName: a metric that was not measured.
        InvalidArgument: no study, an unfinished one, or one whose sampler does not follow the errors' laws.

    Example:
        >>> from photonet.tolerance import Uniform, tolerance
        >>> ds = tolerance(lambda d, s: d["x"], float, {"x": Uniform(0, 1)}, samples=100)
        >>> with_yield(ds, 0.9).passes.sum().item()
        10
    """
    limits = check_require(require, check_study(ds))
    passes = {name: limit.passes(measured(ds, "require", name)) for name, limit in limits.items()}
    together = np.logical_and.reduce(list(passes.values()))
    thresholds = [limit.value for limit in limits.values()]
    if len(passes) > 1:
        passes["all"] = together
        thresholds.append(np.nan)
    ds = ds.drop_dims("requirement", errors="ignore").assign_coords(requirement=list(passes))
    ds["passes"] = ("device", together, {"role": "yield", "long_name": "meets every requirement"})
    ds["threshold"] = ("requirement", thresholds, {"role": "yield"})
    return ds.assign(_shares("requirement", np.stack(list(passes.values()))))


def yield_curve(
    ds: xr.Dataset, metric: str, thresholds: Iterable[float], *, better: str = "more"
) -> xr.Dataset:
    """Yield against the threshold a metric must reach.

    The interval holds for each threshold alone, not for the whole curve at once.

    Args:
        ds: a finished study, as `tolerance` returns it.
        metric: name of the metric.
        thresholds: the thresholds [T], in the metric's unit.
        better: "more" if values at or above the threshold pass, "less" if those at or below do.

    Returns:
        Dataset over ``threshold`` with ``yield``, ``yield_low`` and ``yield_high``, as in `with_yield`.

    Raises:
        UnknownName: no such metric, or ``better`` is neither.
        InvalidArgument: no study, an unfinished one, or one whose sampler does not follow the errors' laws.

    Example:
        >>> from photonet.tolerance import Uniform, tolerance
        >>> ds = tolerance(lambda d, s: d["x"], float, {"x": Uniform(0, 1)}, samples=64)
        >>> yield_curve(ds, "metric", [0.0, 0.25, 0.5])["yield"].values
        array([1.  , 0.75, 0.5 ])
    """
    import xarray as xr

    kind = lookup("better", better, BETTER)
    if isinstance(thresholds, (str, bytes)) or not isinstance(thresholds, Iterable):
        raise InvalidArgument("thresholds", "several numbers", repr(thresholds)[:80])
    points = [real("thresholds", value) for value in thresholds]
    if not points:
        raise InvalidArgument("thresholds", "at least one threshold", "none")
    check_require(points[0], check_study(ds))
    values = measured(ds, "metric", metric)
    passes = np.stack([kind(point).passes(values) for point in points])
    coords = {"threshold": ("threshold", points, {"long_name": f"required {metric}"})}
    return xr.Dataset(_shares("threshold", passes), coords=coords, attrs=ds.attrs)


def check_study(ds: xr.Dataset) -> str:
    """The sampler of a study; what `tolerance` has not returned is refused."""
    import xarray as xr

    instance("ds", ds, xr.Dataset, "a study, as `tolerance` returns it")
    if "sampler" not in ds.attrs:
        got = "a dataset without the attribute sampler"
        raise InvalidArgument("ds", "a study, as `tolerance` returns it", got, "keep_attrs=True keeps it")
    return str(ds.attrs["sampler"])


def of_role(ds: xr.Dataset, role: str) -> list[str]:
    """Names of the variables that are the ``"draw"`` or the ``"metric"`` values of a study."""
    return [str(name) for name, values in ds.data_vars.items() if values.attrs.get("role") == role]


def measured(ds: xr.Dataset, argument: str, name: str) -> np.ndarray:
    """Values [device] of the metric ``name`` of a finished study; ``argument`` is who asked for it."""
    values = ds[choice(argument, name, of_role(ds, "metric"))].values
    missing = int(np.isnan(values).sum())
    if missing:
        raise InvalidArgument(
            "ds", "a finished study", f"{missing} of {len(values)} devices not measured", "resume it first"
        )
    return values


def _shares(dim: str, passes: np.ndarray) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
    """Share of passing devices and its interval along ``dim``, from ``passes`` [dim, device]."""
    devices = passes.shape[1]
    low, high = np.transpose([yield_interval(int(row.sum()), devices) for row in passes])
    interval = {"role": "yield", "long_name": "95 % Clopper-Pearson interval"}
    return {
        "yield": (dim, passes.mean(axis=1), {"role": "yield", "long_name": "share of devices that pass"}),
        "yield_low": (dim, low, interval),
        "yield_high": (dim, high, interval),
    }
