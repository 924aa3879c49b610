import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.detector import digitize, emva, photons, shot_noise
from photonet.detector.model import dark_current, read_out
from photonet.errors import InvalidArgument


def test_photon_number_is_energy_over_photon_energy():
    # 1 W/m^2 for 1 s on 1 m^2 at the wavelength where a photon carries exactly h c / lambda
    light = torch.ones(2, 1, 1, dtype=torch.float64)
    wavelength = torch.tensor([400e-9, 800e-9], dtype=torch.float64)
    counted = photons(light, wavelength, area=1.0, exposure=1.0).squeeze()
    assert counted[0].item() == pytest.approx(400e-9 / (6.62607015e-34 * 299792458), rel=1e-14)
    assert counted[1] == 2 * counted[0]


@pytest.mark.parametrize("mean", [0.0, 0.3, 7.0, 4000.0])
def test_shot_noise_has_the_moments_of_poisson(mean):
    n = 200_000
    drawn = shot_noise(torch.full((n,), mean, dtype=torch.float64), torch.Generator().manual_seed(3))
    # five standard errors: of the mean sqrt(mu/n), of the variance sqrt((mu + 2 mu^2)/n)
    assert abs(drawn.mean().item() - mean) <= 5 * math.sqrt(mean / n)
    assert abs(drawn.var().item() - mean) <= 5 * math.sqrt((mean + 2 * mean**2) / n)
    assert torch.equal(drawn, drawn.round())


@pytest.mark.parametrize("mean", [0.2, 1.0, 30.0])
def test_gradient_of_shot_noise_is_that_of_the_first_two_moments(mean):
    n = 400_000
    mu = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
    drawn = shot_noise(mu.expand(n), torch.Generator().manual_seed(5))
    (first,) = torch.autograd.grad(drawn.mean(), mu, retain_graph=True)
    (second,) = torch.autograd.grad(drawn.square().mean(), mu)
    assert first.item() == pytest.approx(1, abs=5 * 0.5 / math.sqrt(n))  # slope variance is at most 1/4
    if mean >= 1:  # d/dmu (mu + mu^2); the slope of one draw spreads by about 2 sqrt(mu) + 1
        assert second.item() == pytest.approx(1 + 2 * mean, abs=5 * (3 * math.sqrt(mean) + 3) / math.sqrt(n))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_shot_noise_has_the_same_slope_in_forward_mode():
    def draw(mean):
        return shot_noise(mean, torch.Generator().manual_seed(0))

    mean = torch.linspace(0.5, 40, 100, dtype=torch.float64)
    torch.testing.assert_close(
        torch.func.jacfwd(draw, randomness="same")(mean), torch.func.jacrev(draw)(mean)
    )
    _, slope = torch.func.jvp(draw, (mean,), (torch.ones_like(mean),))
    assert slope.mean().item() == pytest.approx(1, abs=0.1)


def test_gradient_of_shot_noise_in_the_dark_is_finite():
    mu = torch.zeros(5, requires_grad=True)
    shot_noise(mu, torch.Generator().manual_seed(0)).sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones(5))


def test_read_out_is_gain_times_charge_plus_noise():
    charge = torch.full((100_000,), 50.0, dtype=torch.float64)
    grey = read_out(charge, 0.4, 10.0, 3.0, torch.Generator().manual_seed(1))
    assert grey.mean().item() == pytest.approx(30, abs=5 * 1.2 / math.sqrt(1e5))
    assert grey.std().item() == pytest.approx(1.2, rel=5 / math.sqrt(2e5))


def test_dark_current_doubles_with_temperature():
    assert dark_current(3.0, 31.0, at=25.0, doubling=6.0) == 6.0
    assert dark_current(3.0, 19.0, at=25.0, doubling=6.0) == 1.5


ONE = torch.ones(1, 1)
AREA = {"area": 1e-12, "exposure": 1e-3}
LEVELS = torch.tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: photons(ONE, 1000, **AREA), "wavelength"),
        (lambda: photons(ONE, -5e-7, **AREA), "wavelength"),
        (lambda: photons(math.nan * ONE, 5e-7, **AREA), "irradiance"),
        (lambda: photons(1j * ONE, 5e-7, **AREA), "irradiance"),
        (lambda: photons(-ONE, 5e-7, **AREA), "irradiance"),
        (lambda: photons(ONE, [5e-7, 6e-7], **AREA), "irradiance"),
        (lambda: photons(ONE, 5e-7, area=-1.0, exposure=1.0), "area"),
        (lambda: photons(ONE, 5e-7, area=1e-12, exposure=math.nan), "exposure"),
        (lambda: shot_noise(torch.tensor([-1.0]), torch.Generator()), "mean"),
        (lambda: shot_noise(torch.tensor([1j]), torch.Generator()), "mean"),
        (lambda: shot_noise(ONE, 3), "generator"),
        *((lambda bits=bits: digitize(ONE, bits), "bits") for bits in (0, -2, 8.5, math.nan)),
        (lambda: digitize(1j * ONE, 8), "signal"),
        (lambda: emva.deviation_from_line(LEVELS, math.nan * LEVELS), "signal"),
        (lambda: emva.deviation_from_line(LEVELS, 1j * LEVELS), "signal"),
        (lambda: emva.deviation_from_line(LEVELS, LEVELS - 1), "signal"),
        (lambda: emva.deviation_from_line(LEVELS, LEVELS[:2]), "signal"),
        (lambda: emva.deviation_from_line(torch.ones(3), LEVELS), "photons"),
        (lambda: emva.system_gain(torch.zeros(3, 1), torch.ones(3, 1)), "signal"),
        (lambda: emva.system_gain(LEVELS, math.nan * LEVELS), "excess"),
        (lambda: emva.system_gain(LEVELS, ONE), "excess"),
        (lambda: emva.nonuniformity_variances(torch.ones(1, 8), 0.0), "image"),
        (lambda: emva.nonuniformity_variances(1j * torch.ones(8, 8), 0.0), "image"),
        (lambda: emva.nonuniformity_variances(torch.ones(8, 8), math.nan), "temporal"),
    ],
)
def test_what_is_no_light_and_no_signal_is_named(call, name):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected"):
        call()


def test_light_may_be_an_array():
    assert photons(ONE.numpy(), 5e-7, **AREA) == photons(ONE, 5e-7, **AREA)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8),
    st.integers(1, 16),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_converter_gives_the_nearest_level_in_range(values, bits, dtype):
    signal = torch.tensor(values, dtype=dtype)
    grey = digitize(signal, bits)
    assert grey.dtype == dtype
    assert torch.equal(grey, signal.clamp(0, 2**bits - 1).round())


def test_gradient_of_the_converter_passes_rounding_and_stops_at_saturation():
    signal = torch.tensor([-5.0, 3.3, 254.7, 255.4, 900.0], requires_grad=True)
    digitize(signal, 8).sum().backward()
    assert signal.grad.tolist() == [0, 1, 1, 0, 0]
