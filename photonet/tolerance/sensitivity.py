"""Which error limits the metric.

Variance-based (Sobol') indices need a study of the ``saltelli`` sampler, a range per error one of the
``one-at-a-time`` sampler; rank correlation and standardised regression come from any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..checks import count, lookup
from ..errors import InvalidArgument
from .samplers import SAMPLERS
from .yields import check_study, measured, of_role

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sensitivity"]

INTERVAL = (2.5, 97.5)
LEAST_ROWS = 8

Estimates = dict[str, np.ndarray]


def sensitivity(
    ds: xr.Dataset, metric: str = "metric", *, resamples: int = 1000, seed: int = 0
) -> xr.Dataset:
    """How much of a metric's spread each error causes.

    - ``rank_correlation``: Spearman's; strength and sign of a monotonic effect.
    - ``regression``: standardised coefficients of a linear fit. For independent errors their squares add up
      to ``r_squared``, the part of the variance that the fit explains; where that is far below 1 the
      coefficients miss what matters.
    - ``first_order`` (``saltelli`` studies): the part of the variance that would go if this error were
      known, Var(E[Y|X]) / Var(Y).
    - ``total`` (``saltelli`` studies): the part that would stay if all others were known,
      E[Var(Y|others)] / Var(Y). Above ``first_order`` where the error acts together with others.
    - ``lowest``, ``highest`` (``one-at-a-time`` studies, which have nothing else): range of the metric while
      this error alone is swept.

    First order after Saltelli et al., Comput. Phys. Commun. 181 (2010) 259, table 2 (b); total after Jansen,
    Comput. Phys. Commun. 117 (1999) 35. They are estimates: a small index can come out below 0.

    Args:
        ds: a finished study, as `tolerance` returns it.
        metric: name of the metric.
        resamples: bootstrap resamples (of devices, or of whole blocks of the Saltelli design) behind the
            intervals. Rows of a Sobol' or Latin hypercube study are resampled as if independent; being more
            even than that, they mostly get intervals wider than they need.
        seed: whole number; fixes the resamples.

    Returns:
        Dataset over ``error`` with the variables above, each (but a range) with its 95 % percentile interval
        as ``*_low`` and ``*_high``. An error without spread has 0 everywhere.

    Raises:
        UnknownName: no such metric.
        InvalidArgument: no study, an unfinished or a small one, or the metric is infinite or does not vary.

    Example:
        >>> from photonet.tolerance import Normal, tolerance
        >>> laws = {"height": Normal(0, 3.0), "width": Normal(0, 4.0)}
        >>> ds = tolerance(lambda d, s: d["height"] + d["width"], float, laws, samples=4 * 256,
        ...                sampler="saltelli")
        >>> sensitivity(ds, resamples=100).total.values.round(1)    # 9 and 16 of 25
        array([0.4, 0.6])
    """
    import xarray as xr

    sampler = check_study(ds)
    values = measured(ds, "metric", metric)
    errors = of_role(ds, "draw")
    resamples, seed = count("resamples", resamples), count("seed", seed, 0)
    design = lookup("sampler", sampler, SAMPLERS).design
    table = xr.Dataset(coords={"error": errors}, attrs={**ds.attrs, "metric": metric, "resamples": resamples})
    estimates: Estimates = {}
    if design == "sweep":
        swept = values[1:].reshape(len(errors), -1)
        estimates = {
            "lowest": np.minimum(swept.min(axis=1), values[0]),
            "highest": np.maximum(swept.max(axis=1), values[0]),
        }
    else:
        draws = np.stack([ds[name].values for name in errors], axis=1)
        blocks = values.reshape(-1, len(errors) + 2) if design == "blocks" else None
        if blocks is not None:  # of which only A and B are independent draws from the laws
            values = blocks[:, :2].reshape(-1)
            draws = draws.reshape(*blocks.shape, len(errors))[:, :2].reshape(-1, len(errors))
        _check(values, len(errors))
        if blocks is not None:
            estimates |= _bootstrapped(_sobol_indices, blocks, resamples, seed)
        rows = np.column_stack([draws, values])
        estimates |= _bootstrapped(_rank_correlation, rows, resamples, seed)
        estimates |= _bootstrapped(_regression, rows, resamples, seed)
    for name, estimate in estimates.items():
        table[name] = (("error",) if estimate.ndim else (), estimate)
    return table


def _check(values: np.ndarray, errors: int) -> None:
    least = max(LEAST_ROWS, errors + 2)
    if len(values) < least:
        raise InvalidArgument("ds", f"at least {least} independent devices", len(values))
    if not np.isfinite(values).all():
        raise InvalidArgument("metric", "finite values", f"{(~np.isfinite(values)).sum()} infinite ones")
    if np.ptp(values) == 0:
        raise InvalidArgument("metric", "values that differ between devices", f"{values[0]} for all")


def _bootstrapped(
    estimate: Callable[[np.ndarray], Estimates], rows: np.ndarray, resamples: int, seed: int
) -> Estimates:
    """The estimates from ``rows``, and the 95 % percentile interval of each when rows are drawn again."""
    generator = np.random.default_rng(seed)
    again = [estimate(rows[generator.integers(len(rows), size=len(rows))]) for _ in range(resamples)]
    table: Estimates = {}
    for name, value in estimate(rows).items():
        low, high = np.percentile([other[name] for other in again], INTERVAL, axis=0)
        table |= {name: value, f"{name}_low": np.asarray(low), f"{name}_high": np.asarray(high)}
    return table


def _sobol_indices(blocks: np.ndarray) -> Estimates:
    """First-order and total indices [D] from the metric in Saltelli blocks [n, 2 + D]."""
    centred = blocks - blocks[:, :2].mean()  # the indices do not depend on it, their error does
    a, b, mixed = centred[:, :1], centred[:, 1:2], centred[:, 2:]
    variance = centred[:, :2].var() or np.inf  # a resample without spread has nothing to explain
    return {
        "first_order": (b * (mixed - a)).mean(axis=0) / variance,
        "total": ((a - mixed) ** 2).mean(axis=0) / 2 / variance,
    }


def _rank_correlation(rows: np.ndarray) -> Estimates:
    """Spearman's correlation [D] of the last column of ``rows`` [n, D + 1] with the others.

    Every resample is ranked anew: with the ranks of the whole study its interval would be too narrow.
    """
    from scipy.stats import rankdata

    standard = _standard(rankdata(rows, axis=0))
    return {"rank_correlation": standard[:, :-1].T @ standard[:, -1] / len(rows)}


def _regression(rows: np.ndarray) -> Estimates:
    """Standardised coefficients [D] and R^2 of the last column of ``rows`` [n, D + 1] on the others."""
    standard = _standard(rows)
    correlation = standard.T @ standard / len(rows)
    # least squares, not solve: errors without spread leave rows of zeros, and get the coefficient 0
    coefficients = np.linalg.lstsq(correlation[:-1, :-1], correlation[:-1, -1], rcond=None)[0]
    return {"regression": coefficients, "r_squared": np.asarray(coefficients @ correlation[:-1, -1])}


def _standard(rows: np.ndarray) -> np.ndarray:
    """Columns of ``rows`` [n, D] with mean 0 and standard deviation 1; 0 where a column does not vary."""
    varies = np.ptp(rows, axis=0) > 0
    deviation = np.where(varies, rows.std(axis=0), 1.0)
    return np.where(varies, (rows - rows.mean(axis=0)) / deviation, 0.0)
