import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.errors import InvalidArgument
from photonet.fabrication import quantize, quantize_phase


@pytest.mark.parametrize(("levels", "percent"), [(2, 40.5), (4, 81.1), (8, 95.0), (16, 98.7)])
def test_blazed_grating_efficiency_is_sinc_squared(levels, percent):
    """Eight periods of 512 samples, far field by FFT; the light of the first blazed order."""
    periods, samples = 8, 512
    ramp = 2 * math.pi * (torch.arange(periods * samples, dtype=torch.float64) + 0.5) / samples
    phase = quantize_phase(ramp, levels)
    order = torch.fft.fft(torch.polar(torch.ones_like(phase), phase))[periods] / phase.numel()
    efficiency = order.abs().item() ** 2
    # sampling each step by 512 / N points changes sin(pi/N)/(pi/N) by (pi / 512)^2 / 6 at most
    assert efficiency == pytest.approx((math.sin(math.pi / levels) / (math.pi / levels)) ** 2, rel=2e-5)
    assert efficiency * 100 == pytest.approx(percent, abs=0.06)


@given(
    levels=st.integers(2, 300),
    values=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20),
    double=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_phase_levels_are_on_the_circle_and_near(levels, values, double):
    phase = torch.tensor(values, dtype=torch.float64 if double else torch.float32)
    out = quantize_phase(phase, levels)
    assert out.dtype == phase.dtype
    assert ((out >= 0) & (out < 2 * math.pi)).all()
    distance = torch.remainder((out - phase).double() + math.pi, 2 * math.pi) - math.pi
    # half a step, and the rounding of a phase of 50 rad
    assert distance.abs().max() <= math.pi / levels + 60 * torch.finfo(phase.dtype).eps
    again = quantize_phase(out, levels)
    torch.testing.assert_close(again, out, rtol=0, atol=0)


@given(levels=st.integers(2, 64), low=st.floats(-5, 5), span=st.floats(0.1, 10))
@settings(deadline=None, max_examples=40)
def test_levels_include_both_ends_and_are_the_nearest(levels, low, span):
    values = torch.linspace(low - 1, low + span + 1, 101, dtype=torch.float64)
    out = quantize(values, levels, low=low, high=low + span)
    grid = torch.linspace(low, low + span, levels, dtype=torch.float64)
    assert out.min().item() == pytest.approx(low)
    assert out.max().item() == pytest.approx(low + span)
    nearest = (values[:, None] - grid).abs().amin(1)
    torch.testing.assert_close((out - values).abs(), nearest, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "function",
    [quantize_phase, lambda v, n, **k: quantize(v, n, low=0.0, high=3.0, **k)],
    ids=["phase", "value"],
)
def test_gradient_is_that_of_a_staircase_or_passes_straight(function):
    values = torch.tensor([0.3, 1.9, 2.6], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    hard, soft = function(values, 4), function(values, 4, straight_through=True)
    assert torch.equal(hard, soft)
    (staircase,) = torch.autograd.grad((weight * hard).sum(), values)
    (passing,) = torch.autograd.grad((weight * soft).sum(), values)
    assert staircase.abs().max() == 0
    assert torch.equal(passing, weight)


@pytest.mark.parametrize("levels", [1, 0, 2.5, True])
def test_fewer_than_two_levels_are_refused(levels):
    for function in (quantize_phase, lambda v, n: quantize(v, n, low=0.0, high=1.0)):
        with pytest.raises(InvalidArgument, match=r"^levels: expected"):
            function(torch.zeros(3), levels)


def test_an_empty_range_is_refused():
    with pytest.raises(InvalidArgument, match=r"^high: expected a value above low"):
        quantize(torch.zeros(3), 4, low=1.0, high=1.0)
