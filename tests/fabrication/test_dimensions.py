import math

import pytest
import torch

from photonet import materials
from photonet.errors import InvalidArgument
from photonet.fabrication import HeightError, RefractiveIndexError, SurfaceRoughness
from photonet.mask import Mask


def flat(n=64, height=1e-6):
    return Mask.from_height(torch.full((n, n), height, dtype=torch.float64), pitch=1e-6, material="SiO2")


def test_an_index_error_is_a_phase_error_of_k_h_dn():
    made = flat().perturb(RefractiveIndexError(mean=0.02), seed=0)
    change = (made.transmission(633e-9) / flat().transmission(633e-9)).angle()
    torch.testing.assert_close(change, torch.full_like(change, 2 * math.pi * 1e-6 * 0.02 / 633e-9))


def test_index_and_height_errors_are_not_the_same_at_two_wavelengths():
    """Both scale the phase, but a height scales it with dispersion and an index offset without."""
    n = materials.load("SiO2").index([450e-9, 635e-9]) - materials.load("air").index([450e-9, 635e-9])
    cases = ((HeightError(mean=0.01), (n[0] / n[1]).item()), (RefractiveIndexError(mean=0.01), 1.0))
    for error, ratio in cases:
        made = flat().perturb(error, seed=0).transmission([450e-9, 635e-9])
        change = (made / flat().transmission([450e-9, 635e-9])).angle()[:, 0, 0]
        assert (change[0] / change[1]).item() == pytest.approx(ratio * 635 / 450, rel=1e-9)


@pytest.mark.parametrize("correlation", [None, 3e-6])
def test_roughness_scatters_as_its_phase_variance(correlation):
    """Strehl exp(-(k (n-1) rms)^2), averaged over devices (total integrated scatter, in transmission)."""
    rms, devices, n = 30e-9, 40, 64
    mask = flat(n)
    made = mask.perturb(SurfaceRoughness(rms=rms, correlation=correlation), seed=1, devices=devices)
    contrast = (materials.load("SiO2").index(633e-9) - materials.load("air").index(633e-9)).item()
    variance = (2 * math.pi * contrast * rms / 633e-9) ** 2
    # independent patches of a device: one per sample, or pi/2 * correlation^2 of area
    patches = n**2 if correlation is None else (n * 1e-6) ** 2 / (math.pi / 2 * correlation**2)
    strehl = made.transmission(633e-9).mean((-2, -1)).abs().square().mean().item()
    # the sample variance of a device is known to sqrt(2 / patches), its mean to variance / patches
    tolerance = variance * (4 * math.sqrt(2 / patches / devices) + 4 / patches)
    assert strehl == pytest.approx(math.exp(-variance), abs=tolerance)


@pytest.mark.parametrize("error", [RefractiveIndexError(mean=0.01), SurfaceRoughness(rms=1e-9)])
def test_a_phase_without_material_has_no_metres(error):
    with pytest.raises(InvalidArgument, match=r"^errors: "):
        Mask.from_phase([[0.0, 1.0]], pitch=1e-6).perturb(error, seed=0)


def test_a_library_is_for_one_index():
    mask = Mask.from_meta_atoms([[1e-7]], library="sin-pillars-293nm")
    with pytest.raises(InvalidArgument, match="it has no index"):
        mask.perturb(RefractiveIndexError(mean=0.01), seed=0)


def test_gradients_reach_a_rough_relief():
    errors = [HeightError(random=0.02), RefractiveIndexError(systematic=0.02), SurfaceRoughness(rms=5e-9)]
    um = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def made(um):
        mask = Mask.from_height(um * 1e-6, pitch=1e-6, material="SiO2")
        return mask.perturb(errors, seed=1, devices=2).transmission([450e-9, 635e-9])

    assert torch.autograd.gradcheck(made, um)


@pytest.mark.parametrize(("rms", "correlation", "name"), [(-1e-9, None, "rms"), (1e-9, -1e-6, "correlation")])
def test_bad_roughness(rms, correlation, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: "):
        SurfaceRoughness(rms=rms, correlation=correlation)
