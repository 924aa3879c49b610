import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.errors import InvalidArgument
from photonet.fabrication import (
    Geometry,
    HeightError,
    LateralError,
    WidthError,
    apply,
    correlated_normal,
    draw,
    fabricate,
)

ERRORS = [
    HeightError(systematic=0.02, random=0.01),
    WidthError(mean=2e-9, systematic=5e-9, random=1e-9, correlation=3e-6),
    LateralError(systematic=5e-7, random=5e-8),
]


def pillars(shape=(6, 5), pitch=1e-6, elements=1):
    return Geometry(
        shape=shape,
        pitch=(pitch, pitch),
        height=torch.full(shape, 7e-7, dtype=torch.float64),
        width=torch.full(shape, 1.5e-7, dtype=torch.float64),
        elements=elements,
    )


def several(devices):
    return fabricate(pillars(), HeightError(systematic=0.02), seed=1, devices=devices)


def equal(a, b):
    return all(torch.equal(x[k], y[k]) for x, y in zip(a, b, strict=True) for k in x)


@given(seed=st.integers(0, 2**62), device=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_same_seed_same_device_and_another_seed_another(seed, device):
    first = draw(ERRORS, pillars(), seed=seed, devices=[device])
    assert equal(first, draw(ERRORS, pillars(), seed=seed, devices=[device]))
    for other in (
        draw(ERRORS, pillars(), seed=seed + 1, devices=[device]),
        draw(ERRORS, pillars(), seed=seed, devices=[device + 1]),
    ):
        assert not any(torch.equal(x[k], y[k]) for x, y in zip(first, other, strict=True) for k in x)


def test_a_device_is_the_same_in_every_batch():
    whole = draw(ERRORS, pillars(), seed=7, devices=5)
    parts = [draw(ERRORS, pillars(), seed=7, devices=chunk) for chunk in (range(2), range(2, 5))]
    for i, values in enumerate(whole):
        for key, tensor in values.items():
            assert tensor.shape[0] == 5
            assert torch.equal(tensor, torch.cat([p[i][key] for p in parts]))
    alone = draw(ERRORS, pillars(), seed=7)
    assert equal([{k: v[0] for k, v in values.items()} for values in whole], alone)


def test_adding_an_error_leaves_the_draws_of_the_others():
    together = draw(ERRORS, pillars(), seed=3)
    assert equal(draw(ERRORS[2], pillars(), seed=3), together[2:])
    twice = draw([ERRORS[0], ERRORS[0]], pillars(), seed=3)
    assert equal(twice[:1], together[:1])
    assert not torch.equal(twice[0]["random"], twice[1]["random"])


def test_switching_off_one_part_leaves_the_other():
    both = draw(HeightError(systematic=0.02, random=0.01), pillars(), seed=1)[0]
    only = draw(HeightError(random=0.01), pillars(), seed=1)[0]
    assert torch.equal(both["random"], only["random"])
    assert only["systematic"].abs().max() == 0


def test_a_generator_is_an_explicit_seed_too():
    def first():
        return draw(ERRORS, pillars(), seed=torch.Generator().manual_seed(5))

    assert equal(first(), first())


def test_masks_of_one_wafer_share_the_systematic_draw():
    wafer = draw(HeightError(systematic=0.02, random=0.01), pillars((3, 6, 5)), seed=1, devices=4)[0]
    assert wafer["systematic"].shape == (4, 1, 1, 1)
    assert wafer["random"].shape == (4, 3, 6, 5)
    assert wafer["systematic"].flatten().unique().numel() == 4


def test_systematic_errors_do_not_average_out_and_random_ones_do():
    """Spread over devices of the mean error of N elements: slope 0 and slope -1/2 in log-log."""
    sides, devices = (4, 32), 400
    for error, slope in ((HeightError(systematic=0.02), 0.0), (HeightError(random=0.02), -0.5)):
        spread = []
        for side in sides:
            made = fabricate(pillars((side, side)), error, seed=11, devices=devices)
            spread.append((made.height / 7e-7 - 1).mean((-2, -1)).std().item())
        measured = math.log(spread[1] / spread[0]) / math.log(sides[1] ** 2 / sides[0] ** 2)
        # a standard deviation of 400 draws is known to 1 / sqrt(800) = 3.5 %; of a ratio 5 %; three
        # sigma of that over log(64) = 4.2 is 0.036 in the slope
        assert measured == pytest.approx(slope, abs=0.036)


@pytest.mark.parametrize("error", [HeightError(mean=0.03, systematic=0.02), HeightError(random=0.02)])
def test_sigmas_are_what_they_say(error):
    devices = 2000
    values = draw(error, pillars((1, 1)), seed=2, devices=devices)[0]
    total = (values["systematic"] + values["random"]).flatten()
    # three sigma of the estimates: 0.02 * 3 / sqrt(2000), and 3 / sqrt(4000) relative
    assert total.mean().item() == pytest.approx(error.mean, abs=0.02 * 3 / devices**0.5)
    assert total.std().item() == pytest.approx(0.02, rel=3 / (2 * devices) ** 0.5)


def test_pillars_that_share_a_sample_average():
    one = draw(WidthError(random=1e-9, systematic=1e-9), pillars(), seed=1)[0]
    four = draw(WidthError(random=1e-9, systematic=1e-9), pillars(elements=4), seed=1)[0]
    torch.testing.assert_close(four["random"], one["random"] / 2)
    assert torch.equal(four["systematic"], one["systematic"])


@pytest.mark.parametrize("correlation", [0.5e-6, 2e-6, 9e-6, 1.0])
def test_correlated_noise_has_the_correlation_asked_for(correlation):
    pitch, n = (1e-6, 0.7e-6), 3000
    noise = correlated_normal(torch.Generator().manual_seed(0), (n, 9, 8), pitch, correlation)
    y = torch.arange(9)[:, None] * pitch[0]
    x = torch.arange(8)[None, :] * pitch[1]
    expected = torch.exp(-(y**2 + x**2).double() / correlation**2)
    measured = (noise[:, :1, :1] * noise).mean(0)
    # the mean of n products of standard normals has a standard error of at most sqrt(2 / n); 72 lags
    torch.testing.assert_close(measured, expected, rtol=0, atol=4.5 * (2 / n) ** 0.5)
    assert noise[:, -1, -1].var().item() == pytest.approx(1, abs=4.5 * (2 / n) ** 0.5)


def test_width_stays_between_vanishing_and_touching_and_gaps_stay_gaps():
    geometry = Geometry(shape=(1, 3), pitch=(3e-7, 3e-7), width=torch.tensor([[0.0, 5e-8, 2.9e-7]]))
    wide = fabricate(geometry, WidthError(mean=5e-8), seed=0).width
    torch.testing.assert_close(wide, torch.tensor([[0.0, 1e-7, 3e-7]]))
    narrow = fabricate(geometry, WidthError(mean=-1e-7), seed=0).width
    torch.testing.assert_close(narrow, torch.tensor([[0.0, 0.0, 1.9e-7]]))


def test_gradients_reach_the_lengths():
    draws = draw(ERRORS[:2], pillars(), seed=1, devices=2)

    def made(height, width):
        geometry = Geometry(shape=(6, 5), pitch=(1e-6, 1e-6), height=height, width=width * 1e-6)
        geometry = apply(geometry, ERRORS[:2], draws)
        return geometry.height, geometry.width * 1e6

    height = torch.rand(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    assert torch.autograd.gradcheck(made, (height.requires_grad_(), (0.5 * height.detach()).requires_grad_()))


def test_draws_can_be_replaced_and_carry_gradients():
    """What sensitivity analysis does: the systematic draw is a number one may set and differentiate."""
    error = HeightError(systematic=0.02)
    [values] = draw(error, pillars(), seed=1)
    bias = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    apply(pillars(), error, [values | {"systematic": bias}]).height.mean().backward()
    assert bias.grad.item() == pytest.approx(7e-7)


def test_an_error_without_effect_is_refused():
    flat = Geometry(shape=(4, 4), pitch=(1e-6, 1e-6), height=torch.zeros(4, 4))
    with pytest.raises(InvalidArgument, match=r"it has no width.*WidthError"):
        fabricate(flat, WidthError(random=1e-9), seed=0)


def test_devices_that_are_there_get_errors_of_their_own():
    wider = [WidthError(random=1e-9)]
    assert equal(draw(wider, several(3), seed=2), draw(wider, pillars(), seed=2, devices=3))
    assert equal(
        draw(wider, several([4, 7]), seed=2, devices=[4, 7]), draw(wider, pillars(), seed=2, devices=[4, 7])
    )
    made = fabricate(several(3), wider, seed=2)
    assert made.devices == 3
    assert made.width.shape == (3, 6, 5)
    assert pillars((3, 6, 5)).devices is None


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: HeightError(systematic=-0.1), "systematic"),
        (lambda: HeightError(random=float("nan")), "random"),
        (lambda: WidthError(random=1e-9, correlation=0), "correlation"),
        (lambda: LateralError(mean=(0, 0, 0)), "mean"),
        (lambda: LateralError(systematic="5 nm"), "systematic"),
        (lambda: draw("HeightError", pillars(), seed=0), "errors"),
        (lambda: draw([HeightError(), 3], pillars(), seed=0), "errors"),
        (lambda: draw([HeightError], pillars(), seed=0), "errors"),
        (lambda: draw(HeightError, pillars(), seed=0), "errors"),
        (lambda: draw([], pillars(), seed=0, devices=2), "errors"),
        (lambda: draw(HeightError(), pillars(), seed=-1), "seed"),
        (lambda: draw(HeightError(), pillars(), seed=1.5), "seed"),
        (lambda: draw(HeightError(), pillars(), seed=0, devices=0), "devices"),
        (lambda: draw(HeightError(), pillars(), seed=0, devices=[]), "devices"),
        (lambda: draw(HeightError(), several(2), seed=0, devices=3), "devices"),
        (lambda: draw(LateralError(random=5e-7), pillars(), seed=0), "random"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        make()
