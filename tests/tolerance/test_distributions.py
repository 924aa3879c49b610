"""Quantile functions against scipy's laws, at the ends, and with wrong input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from photonet.errors import InvalidArgument
from photonet.tolerance import (
    Bernoulli,
    Choice,
    Distribution,
    Fixed,
    LogNormal,
    Normal,
    TruncatedNormal,
    Uniform,
)

U = np.linspace(0.001, 0.999, 201)
LAWS = [
    Normal(1.0, 2.0, unit="m"),
    Uniform(-1.0, 3.0),
    TruncatedNormal(0.0, 1.0, -1.0, 2.0),
    LogNormal(2.0, 0.3),
    Choice([1.0, 2.0, 5.0], weights=[1, 0, 3]),
    Bernoulli(0.3),
    Fixed(4.0),
]


@pytest.mark.parametrize(
    ("law", "reference"),
    [
        (Normal(1.0, 2.0), stats.norm(1.0, 2.0)),
        (Uniform(-1.0, 3.0), stats.uniform(-1.0, 4.0)),
        (TruncatedNormal(1.0, 2.0, 0.0, 2.0), stats.truncnorm(-0.5, 0.5, 1.0, 2.0)),
        (LogNormal(2.0, 0.3), stats.lognorm(0.3, scale=2.0)),
    ],
)
def test_the_distribution_function_takes_the_quantile_back_to_its_probability(law, reference):
    # cdf(ppf(u)) = u up to the rounding of the value, times a density below 1
    np.testing.assert_allclose(reference.cdf(law.ppf(U)), U, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("law", "mean", "sigma"),
    [(Normal(1.0, 2.0), 1.0, 2.0), (Uniform(0.0, 1.0), 0.5, 12**-0.5), (Bernoulli(0.3), 0.3, 0.21**0.5)],
)
def test_means_and_standard_deviations(law, mean, sigma):
    u = (np.arange(100_000) + 0.5) / 100_000
    values = law.ppf(u)
    # the midpoint rule misses at most about two cells of the tail: 1e-5 of values up to 5 sigma away
    assert values.mean() == pytest.approx(mean, abs=1e-4)
    assert values.std() == pytest.approx(sigma, rel=1e-4)


def test_choice_gives_each_value_its_weight_and_never_one_of_weight_zero():
    u = (np.arange(8) + 0.5) / 8
    assert Choice([1.0, 2.0, 5.0], weights=[1, 0, 3]).ppf(u).tolist() == [1, 1, 5, 5, 5, 5, 5, 5]
    assert Choice([7.0, 8.0], weights=[0, 1]).ppf(np.array([0.0, 1.0])).tolist() == [8, 8]


def test_a_truncated_tail_twenty_sigma_out_stays_exact():
    # P(x > t | x > 20) = 1/2 at t = 20.0345 (Mills ratio: about 20 + ln 2 / 20)
    value = TruncatedNormal(0.0, 1.0, 20.0, 30.0).ppf(np.array([0.5]))[0]
    assert value == pytest.approx(stats.norm.isf(stats.norm.sf(20.0) / 2), rel=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@settings(deadline=None, max_examples=20)
@given(u=st.lists(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), min_size=2, max_size=2))
def test_quantiles_rise_and_tensors_agree_with_arrays(law, u):
    points = np.sort(np.array(u))
    low, high = law.ppf(points)
    assert low <= high
    tensor = law.ppf(torch.from_numpy(points))
    assert tensor.dtype == torch.float64
    assert tensor.tolist() == [low, high]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_every_law_keeps_the_shape_and_is_one(law):
    assert isinstance(law, Distribution)
    assert law.ppf(np.full((2, 3), 0.5)).shape == (2, 3)
    assert law == eval(repr(law))  # a study is recognised by the repr, so it must tell everything


def test_no_spread_is_allowed_and_finite_even_on_the_faces():
    ends = np.array([0.0, 1.0])
    assert Normal(3.0, 0.0).ppf(ends).tolist() == [3, 3]
    assert LogNormal(3.0, 0.0).ppf(ends).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Normal(float("nan"), 1.0), "mean"),
        (lambda: Normal(0.0, -1.0), "sigma"),
        (lambda: Normal("wide", 1.0), "mean"),
        (lambda: Uniform(1.0, 0.0), "high"),
        (lambda: TruncatedNormal(0.0, 0.0, -1.0, 1.0), "sigma"),
        (lambda: TruncatedNormal(0.0, 1.0, 1.0, 1.0), "high"),
        (lambda: LogNormal(0.0, 1.0), "median"),
        (lambda: Choice([]), "values"),
        (lambda: Choice([1.0], weights=[1, 2]), "weights"),
        (lambda: Choice([1.0], weights=[0]), "weights"),
        (lambda: Bernoulli(1.5), "probability"),
        (lambda: Fixed(float("inf")), "value"),
        (lambda: Uniform(0.0, 1.0).ppf(np.array([1.1])), "u"),
        (lambda: Uniform(0.0, 1.0).ppf(np.array([np.nan])), "u"),
    ],
)
def test_wrong_input_names_the_argument(make, argument):
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert caught.value.argument == argument
