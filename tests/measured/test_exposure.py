"""The exposure time that a pilot asks for is the one at which the light is really known best."""

import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.measured import MeasuredData, Part, calibrate, choose_exposure, write

SECONDS = torch.arange(1, 11, dtype=torch.float64).repeat_interleave(2) * 1e-3
USUAL = 1e-2
READ_NOISE = 1.5


def camera(rates, seconds, saturation, seed):
    """Grey values of a camera of 10 electrons per DN that bends as a tanh: [n, 16, 16]."""
    light = rates * torch.as_tensor(seconds, dtype=torch.float64).reshape(-1, 1, 1)
    bent = saturation * torch.tanh(light / saturation) if saturation else light
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(bent.shape, generator=g, dtype=torch.float64)
    return 100 + bent + (bent / 10 + READ_NOISE**2).sqrt() * noise


def pilot(path, rates, saturation=0.0, seconds=USUAL, seed=0):
    times = SECONDS * seconds / USUAL
    flat = 1.5 * float(rates.max()) * torch.ones(16, 16, dtype=torch.float64)
    write(
        path,
        Part(camera(rates, torch.full((len(rates),), seconds), saturation, seed), seconds),
        dark=Part(camera(0 * flat, torch.full((8,), seconds), saturation, seed + 1), seconds),
        flat=Part(camera(flat, times, saturation, seed + 2), times),
    )


def scenes(level):
    g = torch.Generator().manual_seed(7)
    return level * (0.2 + 0.8 * torch.rand(12, 16, 16, generator=g, dtype=torch.float64))


def error_of(path, rates):
    """The error that calibrated frames really have, relative to the mean light, but for a common factor."""
    with MeasuredData(path) as data:
        found = (
            calibrate(data, ["dark", "linearity"]).read(data.scenes).double()
            / data.scenes.exposure[:, None, None]
        )
    found = found * (found * rates).sum() / found.square().sum()
    return float((found - rates).square().mean().sqrt() / rates.mean())


# at 700 the pilot sees the response at three levels only, and foretells the error less well
@pytest.mark.parametrize(("saturation", "gain", "within"), [(700.0, 0.5, 0.5), (1500.0, 0.9, 0.3)])
def test_a_bending_camera_is_exposed_shorter_and_knows_the_light_better(tmp_path, saturation, gain, within):
    rates = scenes(2e5)  # 2,000 DN at the usual exposure time: far into the bend
    pilot(tmp_path / "pilot.h5", rates, saturation)
    with MeasuredData(tmp_path / "pilot.h5") as data:
        choice = choose_exposure(data)
    assert choice.seconds < 0.7 * USUAL
    assert choice.after < gain * choice.before
    pilot(tmp_path / "chosen.h5", rates, saturation, choice.seconds, seed=10)
    chosen = error_of(tmp_path / "chosen.h5", rates)
    assert chosen < gain * error_of(tmp_path / "pilot.h5", rates)
    assert chosen == pytest.approx(choice.after, rel=within)


def test_a_straight_camera_is_exposed_as_long_as_its_range_allows(tmp_path):
    rates = scenes(5e4)
    pilot(tmp_path / "pilot.h5", rates)
    with MeasuredData(tmp_path / "pilot.h5") as data:
        choice = choose_exposure(data)
    brightest = 1.5 * float(rates.max()) * float(SECONDS[-1])  # of the flat frames
    assert 0.5 * brightest < choice.seconds * float(rates.max()) <= 1.1 * brightest
    assert choice.after < choice.before


def test_dark_pixels_are_known_as_well_as_the_dark(tmp_path):
    rates = torch.where(torch.rand(12, 16, 16, generator=torch.Generator().manual_seed(3)) < 0.05, 1e5, 0.0)
    pilot(tmp_path / "pilot.h5", rates.double())
    with MeasuredData(tmp_path / "pilot.h5") as data:
        choice = choose_exposure(data)
    assert choice.before == pytest.approx(error_of(tmp_path / "pilot.h5", rates.double()), rel=0.3)


def test_what_is_missing_is_named(tmp_path):
    path, frames = tmp_path / "a.h5", camera(scenes(5e4), torch.full((12,), USUAL), 0.0, 0)
    write(path, Part(frames, USUAL))
    with MeasuredData(path) as data, pytest.raises(InvalidArgument, match="2 dark frames"):
        choose_exposure(data)
    write(path, Part(frames, USUAL), dark=Part(frames, USUAL))
    with (
        MeasuredData(path, accept=["dark"]) as data,
        pytest.raises(InvalidArgument, match="flat frames at fewer than 3 exposure times"),
    ):
        choose_exposure(data)
    pilot(path, scenes(5e4))
    with MeasuredData(path) as data:
        flat = data.flat[:]
    dark = camera(0 * scenes(1.0), torch.full((12,), USUAL), 0.0, 5)
    write(path, Part(dark, USUAL), dark=Part(dark[:8], USUAL), flat=Part(flat, SECONDS))
    with (
        MeasuredData(path, accept=["dark"]) as data,
        pytest.raises(InvalidArgument, match="scenes that are brighter than the dark"),
    ):
        choose_exposure(data)
