"""Indices against models whose answer is known in closed form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from photonet.errors import InvalidArgument, UnknownName
from photonet.tolerance import Bernoulli, Fixed, Normal, Uniform, sensitivity, tolerance


def study(function, errors, samples, sampler, seed=0):
    def system(draws, seeds):
        return function(*draws.values())

    return tolerance(
        system, float, errors, samples=samples, sampler=sampler, batch=samples, seed=seed, progress=False
    )


def ishigami(x, y, z, a=7.0, b=0.1):
    return torch.sin(x) + a * torch.sin(y) ** 2 + b * z**4 * torch.sin(x)


ANGLE = Uniform(-math.pi, math.pi)
THREE = {"x": ANGLE, "y": ANGLE, "z": ANGLE}


def test_ishigami():
    # Ishigami and Homma (1990): Var = a^2/8 + b pi^4/5 + b^2 pi^8/18 + 1/2, V_x = (1 + b pi^4/5)^2 / 2,
    # V_y = a^2/8, V_z = 0, V_xz = b^2 pi^8 (1/18 - 1/50)
    a, b = 7.0, 0.1
    v_x, v_y = (1 + b * math.pi**4 / 5) ** 2 / 2, a**2 / 8
    v_xz = b**2 * math.pi**8 * (1 / 18 - 1 / 50)
    variance = v_x + v_y + v_xz
    table = sensitivity(study(ishigami, THREE, 5 * 1024, "saltelli"), resamples=200)
    # over 150 seeds the standard deviation at 256 blocks is 0.01 to 0.05, and half of that at 1024
    np.testing.assert_allclose(table.first_order, np.array([v_x, v_y, 0]) / variance, atol=0.05)
    np.testing.assert_allclose(table.total, np.array([v_x + v_xz, v_y, v_xz]) / variance, atol=0.05)


def test_the_intervals_cover_ishigamis_indices_as_often_as_they_say():
    covered = np.zeros(2)
    for seed in range(20):
        table = sensitivity(study(ishigami, THREE, 5 * 128, "saltelli", seed), resamples=100)
        for i, (name, true) in enumerate(
            [("first_order", [0.3139, 0.4424, 0.0]), ("total", [0.5576, 0.4424, 0.2437])]
        ):
            covered[i] += ((table[f"{name}_low"] <= true) & (true <= table[f"{name}_high"])).mean()
    # 20 studies of 3 indices at 95 %: 57 of 60 expected; 51 is 3.5 standard deviations of a binomial below
    assert (covered / 20 >= 51 / 60).all()


@pytest.mark.parametrize("sampler", ["random", "sobol", "lhs", "saltelli"])
def test_a_linear_model_is_explained_wholly(sampler):
    def linear(x, y, off):
        return 3 * x - 4 * y + 100 * off

    laws = {"x": Normal(1.0, 1.0), "y": Normal(0.0, 1.0), "off": Fixed(0.1)}
    ds = study(linear, laws, 5 * 256, sampler)
    table = sensitivity(ds, resamples=100)
    # an exact fit has R^2 = 1 and coefficients slope * sigma_x / sigma_y, with the sigmas of the sample
    x, y, metric = ds.x.values, ds.y.values, ds.metric.values
    if sampler == "saltelli":
        x, y, metric = (v.reshape(-1, 5)[:, :2].reshape(-1) for v in (x, y, metric))
    exact = [3 * x.std() / metric.std(), -4 * y.std() / metric.std(), 0]
    assert table.r_squared == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(table.regression, exact, atol=1e-12)
    # Spearman's rho of a Gaussian pair is (6 / pi) asin(r / 2); its standard error is below 1 / sqrt(n)
    rho = [6 / math.pi * math.asin(r / 2) for r in (0.6, -0.8, 0.0)]
    np.testing.assert_allclose(table.rank_correlation, rho, atol=3 / math.sqrt(len(x)))
    assert table.rank_correlation[2] == 0
    if sampler == "saltelli":
        np.testing.assert_allclose(table.first_order, [0.36, 0.64, 0], atol=0.05)
        np.testing.assert_allclose(table.total, [0.36, 0.64, 0], atol=0.05)
        assert table.total[2] == 0


def test_a_product_acts_only_together():
    # y = x1 x2 with zero means: no first order at all, everything in the interaction
    laws = {"x": Normal(0.0, 1.0), "y": Normal(0.0, 1.0)}
    table = sensitivity(study(lambda x, y: x * y, laws, 4 * 1024, "saltelli"), resamples=100)
    # the variance of x1^2 x2^2 is 8, so the standard error of an index is about 3 / 32 by Monte Carlo
    np.testing.assert_allclose(table.first_order, 0, atol=0.1)
    np.testing.assert_allclose(table.total, 1, atol=0.1)
    assert table.r_squared < 0.05


@settings(deadline=None, max_examples=10)
@given(scale=st.floats(0.1, 10), offset=st.floats(-100, 100))
def test_indices_do_not_depend_on_the_metrics_unit(scale, offset):
    laws = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
    plain = sensitivity(study(lambda x, y: x + x * y, laws, 4 * 32, "saltelli"), resamples=20)
    other = sensitivity(
        study(lambda x, y: offset + scale * (x + x * y), laws, 4 * 32, "saltelli"), resamples=20
    )
    # rounding of the offset: 100 / 0.1 in units of the spread, times 2^-53, over 64 rows
    np.testing.assert_allclose(other.to_array(), plain.to_array(), atol=1e-10)


def test_a_sweep_gives_the_range_of_each_error_alone():
    laws = {"x": Uniform(0, 1), "y": Uniform(0, 1), "z": Fixed(2.0)}
    table = sensitivity(study(lambda x, y, z: x - (y - 0.5) ** 2 + z, laws, 1 + 3 * 4, "one-at-a-time"))
    assert set(table.data_vars) == {"lowest", "highest"}
    # quantiles 1/8, 3/8, 5/8, 7/8 and the median device at 2.5
    np.testing.assert_allclose(table.lowest, [2.125, 2.5 - 0.375**2, 2.5], rtol=1e-15)
    np.testing.assert_allclose(table.highest, [2.875, 2.5, 2.5], rtol=1e-15)


def test_a_rare_defect_leaves_resamples_without_spread_finite():
    table = sensitivity(study(lambda hit: hit, {"hit": Bernoulli(0.1)}, 16, "lhs"), resamples=200)
    assert np.isfinite(table.to_array()).all()
    assert table.regression == 1
    assert table.regression_low == 0


def test_the_same_seed_gives_the_same_intervals():
    ds = study(lambda x: x, {"x": Uniform(0, 1)}, 32, "random")
    assert sensitivity(ds, resamples=20, seed=1).identical(sensitivity(ds, resamples=20, seed=1))


def test_every_resample_is_ranked_anew():
    laws = {"x": Normal(0.0, 1.0), "noise": Normal(0.0, 0.3)}
    ds = study(lambda x, noise: x + noise, laws, 64, "random")
    found = sensitivity(ds, resamples=50, seed=3)
    g = np.random.default_rng(3)
    draws = [g.integers(64, size=64) for _ in range(50)]
    again = [spearmanr(ds.x.values[i], ds.metric.values[i])[0] for i in draws]
    low, high = np.percentile(again, (2.5, 97.5))
    np.testing.assert_allclose([found.rank_correlation_low[0], found.rank_correlation_high[0]], [low, high])


def test_wrong_input():
    laws = {"x": Uniform(0, 1)}
    ds = study(lambda x: x, laws, 32, "random")
    with pytest.raises(UnknownName, match="metric"):
        sensitivity(ds, "metrik")
    with pytest.raises(InvalidArgument, match="resamples"):
        sensitivity(ds, resamples=0)
    with pytest.raises(InvalidArgument, match="differ between devices"):
        sensitivity(study(lambda x: x * 0 + 1, laws, 32, "random"))
    with pytest.raises(InvalidArgument, match="at least 8"):
        sensitivity(study(lambda x: x, laws, 4, "random"))
    with pytest.raises(InvalidArgument, match="infinite"):
        sensitivity(study(lambda x: 1 / (x > 0.5), laws, 32, "random"))
    ds["metric"][3] = np.nan
    with pytest.raises(InvalidArgument, match="1 of 32 devices"):
        sensitivity(ds)
