"""Calibration of bent responses: what polynomial and shrunk pixels must undo, and must not invent."""

import pytest
import torch

from photonet.distill import fit_nonlinear_map, fit_ridge_map
from photonet.errors import GridMismatch, InvalidArgument


def maps(n, seed=0, channels=2, size=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=generator, dtype=torch.float64)


def bent(simulated):
    """Crosstalk, an offset, saturation to half its slope at white, unequal pixels."""
    gain = 1 + 0.1 * torch.randn(simulated.shape[1:], generator=torch.Generator().manual_seed(9))
    return gain * torch.tanh(0.8 * simulated + 0.2 * simulated.flip(1) + 0.05)


def relative(found, wanted):
    return float((found - wanted).norm() / (wanted - wanted.mean(0)).norm())


def test_saturation_crosstalk_and_unequal_pixels_are_undone_on_new_scenes():
    train, fresh = maps(100), maps(100, seed=1)
    nonlinear = relative(fit_nonlinear_map(bent(train), train)(bent(fresh)), fresh)
    linear = relative(fit_ridge_map(bent(train), train)(bent(fresh)), fresh)
    # per-pixel gains of 10 % stand before the crosstalk, so a hundredth of their square is left
    assert nonlinear < 0.1
    assert nonlinear < linear / 2


def test_equal_pixels_stay_equal():
    """Where the pixels do not differ, their estimates scatter by their standard errors alone."""
    simulated = maps(50)
    noise = 0.1 * torch.randn(
        simulated.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    found = fit_nonlinear_map(simulated + noise, simulated)
    # unshrunk, the gain of a pixel has a standard error of 0.1 / (0.29 * sqrt(50)) = 0.05
    assert float(found.gain.std()) < 0.02


def test_a_dark_pixel_keeps_what_the_others_share():
    simulated = maps(40)
    simulated[:, :, 0, 0] = 0.0
    found = fit_nonlinear_map(torch.tanh(simulated), simulated)
    assert torch.isfinite(found.gain).all()
    torch.testing.assert_close(found.gain[:, 0, 0], torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_map_does_not_train_and_keeps_type():
    found = fit_nonlinear_map(maps(10).float(), maps(10).float())
    assert not list(found.parameters())
    assert found(maps(2).float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("measured", "simulated", "error", "words"),
    [
        (maps(5), maps(4), GridMismatch, "simulated"),
        (maps(5, size=8), maps(5), GridMismatch, "simulated"),
        (maps(1), maps(1), InvalidArgument, "two or more"),
        (maps(3)[0], maps(3), InvalidArgument, "axes"),
        (maps(3) * float("nan"), maps(3), InvalidArgument, "NaN"),
    ],
)
def test_bad_input_is_named(measured, simulated, error, words):
    with pytest.raises(error, match=words):
        fit_nonlinear_map(measured, simulated)
