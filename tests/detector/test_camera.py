import dataclasses
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Grid
from photonet.detector import Detector, FixedPattern, detect, pixel_irradiance
from photonet.errors import DataError, DataMissing, InvalidArgument, UnknownName
from photonet.nn import DetectorLayer

QUIET = Detector(dsnu=0, prnu=0, dark_current=0)


def flat(level, n=200, dtype=torch.float64):
    return torch.full((n, n), float(level), dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"pitch": 0}, "pitch"),
        ({"pitch": (1e-6, 2e-6, 3e-6)}, "pitch"),
        ({"exposure": -1}, "exposure"),
        ({"exposure": float("nan")}, "exposure"),
        ({"quantum_efficiency": 1.2}, "quantum_efficiency"),
        ({"quantum_efficiency": {525: 0.5, 600: 0.6}}, "quantum_efficiency"),
        ({"quantum_efficiency": [(525e-9, 0.5)]}, "quantum_efficiency"),
        ({"quantum_efficiency": [(525e-9, 0.5), (525e-9, 0.6)]}, "quantum_efficiency"),
        ({"quantum_efficiency": "high"}, "quantum_efficiency"),
        ({"gain": 0}, "gain"),
        ({"bits": 12.0}, "bits"),
        ({"bits": 32}, "bits"),
        ({"black_level": -1}, "black_level"),
        ({"black_level": 5000}, "black_level"),
        ({"full_well": 0}, "full_well"),
        ({"dark_noise": -2}, "dark_noise"),
        ({"dark_current": "low"}, "dark_current"),
        ({"temperature": float("inf")}, "temperature"),
        ({"doubling_temperature": 0}, "doubling_temperature"),
        ({"dsnu": (1, 2)}, "dsnu"),
        ({"prnu": (0, 0, -0.1)}, "prnu"),
        ({"response": "linear"}, "response"),
        ({"response": (-1.0,)}, "response"),
        ({"response": [(0, 0), (0.5, 0.6)]}, "response"),
        ({"response": [(0, 0), (0.5, 0.6), (0.4, 0.7), (1, 1)]}, "response"),
        ({"softness": 0.2}, "softness"),
        ({"crosstalk": 1.5}, "crosstalk"),
        ({"crosstalk": [[0.5, 0.5]]}, "crosstalk"),
        ({"crosstalk": [[0.1, 0.1, 0.1]]}, "crosstalk"),
        ({"fill": 0}, "fill"),
        ({"mosaic": ["RG", "G"]}, "mosaic"),
        ({"mosaic": "RGGB"}, "mosaic"),
        ({"mosaic": ["RG", "GB"], "quantum_efficiency": 0.5}, "quantum_efficiency"),
        ({"mosaic": ["RG", "GB"], "quantum_efficiency": {"R": 0.5, "G": 0.5}}, "quantum_efficiency"),
        ({"mosaic": ["RG", "GB"], "quantum_efficiency": (1, 2)}, "quantum_efficiency"),
    ],
)
def test_a_camera_that_cannot_be_names_the_argument(arguments, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        Detector(**arguments)


def test_a_camera_is_a_value():
    assert Detector(pitch=5.86e-6, dsnu=2, prnu=0.005) == Detector()
    assert hash(Detector(quantum_efficiency={5e-7: 0.5, 4e-7: 0.4})) == hash(
        Detector(quantum_efficiency=[(4e-7, 0.4), (5e-7, 0.5)])
    )
    assert dataclasses.replace(Detector(), exposure=1.0).exposure == 1.0


def test_mean_signal_follows_the_linear_model():
    camera = dataclasses.replace(QUIET, dark_current=100.0, temperature=33.0)
    per_photon = 525e-9 / (6.62607015e-34 * 299792458)
    expected = 0.12 * (0.65 * 5.86e-6**2 * 0.02 * 10e-3 * per_photon + 200.0 * 10e-3) + 64
    grey = camera.expose(flat(0.02, 2), 525e-9, noise=False)
    torch.testing.assert_close(grey, flat(expected, 2), rtol=1e-12, atol=0)


def test_charge_adds_over_wavelengths_by_their_efficiency():
    camera = dataclasses.replace(QUIET, quantum_efficiency={450e-9: 0.3, 650e-9: 0.7})
    waves = torch.tensor([450e-9, 550e-9])
    light = torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    together = camera.photo_electrons(light, waves)
    apart = sum(camera.photo_electrons(light[:, i], w) for i, w in enumerate(waves))
    torch.testing.assert_close(together, apart)
    assert together.shape == (3, 4, 5)
    torch.testing.assert_close(camera.efficiency(waves), torch.tensor([0.3, 0.5]).double())


def test_efficiency_is_not_extrapolated():
    camera = Detector(quantum_efficiency={450e-9: 0.3, 650e-9: 0.7})
    with pytest.raises(InvalidArgument, match=r"^wavelength: expected within the table .* got 7e-07 m"):
        camera.efficiency([500e-9, 700e-9])


@pytest.mark.parametrize("electrons", [0, 20, 2000])
def test_noise_has_the_variance_of_the_standard(electrons):
    camera = dataclasses.replace(QUIET, dark_current=900.0)
    grey = detect(flat(electrons), camera, seed=1)
    mean = camera.gain * (electrons + 9) + camera.black_level
    variance = camera.gain**2 * camera.dark_noise**2 + 1 / 12 + camera.gain * (mean - camera.black_level)
    n = grey.numel()
    assert grey.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / n))
    assert grey.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))


def test_averaging_frames_divides_the_variance():
    one, many = (detect(flat(1000), QUIET, seed=2, frames=f).var().item() for f in (1, 16))
    assert many == pytest.approx(one / 16, rel=10 * math.sqrt(2 / 200**2))


@pytest.mark.parametrize("light", [40_000.0, 1e9, 1e30])
def test_a_full_well_keeps_read_noise_only(light):
    camera = dataclasses.replace(QUIET, full_well=20_000.0)
    grey = detect(flat(light), camera, seed=3)
    expected = math.sqrt((0.12 * 7) ** 2 + 1 / 12)
    assert grey.mean().item() == pytest.approx(0.12 * 20_000 + 64, abs=0.05)
    assert grey.std().item() == pytest.approx(expected, rel=5 * math.sqrt(0.5 / 200**2))


def test_converter_saturates_before_the_well_at_high_gain():
    camera = dataclasses.replace(QUIET, gain=1.0)
    assert camera.saturation == pytest.approx(4095 - 64, rel=1e-12)
    assert bool((detect(flat(20_000.0), camera, seed=0) == 4095).all())
    assert bool((detect(flat(20_000.0), camera, noise=False) == 4095).all())


def test_same_seed_same_picture_and_the_camera_stays_between_exposures():
    camera = Detector(dsnu=20, prnu=0.05)
    light = flat(5000)
    pattern = camera.pattern(light.shape, seed=9)
    again = camera.pattern(light.shape, seed=9, dtype=torch.float64)
    torch.testing.assert_close(pattern.offset, again.offset.float())
    first, repeat, second = (detect(light, camera, seed=s, pattern=pattern) for s in (1, 1, 2))
    assert torch.equal(first, repeat)
    assert not torch.equal(first, second)
    a, b = first - first.mean(), second - second.mean()
    spatial = camera.gain**2 * (20**2 + (0.05 * 5000) ** 2)
    assert (a * b).mean().item() == pytest.approx(spatial, rel=0.05)  # independent noise averages out


def test_pattern_and_exposure_with_one_seed_share_no_numbers():
    camera = Detector(dsnu=100, prnu=0)
    pattern = camera.pattern((200, 200), seed=5, dtype=torch.float64)
    noise = detect(flat(0), camera, seed=5) - detect(flat(0), camera, noise=False)
    correlation = torch.corrcoef(torch.stack([pattern.offset.flatten(), noise.flatten()]))[0, 1]
    assert abs(correlation.item()) < 5 / 200


def test_pattern_parts_are_rows_columns_and_pixels():
    pattern = Detector(dsnu=(3, 0, 0), prnu=(0, 0.02, 0)).pattern((300, 200), seed=1)
    assert pattern.offset.std(1).max() == 0
    assert pattern.offset[:, 0].std().item() == pytest.approx(3, rel=5 / math.sqrt(600))
    assert pattern.response.std(0).max() < 1e-6
    assert pattern.response[0].std().item() == pytest.approx(0.02, rel=5 / math.sqrt(400))


def test_mean_signal_is_the_mean_of_many_exposures():
    camera = Detector()
    light = flat(300, 32)
    pattern = camera.pattern((32, 32), seed=1, dtype=torch.float64)
    many = detect(light, camera, seed=1, pattern=pattern, frames=400)
    mean = detect(light, camera, pattern=pattern, noise=False)
    sigma = math.sqrt(0.12**2 * (49 + 300) + 1 / 12) / 20
    assert (many - mean).abs().max().item() < 5 * sigma


def test_gradient_of_the_mean_is_the_gain_and_zero_in_saturation():
    light = torch.tensor([[100.0, 40_000.0]], dtype=torch.float64, requires_grad=True)
    detect(light, QUIET, noise=False).sum().backward()
    assert light.grad.tolist() == [[0.12, 0.0]]


def test_gradcheck_from_irradiance_and_wavelength_to_grey():
    camera = dataclasses.replace(QUIET, quantum_efficiency={450e-9: 0.3, 650e-9: 0.7})
    light = torch.full((2, 1, 2), 0.01, dtype=torch.float64, requires_grad=True)

    def grey(x, micrometres):
        return camera.expose(x, micrometres * 1e-6, noise=False)

    waves = torch.tensor([0.5, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(grey, (light, waves), eps=1e-7)


def test_gradient_through_noise_is_the_gain_on_average():
    light = flat(200).requires_grad_()
    detect(light, QUIET, seed=0).mean().backward()
    assert (light.grad * light.numel()).mean().item() == pytest.approx(0.12, rel=5 * 0.05 / 200)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1e5), st.integers(1, 16), st.floats(0.01, 5), st.integers(0, 2**31))
def test_grey_values_are_whole_and_in_range(electrons, bits, gain, seed):
    camera = Detector(bits=bits, gain=gain, black_level=0)
    grey = detect(flat(electrons, 8, torch.float32), camera, seed=seed)
    assert torch.equal(grey, grey.round())
    assert grey.min() >= 0
    assert grey.max() <= 2**bits - 1


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 30_000))
def test_electrons_undo_the_camera(electrons):
    camera = Detector(dark_current=50)
    back = camera.electrons(detect(flat(electrons, 2), camera, noise=False))
    torch.testing.assert_close(back, flat(electrons, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_the_callers(dtype):
    camera = Detector()
    pattern = camera.pattern((4, 4), seed=0)
    assert camera.expose(torch.ones(4, 4, dtype=dtype), 5e-7, seed=0, pattern=pattern).dtype == dtype
    assert camera.expose(np.ones((4, 4), dtype=np.float64), 5e-7, noise=False).dtype == torch.float64
    assert detect(torch.ones(4, 4, dtype=torch.bfloat16), camera, seed=0).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda c: c.expose(torch.ones(4, 4), 525, seed=0), "wavelength"),
        (lambda c: c.expose(torch.ones(4, 4), 5e-7), "seed"),
        (lambda c: c.expose(-torch.ones(4, 4), 5e-7, seed=0), "irradiance"),
        (lambda c: c.expose(torch.ones(4, 4) * 1j, 5e-7, seed=0), "irradiance"),
        (lambda c: c.expose(torch.full((4, 4), math.nan), 5e-7, seed=0), "irradiance"),
        (lambda c: c.expose(torch.ones(4), 5e-7, seed=0), "irradiance"),
        (lambda c: c.expose(torch.ones(4, 4), [5e-7], seed=0), "irradiance"),
        (lambda c: c.expose(torch.ones(3, 4, 4), [5e-7, 6e-7], seed=0), "irradiance"),
        (lambda c: c.expose(torch.ones(4, 4), 5e-7, seed=0, frames=0), "frames"),
        (lambda c: c.expose(torch.ones(4, 4), 5e-7, seed=0, pattern=c.pattern((4, 5), 0)), "pattern"),
        (lambda c: c.pattern((4, 0), 0), "shape"),
        (lambda c: detect(flat(math.nan, 2), c, seed=0), "electrons"),
        (lambda c: detect(flat(math.nan, 2), c, noise=False), "electrons"),
        (lambda c: detect(flat(-3.0, 2), c, seed=0), "electrons"),
        (lambda c: detect(flat(3.0, 2) * 1j, c, seed=0), "electrons"),
        (lambda c: detect(flat(3.0, 2), c, frames=-3, noise=False), "frames"),
        (lambda c: detect(flat(3.0, 2), c, seed=0, pattern=3), "pattern"),
        (lambda c: c.dark_electrons_at(math.nan), "temperature"),
        (lambda c: c.dark_electrons_at(1j), "temperature"),
        (lambda c: c.dark_electrons_at(torch.tensor([1j])), "temperature"),
        (lambda c: c.pattern((4, 4), 0, dtype=torch.int32), "dtype"),
        (lambda c: c.pattern((4, 4), 0, dtype=torch.complex64), "dtype"),
        (lambda c: c.pattern((4, 4), 0, dtype="float"), "dtype"),
        (lambda c: c.electrons(1j), "grey"),
        (lambda c: c.electrons(torch.tensor([1j])), "grey"),
        (lambda c: Detector.from_file("imx249", foo=1), "changes"),
    ],
)
def test_bad_input_names_the_argument(call, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        call(Detector())


def test_rounding_remnants_below_zero_are_dark():
    light = torch.tensor([[1.0, -1e-7]])
    dark = detect(torch.zeros(1, 2), QUIET, noise=False)
    assert detect(1e3 * light, QUIET, noise=False)[0, 1] == dark[0, 1]
    assert QUIET.photo_electrons(light, 5e-7)[0, 1] == 0
    assert isinstance(QUIET.pattern(2, 0), FixedPattern)


COLOUR = Detector(
    mosaic=["RG", "GB"],
    quantum_efficiency={
        "R": {400e-9: 0.02, 700e-9: 0.5},
        "G": {400e-9: 0.05, 550e-9: 0.6, 700e-9: 0.05},
        "B": {400e-9: 0.6, 700e-9: 0.01},
    },
    dsnu=0,
    prnu=0,
)


def test_each_pixel_of_a_mosaic_sees_through_its_own_filter():
    light = torch.full((2, 4, 6), 0.01, dtype=torch.float64)
    waves = [450e-9, 650e-9]
    electrons = COLOUR.photo_electrons(light, waves)
    for (i, j), name in {(0, 0): "R", (0, 1): "G", (1, 0): "G", (1, 1): "B"}.items():
        alone = dataclasses.replace(
            COLOUR, mosaic=None, quantum_efficiency=dict(COLOUR.quantum_efficiency)[name]
        )
        torch.testing.assert_close(electrons[i::2, j::2], alone.photo_electrons(light, waves)[i::2, j::2])
    assert dataclasses.replace(COLOUR, exposure=1.0).mosaic == COLOUR.mosaic
    with pytest.raises(InvalidArgument, match=r"^filter_name: expected one of B, G, R"):
        COLOUR.efficiency(500e-9, "IR")


def test_electrons_without_a_wavelength_are_refused_by_a_mosaic():
    """Every pixel would count them alike, whatever its filter."""
    for use in (lambda: detect(flat(1000, 4), COLOUR, seed=0), lambda: DetectorLayer(COLOUR)):
        with pytest.raises(InvalidArgument, match=r"^detector: .* mosaic RG GB; detector\.behind\('R'\)"):
            use()
    assert COLOUR.expose(torch.full((4, 4), 0.01), 500e-9, noise=False).unique().numel() == 3


def test_the_pixels_of_one_filter_are_a_camera_of_their_own():
    light = torch.full((4, 6), 0.01)
    seen = COLOUR.photo_electrons(light, 500e-9)
    torch.testing.assert_close(
        COLOUR.behind("B").photo_electrons(light, 500e-9)[1::2, 1::2], seen[1::2, 1::2]
    )
    with pytest.raises(UnknownName, match=r"^filter_name: expected one of B, G, R"):
        COLOUR.behind("IR")
    with pytest.raises(InvalidArgument, match=r"^filter_name: expected a camera with a mosaic"):
        QUIET.behind("R")


def test_a_pixel_that_its_dark_current_fills_has_no_saturation():
    warm = Detector(dark_current=1e5, exposure=1.0)
    with pytest.raises(InvalidArgument, match=r"^dark_current: .* 3.2e\+04 e-/s.*shorten the exposure"):
        DetectorLayer(warm)
    assert dataclasses.replace(warm, exposure=0.1).saturation == pytest.approx(32_000 - 1e4)


def test_nonlinear_response_and_soft_well_shape_the_mean():
    bent = dataclasses.replace(QUIET, response=(-0.05, 0.01))
    q = 16_000.0  # half of the full well: 1 - 0.05/2 + 0.01/4
    grey = detect(flat(q, 2), bent, noise=False)
    torch.testing.assert_close(grey, flat(0.12 * q * 0.9775 + 64, 2))
    soft = dataclasses.replace(QUIET, softness=0.03)
    at_full = detect(flat(32_000.0, 2), soft, noise=False)[0, 0].item()
    assert at_full == pytest.approx(0.12 * 32_000 * (1 - 0.03 * math.log(2)) + 64, rel=1e-9)


def test_saturation_is_where_the_bent_response_meets_the_converter():
    bent = dataclasses.replace(QUIET, gain=0.2, response=(-0.05,))
    assert detect(flat(bent.saturation * 0.9999, 1), bent, noise=False).item() < 4095
    assert detect(flat(bent.saturation * 1.0001, 1), bent, noise=False).item() == 4095


@pytest.mark.parametrize("response", [(), (-0.02,), (0.1,)])
def test_the_saturation_level_is_what_the_brightest_light_gives(response):
    camera = Detector(response=response)
    brightest = detect(flat(1e6, 1), camera, noise=False).item()
    assert camera.saturation_level == pytest.approx(brightest, rel=1e-6)


def test_crosstalk_moves_charge_and_leaves_noise_white():
    camera = dataclasses.replace(QUIET, crosstalk=0.2, dark_noise=0.0)
    point = torch.zeros(5, 5, dtype=torch.float64)
    point[2, 2] = 1000.0
    electrons = camera.electrons(detect(point, camera, noise=False))
    assert electrons[2].tolist() == pytest.approx([0, 50, 800, 50, 0], abs=1e-9)
    grey = detect(flat(1000), camera, seed=1)[1:-1, 1:-1]
    residual = grey - grey.mean()
    neighbours = (residual[:, 1:] * residual[:, :-1]).mean() / residual.var()
    assert abs(neighbours.item()) < 5 / 200


@pytest.mark.parametrize("name", ["imx249", "imx250", "zyla-5.5"])
def test_every_number_of_a_camera_file_has_its_source(name):
    path = Path(__file__).parents[2] / "materials" / "cameras" / f"{name}.toml"
    content = tomllib.loads(path.read_text())
    assert set(content["camera"]) == set(content["source"])
    camera = Detector.from_file(name)
    assert camera.name == content["name"]
    assert Detector.from_file(path) == camera
    # the dark noise is not lost in the converter's steps, so that EMVA 1288 can measure it
    assert camera.gain * camera.dark_noise > 0.5


def test_published_figures_of_the_imx249_follow_from_its_file():
    camera = Detector.from_file("imx249", exposure=1e-3)
    assert 10 * math.log10(camera.saturation) == pytest.approx(45.1, abs=0.05)  # SNR_max = sqrt(mu_e.sat)
    noise = math.sqrt(camera.dark_noise**2 + camera.dark_electrons + 1 / 12 / camera.gain**2)
    assert 20 * math.log10(camera.saturation / (noise + 0.5)) == pytest.approx(73, abs=1)  # rounded there


def test_bad_camera_files_are_named(tmp_path):
    with pytest.raises(UnknownName, match=r"^name: expected one of .*did you mean imx249"):
        Detector.from_file("imx24")
    for content, message in {
        "pitch = ": "not a TOML file",
        "[sensor]": r"expected a table \[camera\]",
        "[camera]\npich = 1e-6": "unknown key 'pich'",
        "[camera]\npitch = -1e-6": "pitch: expected a positive length",
    }.items():
        (tmp_path / "a.toml").write_text(content)
        with pytest.raises(DataError, match=rf"a\.toml: .*{message}"):
            Detector.from_file(tmp_path / "a.toml")
    with pytest.raises(DataMissing):
        Detector.from_file(tmp_path / "b.toml")


def test_sampling_on_the_pixels_uses_the_cameras_pitch_and_fill():
    light = torch.rand(12, 12, generator=torch.Generator().manual_seed(0))
    grid = Grid(12, 1e-6)
    camera = Detector(pitch=(2e-6, 3e-6), fill=(0.5, 1))
    expected = pixel_irradiance(light, grid, Grid((5, 3), (2e-6, 3e-6), (1e-6, 0)), (0.5, 1))
    torch.testing.assert_close(camera.sample(light, grid, (5, 3), (1e-6, 0)), expected)


@pytest.mark.parametrize("temperature", [1e4, -300.0, torch.tensor([20.0, 1e4])])
def test_temperatures_that_no_sensor_has_are_refused(temperature):
    with pytest.raises(InvalidArgument, match=r"^temperature: expected degrees C from -273\.15 to 500"):
        detect(torch.zeros(2, 2), Detector(), seed=0, temperature=temperature)


def test_a_folder_is_no_camera_file(tmp_path):
    (tmp_path / "x.toml").mkdir()
    for path in (tmp_path / "x.toml", tmp_path / ("a" * 300 + ".toml"), "a\0.toml"):
        with pytest.raises(DataMissing, match="there is no camera file"):
            Detector.from_file(path)


def test_each_exposure_can_have_its_own_temperature():
    camera = Detector(dark_current=1e4, doubling_temperature=8.0, dsnu=0.0, exposure=0.1)
    dark = torch.zeros(3, 64, 64)
    warm = torch.tensor([25.0, 33.0, 41.0], dtype=torch.float64)[:, None, None]
    grey = detect(dark, camera, seed=0, temperature=warm)
    level = (grey.mean((1, 2)) - camera.black_level) / camera.gain
    # 4,096 pixels know 1,000 e- to sqrt(1,000 + 49) / 64 = 0.5 e-
    torch.testing.assert_close(level, torch.tensor([1000.0, 2000.0, 4000.0]), atol=4.0, rtol=0)
    assert torch.equal(
        detect(dark[:1], camera, seed=0, temperature=warm[:1]), detect(dark[:1], camera, seed=0)
    )


def test_pictures_of_whole_numbers_are_collected_as_fractions():
    camera, grid = Detector(pitch=2e-6), Grid(4, 1e-6)
    seen = camera.sample(torch.arange(16).reshape(4, 4), grid, 2, (0.5e-6, 0.5e-6))
    assert seen.tolist() == [[2.5, 4.5], [10.5, 12.5]]
    with pytest.raises(InvalidArgument, match="irradiance: expected real numbers"):
        camera.sample(torch.ones(4, 4, dtype=torch.complex64), grid, 2, (0.5e-6, 0.5e-6))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 1e5}, "temperature: expected degrees C from -273.15"),
        ({"temperature": -400.0}, "temperature: expected degrees C from -273.15"),
        ({"crosstalk": []}, "crosstalk: expected a fraction, or rows"),
    ],
)
def test_cameras_that_cannot_be(options, words):
    with pytest.raises(InvalidArgument, match=words):
        Detector(**options)


def test_temperatures_make_no_further_frames():
    electrons = torch.full((2, 4, 4), 100.0)
    assert detect(electrons.numpy(), Detector(), seed=0, temperature=30.0).shape == (2, 4, 4)
    for temperatures in (torch.full((5, 1, 1), 30.0), torch.full((3,), 30.0)):
        with pytest.raises(InvalidArgument, match="temperature: expected one, or as many"):
            detect(electrons, Detector(), seed=0, temperature=temperatures)
