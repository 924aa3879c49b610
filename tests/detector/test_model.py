import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.detector import digitize, photons, shot_noise
from photonet.detector.model import dark_current, read_out


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
