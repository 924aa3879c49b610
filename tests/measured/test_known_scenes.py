import pytest
import torch

from photonet import Detector
from photonet.design import MaskDesign, kernels_to_masks
from photonet.errors import GridMismatch, InvalidArgument
from photonet.measured import (
    Measured,
    MeasuredData,
    Part,
    calibrate,
    correct_crosstalk,
    correct_flicker,
    crosstalk_matrix,
    estimate_psf,
    make_devices,
    mean_point,
    register,
    run_bench,
    signed_maps,
    write,
)
from photonet.measured.ridge import Moments, ridge
from photonet.optics.imaging import image_by_kernels
from tests.measured.test_photometry import pictures

SIZE = 11
BRIGHT = Detector(full_well=1e9, bits=16, gain=1e-2, dark_noise=1.0, dark_current=0.0, dsnu=0.0, prnu=0.0)


@pytest.fixture(scope="module")
def design() -> MaskDesign:
    kernels = torch.randn(3, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    return kernels_to_masks(
        kernels, wavelength=525e-9, distance=0.5e-3, pitch=1e-6, pixel=6, samples=66, steps=40
    )


def noise(n=80, size=24):
    """Scenes with details of one pixel: they see the whole of a point spread function."""
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(2))


def measure(design, path, scenes=None, **errors):
    draws = {name: [value] for name, value in errors.items()}
    device = make_devices(design, draws, [3], detector=BRIGHT, light=1e6, binning=2)[0]
    run_bench(device, pictures() if scenes is None else scenes, path, points=4)
    return device


def true_kernels(device):
    """What the virtual device really has; only a test may look."""
    pairs = device.psf[:, :, 0] * device.design.gain[..., None, None]
    return pairs[0] - pairs[1]


def distance(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("binning", [1, 2])
def test_the_psf_of_the_device_is_found_from_known_scenes(design, tmp_path, binning):
    device = measure(design, tmp_path / "a.h5", noise(), height=0.05, gain=0.2, shift_x=0.7)
    measured = Measured.from_file(tmp_path / "a.h5", design.gain, binning=binning)
    found = estimate_psf(
        measured.scenes, measured.features, SIZE, binning=binning, prior=design.kernels()[:, 0]
    )
    true = true_kernels(device)
    assert distance(design.kernels()[:, 0], true) > 0.3
    assert distance(found.kernels, true) < 0.05
    assert found.after < 0.05 < found.before
    maps = image_by_kernels(measured.scenes, found.kernels[:, None], binning) + found.offset[:, None, None]
    assert distance(maps, measured.features) < 0.05


def test_the_psf_of_the_device_is_the_picture_of_a_point(design, tmp_path):
    device = measure(design, tmp_path / "a.h5", height=0.05, shift_x=0.7, offset=0.05)
    with MeasuredData(tmp_path / "a.h5") as data:
        captures = mean_point(data, calibrate(data), (6, 1))
    low = 24 // 2 - SIZE // 2
    window = captures[None, :, low : low + SIZE, low : low + SIZE]
    assert distance(signed_maps(window, design.gain)[0].float(), true_kernels(device)) < 0.03


def test_the_strength_is_what_held_out_scenes_ask_for():
    g = torch.Generator().manual_seed(0)
    scenes, kernel = torch.rand(12, 1, 8, 8, generator=g), torch.randn(1, 1, 5, 5, generator=g)
    clean = image_by_kernels(scenes, kernel)
    noisy = clean + 3 * clean.std() * torch.randn(clean.shape, generator=g)
    quiet, loud = (estimate_psf(scenes, maps, 5) for maps in (clean, noisy))
    assert quiet.strength < loud.strength
    assert distance(quiet.kernels, kernel[:, 0]) < 1e-3
    assert "held-out residual" in repr(loud)
    # a good prior is kept when the noise says nothing
    assert distance(estimate_psf(scenes, noisy, 5, prior=kernel[:, 0]).kernels, kernel[:, 0]) < 0.3


def test_the_crosstalk_matrix_is_that_of_the_device(design, tmp_path):
    measure(design, tmp_path / "a.h5", crosstalk=0.3)
    with MeasuredData(tmp_path / "a.h5") as data:
        steps = ["dark", "flat", correct_crosstalk(design.psf())]
        found = calibrate(data, steps)
        clean = Measured.from_file(data, design.gain, calibration=found)
        plain = Measured.from_file(data, design.gain, calibration=["dark", "flat"])
    neighbours = torch.eye(6).roll(1, 0) + torch.eye(6).roll(-1, 0)
    # the masks' own errors, 1 % of the height, are not crosstalk
    expected = 0.7 * torch.eye(6) + 0.15 * neighbours
    torch.testing.assert_close(found["crosstalk"].parameters["matrix"].float(), expected, atol=0.02, rtol=0)
    assert found["crosstalk"].after < found["crosstalk"].before
    simulated = image_by_kernels(pictures(), design.kernels())
    assert distance(clean.features, simulated) < 0.5 * distance(plain.features, simulated)


def test_flicker_is_seen_by_all_captures_alike_and_divided_out(design, tmp_path):
    measure(design, tmp_path / "flicker.h5", flicker=0.1)
    measure(design, tmp_path / "steady.h5")
    features = {}
    for name in ("flicker", "steady"):
        with MeasuredData(tmp_path / f"{name}.h5") as data:
            # flat frames flicker too: without drift a mean of them is wanted, not each of them
            found = calibrate(data, ["dark", "flat", correct_flicker(design.psf())])
            features[name] = Measured.from_file(data, design.gain, calibration=found).features
            if name == "flicker":
                step = found["flicker"]
                assert 6 < step.before < 14  # 60 frames know their spread to 9 %
                assert step.after < 0.1 * step.before
                psf = found.read(data.psf)
                assert torch.equal(step.apply(psf, type("S", (), {"group": "psf"})()), psf)
                flickering = found
            else:
                assert found["flicker"].after <= found["flicker"].before
    with MeasuredData(tmp_path / "steady.h5") as data, pytest.raises(InvalidArgument, match="another file's"):
        flickering.read(data.scenes)
    gain = (features["flicker"] * features["steady"]).sum() / features["steady"].square().sum()
    assert distance(features["flicker"], gain * features["steady"]) < 0.02


def test_a_large_file_is_not_held_in_memory(design, tmp_path, monkeypatch):
    measure(design, tmp_path / "a.h5", flicker=0.1, crosstalk=0.2)
    steps = ["dark", "flat", correct_flicker(design.psf()), correct_crosstalk(design.psf())]
    with MeasuredData(tmp_path / "a.h5") as data:
        whole = calibrate(data, steps)
        monkeypatch.setattr("photonet.measured.steps.AT_ONCE", 7 * 8 * 144 * 24)
        parts = calibrate(data, steps)
    for name, key in (("flicker", "light"), ("crosstalk", "matrix")):
        torch.testing.assert_close(whole[name].parameters[key], parts[name].parameters[key])


def test_nothing_is_corrected_where_there_is_nothing(tmp_path):
    g = torch.Generator().manual_seed(5)
    shown, psf = torch.rand(20, 1, 6, 6, generator=g), torch.rand(2, 1, 1, 3, 3, generator=g)
    captures = image_by_kernels(shown, psf.flatten(0, 1)).flatten(1, 2)
    path = tmp_path / "a.h5"
    write(path, Part(captures, 1.0, shown=shown))
    with MeasuredData(path) as data:
        found = calibrate(data, [correct_flicker(psf), correct_crosstalk(psf)])
        torch.testing.assert_close(found.read(data.scenes), captures, rtol=1e-4, atol=1e-4)


def test_a_ridge_draws_to_its_prior_but_not_the_intercept():
    g = torch.Generator().manual_seed(0)
    a = torch.cat([torch.randn(200, 3, generator=g), torch.ones(200, 1)], 1).double()
    noise = 100 * torch.randn(200, 1, generator=g).double()
    b = a @ torch.tensor([[1.0], [2.0], [3.0], [1000.0]], dtype=torch.float64) + noise
    folds = [Moments.of(a[i::2], b[i::2]) for i in (0, 1)]
    found = ridge(folds, torch.tensor([[1.0], [2.0], [3.0], [0.0]]), free=1)
    assert found.strength >= 1.0
    assert float(found.weight[-1]) == pytest.approx(1000, abs=4 * 100 / 200**0.5)
    left = (b - a @ found.weight).square().sum()
    assert float((folds[0] + folds[1]).squares(found.weight)) == pytest.approx(float(left))
    with pytest.raises(InvalidArgument, match="folds: expected two or more"):
        ridge(folds[:1], torch.zeros(4, 1))


def test_arrays_are_as_good_as_tensors():
    scenes, maps = torch.rand(4, 1, 8, 8), torch.rand(4, 2, 8, 8)
    prior = torch.zeros(2, 3, 3)
    found = estimate_psf(scenes.numpy(), maps.numpy(), 3, prior=prior.numpy())
    assert torch.equal(found.kernels, estimate_psf(scenes, maps, 3, prior=prior).kernels)
    mixed = crosstalk_matrix(maps.numpy(), maps.flip(1).numpy())[0]
    assert torch.equal(mixed, crosstalk_matrix(maps, maps.flip(1))[0])
    assert register(maps.numpy(), maps.numpy()) == register(maps, maps)


def test_what_does_not_belong_together_is_named(tmp_path):
    scenes, maps = torch.rand(4, 1, 8, 8), torch.rand(4, 2, 8, 8)
    for error, arguments, match in (
        (InvalidArgument, (scenes, maps, 4), "size: expected an odd number"),
        (InvalidArgument, (scenes[:1], maps[:1], 3), "scenes: expected two or more"),
        (GridMismatch, (scenes, maps[:, :, :4], 3), r"maps: expected \[4, c, 8, 8\]"),
        (InvalidArgument, (scenes, torch.full_like(maps, 0.1), 3), "maps: expected maps with contrast"),
    ):
        with pytest.raises(error, match=match):
            estimate_psf(*arguments)
    with pytest.raises(GridMismatch, match=r"prior: expected shape \(2, 3, 3\)"):
        estimate_psf(scenes, maps, 3, prior=torch.zeros(2, 5, 5))
    with pytest.raises(GridMismatch, match="measured: expected shape"):
        crosstalk_matrix(maps, scenes)
    with pytest.raises(InvalidArgument, match="simulated: expected maps with light"):
        crosstalk_matrix(maps, torch.zeros_like(maps))
    with pytest.raises(InvalidArgument, match="measured: expected two or more scenes"):
        crosstalk_matrix(maps[:1], maps[:1])
    with pytest.raises(InvalidArgument, match=r"psf: expected shape \[2, k, 1, y, x\]"):
        correct_crosstalk(torch.rand(2, 3, 3))
    path = tmp_path / "a.h5"
    psf = torch.rand(2, 1, 1, 3, 3)
    write(path, Part(torch.rand(4, 16, 8), 1.0))
    with MeasuredData(path) as data:
        with pytest.raises(InvalidArgument, match="data: expected a file that holds what was shown"):
            calibrate(data, [correct_flicker(psf)])
        with pytest.raises(InvalidArgument, match="data: expected a file with point-source frames"):
            mean_point(data, calibrate(data))
    points = Part(torch.rand(2, 16, 8), 1.0, position=[[0.0, 0.0], [1e-3, 0.0]])
    write(path, Part(torch.rand(4, 16, 8), 1.0, shown=torch.rand(4, 1, 6, 8)), psf=points)
    with MeasuredData(path) as data:
        with pytest.raises(
            GridMismatch, match=r"psf: expected captures \(2, 8, 8\), .*got captures \(2, 6, 8\)"
        ):
            calibrate(data, [correct_crosstalk(psf)])
        with pytest.raises(InvalidArgument, match="at one position"):
            mean_point(data, calibrate(data))
