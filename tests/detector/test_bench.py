import dataclasses
import math

import pytest
import torch

from photonet.detector import Detector, bench, detect, emva
from photonet.detector.bench import characterize, measure, virtual_camera
from photonet.errors import InvalidArgument
from validation.detector import coverage, random_camera


def test_truth_lies_in_the_interval_of_at_least_93_of_100_cameras():
    rows = {row["quantity"]: row["inside"] for row in coverage(cameras=100, shape=64)}
    for name in ("gain", "quantum_efficiency", "dark_noise", "saturation", "linearity_error", "dsnu", "prnu"):
        assert rows[name] >= 93, name
    # the parts are judged together: 6 x 100 binomial draws at 95 % have a standard deviation of 0.9 %
    parts = [count for name, count in rows.items() if name.endswith(("_row", "_column", "_pixel"))]
    assert sum(parts) / len(parts) >= 93


def test_intervals_are_narrow_enough_to_be_of_use():
    found = bench.characterize(random_camera(7), 525e-9, shape=64, camera=1, seed=1)
    for name in ("gain", "quantum_efficiency", "dark_noise", "dsnu", "prnu"):
        estimate = getattr(found, name)
        assert (estimate.high - estimate.low) / 2 < 0.08 * estimate.value, name


def test_what_rounding_hides_is_bounded_and_the_rest_is_right():
    inside = dict.fromkeys(("gain", "quantum_efficiency", "saturation", "linearity_error", "prnu"), 0)
    bounded = ("dark_noise", "dsnu", "dsnu_row", "dsnu_column", "dsnu_pixel")
    for seed in range(40):
        fine = random_camera(seed)
        camera = dataclasses.replace(fine, bits=8, gain=fine.gain / 16.25, black_level=4 + seed / 8)
        found = bench.characterize(camera, 525e-9, shape=64, camera=seed, seed=seed)
        estimates, true = found.estimates(), bench.truth(camera, 525e-9, found)
        assert found.variance[0] < 0.29
        for name in bounded:
            assert true[name] in estimates[name], name
            assert estimates[name].low == 0
        for name in inside:
            inside[name] += true[name] in estimates[name]
    # a binomial of 40 at 95 % is below 34 once in 70 cases
    assert min(inside.values()) >= 34, inside


def test_a_camera_whose_rounding_hides_all_noise_is_refused():
    with pytest.raises(InvalidArgument, match=r"^photons: .* of 0\.29 DN\^2 .* got 0.*a higher gain"):
        bench.characterize(Detector(bits=8, gain=0.002, black_level=4.0), 525e-9, shape=32)


def test_a_bent_camera_is_found_to_be_bent():
    bent = dataclasses.replace(Detector(), response=(-0.06,))
    found = bench.characterize(bent, 525e-9, shape=64)
    true = bench.truth(bent, 525e-9, found)["linearity_error"]
    assert true > 0.5
    assert true in found.linearity_error
    assert 0.0 not in found.linearity_error
    assert found.gain.high < bent.gain  # as the docstring of measure says
    assert 0.0 in bench.characterize(Detector(), 525e-9, shape=64).linearity_error


def test_parts_of_nonuniformity_agree_with_the_equations_of_release_4():
    g = torch.Generator().manual_seed(3)
    m, n = 120, 160
    image = (
        torch.randn(m, n, generator=g)
        + 0.5 * torch.randn(m, 1, generator=g)
        + 0.7 * torch.randn(1, n, generator=g)
    ).double()
    total, row, column, pixel = emva.nonuniformity_variances(image, temporal=0.0)[0]
    s, cav, rav = (v.item() for v in (image.var(), image.mean(0).var(), image.mean(1).var()))
    rest = m * n - m - n
    # differences of order 1/M and 1/N between the two
    assert pixel == pytest.approx(m * n / rest * (s - cav - rav), rel=2 / m)
    assert column == pytest.approx((m * n - m) / rest * cav - n / rest * (s - rav), rel=2 / m)
    assert row == pytest.approx((m * n - n) / rest * rav - m / rest * (s - cav), rel=2 / m)
    assert total == pytest.approx(row + column + pixel, rel=1e-12)


def test_estimated_variances_are_unbiased_and_their_errors_right():
    draws, errors = [], []
    for seed in range(300):
        image = Detector(dsnu=(0.6, 0, 2)).pattern((24, 30), seed).offset
        noisy = image + torch.randn(24, 30, generator=torch.Generator().manual_seed(seed))
        values, error = emva.nonuniformity_variances(noisy, temporal=1.0)
        draws.append(values)
        errors.append(error)
    draws, errors = torch.tensor(draws), torch.tensor(errors)
    spread = draws.std(0)
    true = torch.tensor([4.36, 0.36, 0.0, 4.0])
    assert bool(((draws.mean(0) - true).abs() < 4 * spread / math.sqrt(300)).all())
    # a standard deviation from 300 draws is known to 4 %; 4 sigma
    torch.testing.assert_close(errors.mean(0).sqrt(), spread, rtol=0.16, atol=0)


def test_derived_figures_follow_the_standards_definitions():
    camera = Detector()
    found = bench.characterize(camera, 525e-9, shape=96)
    sigma = math.sqrt(camera.dark_noise**2 + camera.dark_electrons + 1 / 12 / camera.gain**2)
    assert found.snr_max == pytest.approx(math.sqrt(camera.saturation), rel=0.03)
    assert found.sensitivity_threshold == pytest.approx((sigma + 0.5) / 0.65, rel=0.05)
    assert found.dynamic_range == pytest.approx(camera.saturation / (sigma + 0.5), rel=0.08)


def test_results_are_labelled():
    found = bench.characterize(Detector(), 525e-9, shape=32, levels=20)
    data = found.to_xarray()
    assert data["gain"].sel(bound="low").item() == found.gain.low
    assert data["gain"].attrs["units"] == "DN/e-"
    assert data["variance"].sizes == {"photons": 20}
    assert str(found.gain).endswith("DN/e-")


def test_same_seeds_same_measurement():
    a, b, c = (bench.characterize(Detector(), 5e-7, shape=16, levels=12, seed=s).gain for s in (0, 0, 1))
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("photons", "stack", "name"),
    [
        ([0.0, 1.0, 2.0], 4, "photons"),
        ([float(i + 1) for i in range(12)], 4, "photons"),
        ([0.0] * 12, 4, "photons"),
        (["dark"] * 12, 4, "photons"),
        ([1j * i for i in range(12)], 4, "photons"),
        ([10.0 * i for i in range(12)], 4, "photons"),  # nothing saturates
        ([6000.0 * i for i in range(12)], 1, "stack"),
    ],
)
def test_bad_measurements_are_refused(photons, stack, name):
    take = bench.virtual_camera(Detector(), 5e-7, 16, camera=0, seed=0)
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected"):
        bench.measure(take, photons, stack=stack)


def test_too_few_pixels_are_refused():
    with pytest.raises(InvalidArgument, match=r"^capture: expected frames of at least 64 pixels"):
        bench.characterize(Detector(), 5e-7, shape=4)


def test_a_mosaic_is_measured_one_filter_at_a_time():
    colour = Detector(mosaic=["RG", "GB"], quantum_efficiency={"R": 0.4, "G": 0.6, "B": 0.5})
    found = bench.characterize(colour.behind("G"), 525e-9, shape=48, levels=20)
    assert 0.6 in found.quantum_efficiency
    for use in (
        lambda: bench.characterize(colour, 525e-9, shape=16),
        lambda: bench.virtual_camera(colour, 525e-9, 16, camera=0, seed=0),
        lambda: bench.truth(colour, 525e-9, found),
    ):
        with pytest.raises(InvalidArgument, match=r"^detector: expected a camera without a mosaic"):
            use()


@pytest.mark.parametrize("kind", ["uint16", "int32", "float64"])
def test_frames_may_be_arrays_as_a_driver_gives_them(kind):
    take = bench.virtual_camera(Detector(), 5e-7, 16, camera=0, seed=0)
    again = bench.virtual_camera(Detector(), 5e-7, 16, camera=0, seed=0)
    photons = torch.linspace(0, 55_000, 20).tolist()
    found = bench.measure(lambda level: take(level).numpy().astype(kind), photons)
    assert found.estimates() == bench.measure(again, photons).estimates()


@pytest.mark.parametrize("frame", [torch.full((16, 16), math.nan), torch.ones(1, 16, 16), "a picture"])
def test_frames_that_are_not_numbers_in_two_axes_are_refused(frame):
    with pytest.raises(InvalidArgument, match=r"^capture: expected"):
        bench.measure(lambda photons: frame, torch.linspace(0, 55_000, 20).tolist())


def test_the_bench_does_not_look_inside():
    camera = Detector(dsnu=0, prnu=0)
    generator = torch.Generator().manual_seed(0)

    def take(photons):
        return detect(torch.full((40, 40), 0.5 * photons), camera, seed=generator)

    found = bench.measure(take, torch.linspace(0, 70_000, 30).tolist())
    assert 0.5 in found.quantum_efficiency
    assert found.prnu.low == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"camera": -1}, "camera: expected a whole number"),
        ({"shape": (1, 256)}, "capture: expected frames .* of two or more rows"),
        ({"wavelength": [450e-9, 550e-9]}, "wavelength: expected one number"),
        ({"detector": Detector(quantum_efficiency=0.0)}, "detector: expected a quantum efficiency above 0"),
    ],
)
def test_what_cannot_be_characterised_is_named(options, words):
    with pytest.raises(InvalidArgument, match=words):
        characterize(**{"detector": Detector(), "wavelength": 525e-9, "shape": 32} | options)


def test_levels_that_tell_no_line_are_named():
    take = virtual_camera(Detector(), 525e-9, 32, camera=0, seed=0)
    with pytest.raises(InvalidArgument, match="photons: expected 3 or more levels between"):
        measure(take, [0.0, 100.0, *(1e6 * level for level in range(1, 12))])
