"""Yields: counts, the interval from closed forms, its coverage, and the curve."""

import numpy as np
import pytest
from scipy import stats

from photonet.errors import InvalidArgument, UnknownName
from photonet.tolerance import (
    AtLeast,
    AtMost,
    Uniform,
    sensitivity,
    tolerance,
    with_yield,
    yield_curve,
    yield_interval,
)  # fmt: skip


def study(samples=64, sampler="sobol"):
    def metric(device):
        return {"good": float(device), "bad": 1 - float(device)}

    errors = {"x": Uniform(0, 1)}
    return tolerance(lambda d, s: d["x"], metric, errors, samples=samples, sampler=sampler, progress=False)


@pytest.mark.parametrize("devices", [1, 10, 64])
def test_none_and_all_have_closed_forms(devices):
    # P(no failure in n) = (1 - p)^n = 0.025
    edge = 0.025 ** (1 / devices)
    assert yield_interval(devices, devices) == (pytest.approx(edge, rel=1e-9), 1.0)
    assert yield_interval(0, devices) == (0.0, pytest.approx(1 - edge, rel=1e-9))


def test_the_ends_are_where_the_observation_becomes_a_rare_one():
    low, high = yield_interval(45, 64)
    # the root finder behind the interval stops at about 1e-12 in p
    assert stats.binom(64, low).sf(44) == pytest.approx(0.025, rel=1e-6)
    assert stats.binom(64, high).cdf(45) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("true", [0.02, 0.5, 0.9])
def test_the_interval_covers_any_yield_at_least_as_often_as_it_says(true):
    devices = 30
    covered = [
        k
        for k in range(devices + 1)
        if yield_interval(k, devices)[0] <= true <= yield_interval(k, devices)[1]
    ]
    assert stats.binom(devices, true).pmf(covered).sum() >= 0.95


def test_requirements_alone_and_together():
    ds = with_yield(study(), {"good": 0.25, "bad": AtLeast(0.5)})
    assert ds["yield"].sel(requirement=["good", "bad", "all"]).values.tolist() == [0.75, 0.5, 0.25]
    np.testing.assert_array_equal(ds.passes, (ds.x >= 0.25) & (ds.x <= 0.5))
    assert ds.threshold.values[:2].tolist() == [0.25, 0.5]
    for row, share in enumerate([48, 32, 16]):
        assert (ds.yield_low[row], ds.yield_high[row]) == yield_interval(share, 64)


def test_new_requirements_replace_old_ones():
    ds = study()
    again = with_yield(with_yield(ds, {"good": 0.25, "bad": 0.5}), {"bad": AtMost(0.25)})
    assert again.identical(with_yield(ds, {"bad": AtMost(0.25)}))
    assert again["yield"].values.tolist() == [0.25]
    assert "yield" not in ds


def test_a_value_on_the_threshold_passes_either_way():
    values = np.array([1.0])
    assert AtMost(1).passes(values).all()
    assert AtLeast(1).passes(values).all()


def test_the_curve_is_the_yield_at_each_threshold():
    ds = study()
    curve = yield_curve(ds, "good", [0.0, 0.5, 1.0])
    assert curve["yield"].values.tolist() == [1, 0.5, 0]
    assert curve.yield_low[1] == with_yield(ds, {"good": 0.5}).yield_low[0]
    assert yield_curve(ds, "bad", [0.25], better="less")["yield"].values.tolist() == [0.25]


def test_only_whole_studies_whose_rows_follow_the_laws_have_a_yield():
    swept = study(5, "one-at-a-time")
    with pytest.raises(InvalidArgument, match="random, sobol, lhs"):
        with_yield(swept, {"good": 0.5})
    with pytest.raises(InvalidArgument, match="random, sobol, lhs"):
        yield_curve(swept, "good", [0.5])
    partial = study()
    partial["good"][3:] = np.nan
    with pytest.raises(InvalidArgument, match="61 of 64 devices"):
        with_yield(partial, {"good": 0.5})


def test_wrong_input():
    ds = study(4)
    bare = ds.copy()
    bare.attrs = {}
    for other in (bare, ds["good"], 3):
        with pytest.raises(InvalidArgument, match="^ds: expected a study"):
            with_yield(other, {"good": 0.5})
        with pytest.raises(InvalidArgument, match="^ds: expected a study"):
            yield_curve(other, "good", [0.5])
        with pytest.raises(InvalidArgument, match="^ds: expected a study"):
            sensitivity(other, "good")
    with pytest.raises(InvalidArgument, match="^thresholds: expected several"):
        yield_curve(ds, "good", 0.5)
    with pytest.raises(UnknownName, match="did you mean good"):
        yield_curve(ds, "goood", [0.5])
    with pytest.raises(UnknownName, match="better"):
        yield_curve(ds, "good", [0.5], better="most")
    with pytest.raises(InvalidArgument, match="thresholds"):
        yield_curve(ds, "good", [])
    with pytest.raises(InvalidArgument, match="passed"):
        yield_interval(5, 4)
    with pytest.raises(InvalidArgument, match="confidence"):
        yield_interval(3, 4, 95)
    with pytest.raises(InvalidArgument, match="require"):
        AtMost(float("nan"))
