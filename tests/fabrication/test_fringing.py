import math

import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.fabrication import FringingField, Geometry, LateralError, fabricate, fringed_phases
from photonet.mask import Mask

PITCH = (8e-6, 6e-6)


def fringed(phase, sigma_y=0.0, sigma_x=0.0):
    """Mask with a kernel of so many pixels."""
    mask = Mask.from_phase(phase, pitch=PITCH)
    return mask.perturb(FringingField(mean=(sigma_y * PITCH[0], sigma_x * PITCH[1])), seed=0)


def mean_over_pixels(phase, sigma, parts=400):
    """The same along x by brute force: the smoothed phase at 400 places of each pixel."""
    n = phase.shape[-1]
    place = (torch.arange(n * parts, dtype=torch.float64) + 0.5) / parts
    jumps = phase[1:] - phase[:-1]
    edges = torch.arange(1, n, dtype=torch.float64)
    ramp = 0.5 + 0.5 * torch.erf((place[:, None] - edges) / (sigma * math.sqrt(2)))
    smooth = phase[0] + (ramp * jumps).sum(-1)
    return torch.exp(1j * smooth).reshape(n, parts).mean(-1)


@pytest.mark.parametrize("sigma", [0.2, 0.35, 0.5])
@pytest.mark.parametrize("jump", [0.7, math.pi, 2 * math.pi])
def test_a_step_becomes_an_error_function(sigma, jump):
    phase = torch.tensor([0.0] * 6 + [jump] * 6, dtype=torch.float64)
    t = fringed(phase[None].expand(3, -1), 0.3, sigma).transmission(633e-9)[0, 1]
    # what the module states of six Gauss points: the steepest ramp climbs 12.5 rad in a pixel
    tolerance = 2e-3 if jump > 4 else 2e-4
    torch.testing.assert_close(t, mean_over_pixels(phase, sigma), rtol=0, atol=tolerance)


def test_along_y_as_along_x():
    phase = 6 * torch.rand(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    across, down = fringed(phase, 0.2, 0.4), fringed(phase.T.contiguous(), 0.4, 0.2)
    torch.testing.assert_close(across.transmission(633e-9)[0], down.transmission(633e-9)[0].T)


def test_flat_phases_and_kernels_of_no_width_change_nothing():
    phase = 6 * torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 3
    for p, sigma in ((phase, 0.0), (torch.full((5, 6), 2.5, dtype=torch.float64), 0.5)):
        torch.testing.assert_close(fringed(p, sigma, sigma).transmission(633e-9)[0], torch.exp(1j * p))


def test_the_flyback_of_a_blaze_sends_light_astray():
    """Blazed grating, 8 pixels a period: the loss is the share of the flyback, so linear in its width."""
    blaze = (2 * math.pi / 8 * (torch.arange(64, dtype=torch.float64) % 8)).expand(4, 64)
    order = []
    for sigma in (0.0, 0.2, 0.4):
        t = fringed(blaze, 0.0, sigma).transmission(633e-9)[0, 0, 8:-8]
        order.append((torch.fft.fft(t)[6].abs() / 48).item() ** 2)
    assert order[0] == pytest.approx(1)
    assert order[0] - order[1] > 0.02
    assert (order[0] - order[2]) / (order[0] - order[1]) == pytest.approx(2, rel=0.2)


def test_modulators_differ_by_the_spread_asked_for():
    mask = Mask.from_phase([[0.0, 1.0], [2.0, 3.0]], pitch=PITCH)
    several = mask.perturb(FringingField(mean=2e-6, systematic=0.1), seed=0, devices=500)
    widths = several.geometry.fringe_y.flatten()
    assert widths.shape == (500,)
    assert widths.mean().item() == pytest.approx(2e-6, rel=3 * 0.1 / 500**0.5)
    assert widths.std().item() == pytest.approx(2e-7, rel=3 / 1000**0.5)
    assert several.transmission([450e-9, 633e-9]).shape == (500, 2, 2, 2)


def test_kernels_in_a_row_add_their_variances():
    both = fabricate(
        Geometry(shape=(2, 2), pitch=PITCH, phase=torch.zeros(2, 2)),
        [FringingField(mean=3e-6), FringingField(mean=4e-6)],
        seed=0,
    )
    assert both.fringe_x.item() == pytest.approx(5e-6)


def test_weights_are_areas_and_gradients_pass():
    phase = 6 * torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    width = torch.tensor([[0.3]], dtype=torch.float64)

    def run(phase, sy, sx):
        geometry = Geometry(shape=(2, 3), pitch=(1.0, 1.0), phase=phase, fringe_y=sy, fringe_x=sx)
        parts = list(fringed_phases(geometry))
        assert sum(w for w, _ in parts) == pytest.approx(1)
        return sum(w * torch.exp(1j * p) for w, p in parts)

    arguments = [v.clone().requires_grad_() for v in (phase, width, width + 0.1)]
    assert torch.autograd.gradcheck(run, arguments)


def test_saved_with_the_mask(tmp_path):
    mask = Mask.from_phase([[0.0, 3.0]], pitch=PITCH)
    mask = mask.perturb([FringingField(mean=2e-6), LateralError(mean=1e-6)], seed=0)
    mask.save(tmp_path / "slm.h5")
    assert torch.equal(Mask.load(tmp_path / "slm.h5").transmission(633e-9), mask.transmission(633e-9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FringingField(mean=-1e-6), r"^mean: "),
        (lambda: FringingField(mean=1e-6, systematic=-1), r"^systematic: "),
        (lambda: fringed(torch.zeros(2, 2), 0.0, 0.8), r"^mean: .*0\.75 pixel = 4\.5e-06 m along x"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_a_relief_has_no_pixels():
    with pytest.raises(InvalidArgument, match=r"^geometry: "):
        next(fringed_phases(Geometry(shape=(1, 1), pitch=PITCH, height=torch.zeros(1, 1))))
    with pytest.raises(InvalidArgument, match=r"^errors: .*it has no phase"):
        Mask.from_height([[0.0]], pitch=1e-6, material="SiO2").perturb(FringingField(mean=1e-7), seed=0)
