import math

import pytest
import torch

from photonet import Detector
from photonet.detector import detect
from photonet.detector.emva import system_gain
from photonet.errors import InvalidArgument, UnknownName
from photonet.measured import (
    Calibration,
    MeasuredData,
    Part,
    Shots,
    calibrate,
    check,
    correct_drift,
    gain_of_series,
    make_devices,
    run_bench,
    write,
)
from tests.measured.test_device import make_design

CAMERA = Detector(dark_current=2000.0, dsnu=(1.0, 2.0, 8.0), prnu=0.01)
ERRORS = {"vignetting": 0.35, "pixel_gain": 0.05, "drift": -0.5, "warming": 40.0, "saturation": 1.0}
HOUR = 3600.0


def pictures(n=60, size=24):
    coarse = torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def device(seed=3, **errors):
    draws = {name: [value] for name, value in errors.items()}
    return make_devices(make_design(), draws, [seed], detector=CAMERA, binning=4)[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "device.h5"
    run_bench(device(**ERRORS), pictures(), path, interval=60.0)
    return path


def plain(frames):
    """Frames at one time, exposure and temperature, of whom nothing is known but that."""
    return Part(frames, exposure=1e-3, time=torch.arange(float(len(frames))))


def black(frames, level=0.0):
    """Two dark frames for them."""
    return plain(torch.full((2, *frames.shape[1:]), level))


def shots(n=1, exposure=1e-2, temperature=25.0, time=0.0):
    column = torch.ones(n, dtype=torch.float64)
    return Shots(exposure * column, temperature * column, time * column)


def test_every_step_reports_a_smaller_residual_and_finds_what_the_device_is(file):
    with MeasuredData(file) as data:
        found = calibrate(data)
    assert [step.name for step in found.steps] == ["defects", "dark", "linearity", "drift", "flat"]
    assert all(step.after < 0.1 * step.before for step in found.steps[1:])
    # read noise and rounding: 7 e- and the dark current's shot noise at 0.12 DN/e-
    assert 0.8 < found["dark"].after < 4.0
    assert found["drift"].parameters["change"] == pytest.approx(math.expm1(-0.5 * 59 / 60), abs=0.005)
    # the corner lost 35 % of the light; unequal pixels of 5 %
    rate = found["flat"].parameters["rate"]
    assert float(rate[0, 0] / rate[12 - 2 : 12 + 2, 10:14].mean()) == pytest.approx(0.65, abs=0.12)
    text = str(found)
    assert text.count("\n") == 5
    assert "held-out dark frames" in text
    assert repr(found) == "<Calibration defects, dark, linearity, drift, flat>"


def test_a_saturating_response_is_made_straight(file):
    with MeasuredData(file) as data:
        step = calibrate(data, ["dark", "linearity"])["linearity"]
    # tanh(sigma x) / sigma with sigma 1, x up to 1.25 times white of 20,000 e- at 0.12 DN/e-
    white = 20_000 * 0.12
    x = torch.linspace(0.1, 1.1, 11, dtype=torch.float64)
    straight = step.apply((torch.tanh(x) * white)[:, None, None], shots(11))[:, 0, 0]
    assert float((straight / (white * x) - 1).abs().max()) < 0.02
    # the slope in the dark stays 1, and beyond the series the correction goes on straight
    dim = torch.full((1, 1, 1), 1e-3, dtype=torch.float64)
    assert step.apply(dim, shots()).item() == pytest.approx(1e-3, rel=1e-4)
    assert step.parameters["correction"][0] == 0
    top = step.parameters["top"]
    beyond = torch.tensor([0.999, 1.0, 1.001], dtype=torch.float64)[:, None, None] * top
    rise = step.apply(beyond, shots(3))[:, 0, 0].diff()
    assert float(rise[1] / rise[0]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("flicker", [0.0, 0.01])
def test_exposure_times_that_nearly_coincide_cut_nothing_off(tmp_path, flicker):
    """As repeated flats at half the exposure time do with one of the series, but for rounding."""
    g = torch.Generator().manual_seed(0)
    levels = torch.arange(1.0, 11.0, dtype=torch.float64).repeat_interleave(2)
    seconds = 1e-3 * torch.cat([levels, torch.full((4,), 5.0, dtype=torch.float64)])
    seconds[-4:] = torch.nextafter(seconds[-4:], torch.tensor(1.0, dtype=torch.float64))
    light = 3e5 * seconds * torch.exp(flicker * torch.randn(len(seconds), generator=g, dtype=torch.float64))
    bent = 3000 * torch.tanh(light / 3000)  # slope 0.42 at the end: not flat
    frames = bent[:, None, None].expand(-1, 8, 8) * torch.linspace(0.9, 1.1, 8, dtype=torch.float64)
    frames = frames + torch.randn(frames.shape, generator=g, dtype=torch.float64)
    write(tmp_path / "a.h5", plain(frames[:1]), dark=black(frames), flat=Part(frames, seconds))
    with MeasuredData(tmp_path / "a.h5") as data:
        step = calibrate(data, ["linearity"])["linearity"]
    assert step.parameters["top"] > 0.97 * float(frames.max())


def test_levels_at_which_the_response_is_flat_do_not_count(tmp_path):
    levels = torch.arange(1.0, 11.0, dtype=torch.float64).repeat_interleave(2)
    bent = 1000 * torch.tanh(levels / 2)  # flat from the fifth level on
    frames = bent[:, None, None].expand(-1, 8, 8)
    write(tmp_path / "a.h5", plain(frames[:1]), dark=black(frames), flat=Part(frames, 1e-3 * levels))
    with MeasuredData(tmp_path / "a.h5") as data:
        step = calibrate(data, ["linearity"])["linearity"]
    assert step.parameters["top"] < 0.995 * float(frames.max())
    straight = step.apply(frames[:8], shots(8))[:, 0, 0]
    ratio = straight / levels[:8]
    assert float(ratio.std() / ratio.mean()) < 0.05


def test_the_dark_current_follows_exposure_and_temperature(file):
    with MeasuredData(file) as data:
        step = calibrate(data, ["dark"])["dark"]
    assert step.parameters["dark current"] in ("one", "map")
    for exposure, temperature in ((1e-2, 25.0), (1e-2, 61.0), (5e-3, 45.0)):
        dark = 64 + 0.12 * 2000 * exposure * 2 ** ((temperature - 25) / 8)
        left = step.apply(torch.full((1, 48, 24), dark, dtype=torch.float64), shots(1, exposure, temperature))
        # the DSNU map stays: its mean is 0, and the mean of 1,152 pixels is known to 0.1 DN
        assert abs(float(left.mean())) < 0.5


@pytest.mark.parametrize("unknown", ["dark", "scenes", "both"])
def test_a_temperature_known_on_one_side_only_changes_nothing(tmp_path, unknown):
    level = torch.tensor([70.0] * 4 + [80.0] * 4)[:, None, None].expand(-1, 8, 8)
    dark = Part(level, [1e-2] * 4 + [2e-2] * 4, temperature=math.nan if unknown != "scenes" else 31.5)
    scenes = Part(torch.full((2, 8, 8), 500.0), 1e-2, temperature=31.5 if unknown == "dark" else math.nan)
    write(tmp_path / "a.h5", scenes, dark=dark)
    with MeasuredData(tmp_path / "a.h5", accept="exposure") as data:
        found = calibrate(data, ["dark"])
        assert found["dark"].parameters["dark current"] == "one"
        torch.testing.assert_close(found.read(data.scenes), torch.full((2, 8, 8), 430.0))


def test_a_black_level_does_not_pass_for_a_bent_response(tmp_path):
    seconds = torch.arange(1.0, 11.0).repeat_interleave(2)
    frames = 64 + 200 * seconds[:, None, None].expand(-1, 8, 8)
    write(tmp_path / "a.h5", plain(frames[:1]), flat=Part(frames, seconds))
    with MeasuredData(tmp_path / "a.h5") as data:
        assert calibrate(data).steps == ()


def test_the_order_of_dark_exposures_does_not_matter(tmp_path):
    g = torch.Generator().manual_seed(0)
    for name, seconds in {"blocks": [1e-3] * 8 + [0.1] * 8, "alternating": [1e-3, 0.1] * 8}.items():
        level = 64 + 1000 * torch.tensor(seconds)[:, None, None]
        dark = Part(level + torch.randn(16, 8, 8, generator=g), seconds)
        write(tmp_path / name, Part(torch.full((2, 8, 8), 500.0), 0.1), dark=dark)
        with MeasuredData(tmp_path / name, accept="exposure") as data:
            found = calibrate(data, ["dark"])
            assert found["dark"].parameters["dark current"] == "one"
            assert found.read(data.scenes).mean() == pytest.approx(500 - 164, abs=1.0)


def test_a_lamp_that_flickers_does_not_pass_for_noise(tmp_path):
    g = torch.Generator().manual_seed(0)
    seconds = torch.arange(1, 11).repeat_interleave(2).double() * 1e-3
    light = 2.5e6 * seconds * torch.exp(0.005 * torch.randn(20, generator=g))
    electrons = torch.poisson(light.float()[:, None, None].expand(-1, 64, 64), generator=g)
    dark = Part(64 + torch.randn(4, 64, 64, generator=g), 1e-3)
    write(
        tmp_path / "a.h5", Part(dark.data + 500, 1e-3), dark=dark, flat=Part(64 + 0.12 * electrons, seconds)
    )
    with MeasuredData(tmp_path / "a.h5", accept="exposure") as data:
        gain = gain_of_series(data)
    assert gain.value == pytest.approx(0.12, rel=0.02)


def test_point_sources_without_a_time_leave_the_drift_of_the_others(tmp_path):
    times = 60.0 * torch.arange(12)
    fading = 1000 * torch.exp(-times / 1000)[:, None, None].expand(-1, 8, 8)
    write(
        tmp_path / "a.h5", Part(fading, 1e-2, time=times), dark=black(fading),
        flat=Part(fading, 1e-2, time=times), psf=Part(fading[:2], 1e-2),
    )  # fmt: skip
    assert any("psf, frames 0 to 1: no time" in str(doubt) for doubt in check(tmp_path / "a.h5"))
    with MeasuredData(tmp_path / "a.h5", accept="exposure") as data:
        found = calibrate(data)
        assert "drift" in [step.name for step in found.steps]
        with pytest.raises(InvalidArgument, match="shots: expected a time of each frame"):
            found.read(data.psf)


def test_without_dark_current_the_mean_dark_frame_is_enough(tmp_path):
    g = torch.Generator().manual_seed(0)
    dark = torch.randint(60, 64, (16, 8, 8), generator=g)
    path = tmp_path / "a.h5"
    write(path, plain(torch.randint(900, 950, (4, 8, 8), generator=g)), dark=plain(dark))
    with MeasuredData(path) as data:
        step = calibrate(data)["dark"]
        assert step.parameters["dark current"] == "none"
        torch.testing.assert_close(step.parameters["offset"], dark.double().mean(0))
        # uniform over 4 values, and the error of a mean of 8 of them: sqrt(1.25 (1 + 1/8)) = 1.19
        assert step.after == pytest.approx(1.19, rel=0.05)


def test_photon_transfer_finds_the_gain(file):
    with MeasuredData(file) as data:
        gain = gain_of_series(data)
    assert gain.low > 0
    assert gain.value == pytest.approx(0.12, rel=0.08)
    assert gain.high - gain.low < 0.04


def test_the_interval_of_the_gain_is_students_of_its_groups(tmp_path):
    g = torch.Generator().manual_seed(0)
    seconds = torch.arange(1, 11).repeat_interleave(2) * 1e-3
    # halves of whole numbers, that nothing was rounded
    flat = 0.5 * torch.poisson(1e6 * seconds[:, None, None].expand(-1, 4, 4), generator=g)
    dark = torch.zeros(2, 4, 4)
    write(tmp_path / "a.h5", Part(flat[:4], 1e-3), dark=Part(dark, 1e-3), flat=Part(flat, seconds))
    with MeasuredData(tmp_path / "a.h5") as data:
        gain = gain_of_series(data)
    pairs = flat.double().reshape(10, 2, 16)
    change = pairs[:, 0] - pairs[:, 1]
    signal, noise = pairs.mean(1), (change - change.mean(1, keepdim=True)).square() / 2
    used = signal.mean(1) <= 0.7 * signal.mean(1)[noise.mean(1).argmax()]
    error = float(system_gain(signal[used], noise[used]).std()) / 16**0.5
    assert (gain.high - gain.low) / 2 == pytest.approx(2.1314 * error, rel=1e-4)  # 15 degrees of freedom


def test_the_gain_needs_no_order_of_the_dark_frames(tmp_path):
    g = torch.Generator().manual_seed(0)
    seconds = torch.arange(1, 11).repeat_interleave(2).double() * 1e-3
    light = 0.5 * torch.poisson((4e5 * seconds).float()[:, None, None].expand(-1, 24, 24), generator=g)
    current = 1000.0  # DN per second
    times = torch.tensor([1e-3, 1e-2]).repeat(8).double()
    dark = 64 + current * times[:, None, None] + torch.randn(16, 24, 24, generator=g)
    flat = 64 + current * seconds[:, None, None] + light
    write(tmp_path / "a.h5", Part(flat[:4], 1e-3), dark=Part(dark, times), flat=Part(flat, seconds))
    with MeasuredData(tmp_path / "a.h5") as data:
        gain = gain_of_series(data)
    assert gain.value == pytest.approx(0.5, rel=0.05)  # 7 levels of 576 pixels: sqrt(2 / 4032) = 2 %
    one_each = Part(dark[:2], times[:2])
    write(tmp_path / "a.h5", Part(flat[:4], 1e-3), dark=one_each, flat=Part(flat, seconds))
    with (
        MeasuredData(tmp_path / "a.h5") as data,
        pytest.raises(InvalidArgument, match="of one exposure time"),
    ):
        gain_of_series(data)


def rounded_series(path, camera, seed):
    g = torch.Generator().manual_seed(seed)
    maps = camera.pattern((48, 48), seed)
    seconds = torch.arange(1, 16).repeat_interleave(2) / 15
    light = torch.cat([torch.zeros(4), 0.9 * camera.saturation * seconds, torch.full((2,), 1e4)])
    frames = detect(light[:, None, None].expand(-1, 48, 48), camera, seed=g, pattern=maps)
    write(path, Part(frames[-2:], 1.0), dark=Part(frames[:4], 1.0), flat=Part(frames[4:-2], seconds))


def test_the_gain_is_right_where_rounding_hides_the_noise_of_the_dark(tmp_path):
    inside = 0
    for seed in range(20):
        camera = Detector(bits=8, gain=230 / 32_000, black_level=4 + seed / 20)
        rounded_series(tmp_path / "a.h5", camera, seed)
        with MeasuredData(tmp_path / "a.h5") as data:
            gain = gain_of_series(data)
        inside += camera.gain in gain
        assert (gain.high - gain.low) / 2 < 0.2 * gain.value
    assert inside >= 17
    rounded_series(tmp_path / "a.h5", Detector(bits=8, gain=0.002, black_level=4.0), 0)
    with MeasuredData(tmp_path / "a.h5") as data, pytest.raises(InvalidArgument, match=r"of 0\.29 DN\^2"):
        gain_of_series(data)


def test_drift_is_told_by_scenes_of_one_name_too(tmp_path):
    fading = 1000 * torch.exp(-0.3 * torch.arange(20) / 19)[:, None, None]
    frames = fading * (1 + 0.1 * (torch.arange(20) % 2))[:, None, None] * torch.ones(20, 4, 4)
    path = tmp_path / "a.h5"
    names = ["a" if i % 2 else "b" for i in range(20)]
    write(path, Part(frames, exposure=1.0, time=[60.0 * i for i in range(20)], name=names))
    with MeasuredData(path) as data:
        step = correct_drift(data)
        even = Calibration((step,)).read(data.scenes)[::2]
    assert step.parameters["change"] == pytest.approx(math.expm1(-0.3), rel=1e-6)
    assert step.after < 1e-4 < step.before
    torch.testing.assert_close(even, torch.full_like(even, 1000.0))


@pytest.mark.parametrize("differ", ["shown", "exposure"])
def test_a_name_that_many_scenes_share_tells_no_drift(tmp_path, differ):
    """As names of classes do, or of scenes that were exposed longer and longer."""
    level = torch.arange(20.0)[:, None, None]
    shown = level[:, None] / 20 * torch.ones(20, 1, 4, 4) if differ == "shown" else None
    seconds = 1e-3 * (1 + torch.arange(20)) if differ == "exposure" else 1e-3
    frames = 500 + 20 * level * torch.ones(20, 4, 4)
    part = Part(frames, seconds, time=list(range(20)), name=["digit 7"] * 20, shown=shown)
    write(tmp_path / "a.h5", part)
    with MeasuredData(tmp_path / "a.h5") as data:
        assert calibrate(data).steps == ()


def test_scenes_without_a_time_are_not_corrected_by_that_of_others(tmp_path):
    times = 60.0 * torch.arange(12)
    fading = 1000 * torch.exp(-times / 1000)[:, None, None].expand(-1, 8, 8)
    parts = {"dark": black(fading), "flat": Part(fading, 1e-2, time=times)}
    write(tmp_path / "a.h5", Part(fading, 1e-2), **parts)
    with MeasuredData(tmp_path / "a.h5", accept="exposure") as data:
        assert [step.name for step in calibrate(data).steps] == ["defects", "dark", "flat"]
        with pytest.raises(InvalidArgument, match="scenes frames without a time"):
            calibrate(data, ["drift"])
        untimed = Shots(data.scenes.exposure, data.scenes.temperature, data.scenes.time)
    write(tmp_path / "a.h5", Part(fading, 1e-2, time=times), **parts)
    with MeasuredData(tmp_path / "a.h5", accept="exposure") as data:
        step = calibrate(data, ["drift"])["drift"]
    with pytest.raises(InvalidArgument, match="shots: expected a time of each frame"):
        step.apply(fading, untimed)


def test_no_drift_is_left_as_it_is(tmp_path):
    g = torch.Generator().manual_seed(2)
    noise = 1000 + torch.randn(24, 1, 1, generator=g) + torch.zeros(24, 4, 4)
    path = tmp_path / "a.h5"
    write(path, Part(noise, 1.0, time=list(range(24))), flat=Part(noise, 1.0, time=list(range(24))))
    with MeasuredData(path) as data:
        step = correct_drift(data)
    assert step.parameters["degree"] == 0
    assert step.after == step.before


def test_a_hot_pixel_does_not_make_a_frame_saturated(tmp_path):
    flat = torch.full((4, 40, 40), 1000)
    flat[:, 2, 3] = 4095  # 1 of 1,600 pixels
    path = tmp_path / "a.h5"
    dark = Part(torch.zeros(2, 40, 40), 1.0)
    write(path, Part(flat, 0.5), dark=dark, flat=Part(flat, 1.0), bits=12)
    with MeasuredData(path) as data:
        assert [step.name for step in calibrate(data).steps] == ["defects", "dark", "flat"]
    flat[2:] = 4095
    write(path, Part(flat[:2], 0.5), dark=dark, flat=Part(flat, 1.0), bits=12)
    with MeasuredData(path, accept=["saturated"]) as data:
        rate = calibrate(data)["flat"].parameters["rate"]
    assert rate.median() == 1000


def test_what_the_file_lacks_is_named_and_left_out(tmp_path):
    path = tmp_path / "a.h5"
    write(path, Part(torch.rand(3, 4, 4), 1.0))
    with MeasuredData(path) as data:
        assert calibrate(data).steps == ()
        assert str(calibrate(data)).startswith("step")
        for step, what in (
            ("defects", "fewer than 2 dark frames of one exposure time"),
            ("dark", "fewer than 2 dark frames"),
            ("linearity", "fewer than 2 dark frames, without which the black level passes for light"),
            ("drift", "nothing that was recorded at 4 or more times"),
            ("flat", "fewer than 2 dark frames, without which the black level passes for light"),
        ):
            with pytest.raises(InvalidArgument, match=f"data: expected .*{what}"):
                calibrate(data, [step])
        with pytest.raises(InvalidArgument, match="no flat frames"):
            gain_of_series(data)
        for steps in ("dark", 3):
            with pytest.raises(InvalidArgument, match="^steps: expected several names"):
                calibrate(data, steps)
        with pytest.raises(InvalidArgument, match="^data: expected an open file"):
            calibrate(path)
        with pytest.raises(UnknownName, match="did you mean flat"):
            calibrate(data, ["flatt"])
    write(path, Part(torch.rand(3, 4, 4), 1.0), dark=Part(torch.zeros(3, 4, 4), 1.0))
    with MeasuredData(path) as data:
        for step, what in (
            ("linearity", "at fewer than 3 exposure times"),
            ("flat", "fewer than 2 flat frames"),
        ):
            with pytest.raises(InvalidArgument, match=f"data: expected .*{what}"):
                calibrate(data, [step])
    write(path, Part(torch.rand(3, 2, 4, 4), 1.0), kind="features")
    with MeasuredData(path) as data, pytest.raises(InvalidArgument, match="a file of raw frames"):
        calibrate(data)


def test_flat_frames_darker_than_the_dark_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    flat = Part(torch.full((6, 4, 4), 30.0), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    write(
        path, Part(torch.full((2, 4, 4), 90.0), 1.0), dark=Part(torch.full((2, 4, 4), 60.0), 1.0), flat=flat
    )
    with MeasuredData(path) as data:
        for step in ("linearity", "flat"):
            with pytest.raises(InvalidArgument, match="brighter than the dark"):
                calibrate(data, ["dark", step])
