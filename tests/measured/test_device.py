import math
from dataclasses import replace

import pytest
import torch

from photonet import Detector, Mask
from photonet.design import MaskDesign
from photonet.errors import InvalidArgument, UnknownName
from photonet.measured import Measured, make_devices
from photonet.optics.imaging import image_by_kernels

WAVE, PITCH, SAMPLES = 525e-9, 1e-6, 33


def make_design(pixel=1, samples=SAMPLES):
    """Two soft lenses for one kernel, a positive and a weaker negative part."""
    place = (torch.arange(samples) - samples // 2) * PITCH
    radius2 = place[:, None] ** 2 + place**2
    phase = torch.stack([-math.pi * radius2 / (WAVE * f) for f in (0.3e-3, 0.2e-3)])[:, None]
    height = (phase % (2 * math.pi)) / (2 * math.pi) * 1.1e-6
    mask = Mask.from_height(height, pitch=PITCH, material="SiO2", wavelength=WAVE, distance=0.2e-3)
    return MaskDesign(mask, torch.tensor([[1.0], [0.5]]), pixel, torch.tensor(()), torch.tensor(()))


@pytest.fixture(scope="module")
def design():
    return make_design()


def one(design, seed=0, roughness=0.0, **draws):
    return make_devices(design, {k: [v] for k, v in draws.items()}, [seed], roughness=roughness)[0]


def scenes(n=3, size=6):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))


def centroid(psf):
    place = torch.arange(psf.shape[-1], dtype=psf.dtype)
    total = psf.sum((-2, -1))
    return (psf.sum(-1) * place).sum(-1) / total, (psf.sum(-2) * place).sum(-1) / total


def test_without_errors_the_device_is_the_design(design):
    torch.testing.assert_close(one(design).psf, design.psf(), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("step", [(0.5, 0.0), (0.0, -1.25), (0.3, 0.7)])
def test_a_displacement_moves_the_centroid_by_what_was_stated(design, step):
    # light near the edge wraps and the ringing below zero is cut: both are some 1e-3 of the light here
    rest, moved = one(design).psf, one(design, shift_y=step[0], shift_x=step[1]).psf
    for before, after, expected in zip(centroid(rest), centroid(moved), step, strict=True):
        torch.testing.assert_close(after - before, torch.full_like(after, expected), atol=0.1, rtol=0)
    torch.testing.assert_close(moved.sum(), rest.sum(), atol=0, rtol=0.02)


def test_a_displacement_is_counted_in_feature_pixels():
    coarse = make_design(pixel=3)
    rest, moved = one(coarse).psf, one(coarse, shift_x=1.0).psf
    torch.testing.assert_close(moved[..., 1:-1], rest.roll(1, -1)[..., 1:-1], atol=2e-3, rtol=0)


def test_crosstalk_keeps_the_light_and_gives_it_to_the_neighbours(design):
    rest, mixed = one(design).psf, one(design, crosstalk=0.3).psf
    torch.testing.assert_close(mixed.sum((0, 1)), rest.sum((0, 1)))
    # of two captures each is both neighbours of the other
    torch.testing.assert_close(mixed[0], 0.7 * rest[0] + 0.3 * rest[1])


def test_gain_scales_captures_and_nothing_else(design):
    rest, dim = one(design).psf, one(design, gain=0.2, seed=4).psf
    ratio = dim.sum((-3, -2, -1), keepdim=True) / rest.sum((-3, -2, -1), keepdim=True)
    assert bool((ratio - 1).abs().gt(1e-3).all())
    torch.testing.assert_close(dim, rest * ratio)


def test_the_same_seed_is_the_same_device_and_the_same_measurement(design):
    errors = {"height": 0.05, "shift_y": 0.4, "gain": 0.1, "crosstalk": 0.2}
    a, b, other = (one(design, seed=s, roughness=0.02, **errors) for s in (3, 3, 4))
    assert torch.equal(a.psf, b.psf)
    assert torch.equal(a.measure(scenes()).features, b.measure(scenes()).features)
    assert not torch.equal(a.psf, other.psf)


def test_another_exposure_sees_other_noise_of_the_same_device(design):
    device = one(design)
    first, second = (device.measure(scenes(), exposure=e).features for e in (0, 1))
    assert not torch.equal(first, second)
    # shot noise of two exposures, of two captures with gains 1 and 1/2; 108 samples know a variance to 14 %
    captures = image_by_kernels(scenes(), device.psf.flatten(0, 1))
    electrons = device.light * captures + device.detector.dark_noise**2
    variance = 2 * (electrons * torch.tensor([1.0, 0.25])[:, None, None]).sum(1).mean() / device.light**2
    assert float((first - second).var()) == pytest.approx(float(variance), rel=0.4)


def test_a_device_does_not_depend_on_its_batch(design):
    draws = {"height": [0.0, 0.05, -0.03], "shift_x": [0.0, 0.5, 1.0], "gain": [0.1, 0.2, 0.3]}
    together = make_devices(design, draws, [7, 8, 9], roughness=0.02)
    for index, seed in enumerate([7, 8, 9]):
        alone = make_devices(design, {k: [v[index]] for k, v in draws.items()}, [seed], roughness=0.02)[0]
        # transforms of another batch size may round differently in float32
        torch.testing.assert_close(together[index].psf, alone.psf, atol=1e-7, rtol=1e-5)


def test_the_noise_of_whole_batches_does_not_depend_on_what_follows(design):
    many = scenes(258, 2)
    device = one(design)
    assert torch.equal(device.measure(many).features[:256], device.measure(many[:256]).features)


def test_bright_light_measures_what_was_simulated(design):
    # some 1e6 electrons a pixel in a bottomless well: relative shot noise 1e-3, rounding 1e-3 of 1000 DN
    camera = Detector(full_well=1e9, bits=16, gain=1e-3, dark_noise=0.0, dark_current=0.0, dsnu=0.0, prnu=0.0)
    device = make_devices(design, {}, [0], detector=camera, light=1e8, roughness=0.0)[0]
    expected = image_by_kernels(scenes(), design.kernels())
    found = device.measure(scenes()).features
    assert float((found - expected).norm() / expected.norm()) < 0.01


def test_binning_and_labels(design):
    device = make_devices(design, {}, [0], binning=2)[0]
    measured = device.measure(scenes(), torch.tensor([2, 0, 1]))
    assert measured.features.shape == (3, 1, 3, 3)
    assert measured.labels.tolist() == [2, 0, 1]
    assert len(measured[1:]) == 2


def test_a_point_shows_the_kernel(design):
    shown = one(design).point_response(SAMPLES, frames=16)
    expected = design.kernels()[:, 0]
    assert shown.shape == expected.shape
    assert float((shown - expected).norm() / expected.norm()) < 0.3


@pytest.mark.parametrize("bad", [torch.full((1, 1, 4, 4), 1.5), torch.full((1, 1, 4, 4), -0.1),
                                 torch.full((1, 1, 4, 4), math.nan), torch.zeros(1, 3, 4, 4)])  # fmt: skip
def test_scenes_that_no_display_can_show(design, bad):
    with pytest.raises(InvalidArgument, match="^scenes: expected"):
        one(design).measure(bad)


def test_draws_that_do_not_fit(design):
    with pytest.raises(UnknownName, match="did you mean height"):
        make_devices(design, {"hight": [0.1]}, [0])
    with pytest.raises(InvalidArgument, match="2 values, one per seed"):
        make_devices(design, {"height": [0.1]}, [0, 1])
    with pytest.raises(InvalidArgument, match="NaN"):
        make_devices(design, {"height": [math.nan]}, [0])
    for bad in ("0.1", [1j], ["much"]):
        with pytest.raises(InvalidArgument, match=r"^draws\['height'\]: expected"):
            make_devices(design, {"height": bad}, [0])


def test_measured_parts_must_belong_together():
    with pytest.raises(InvalidArgument, match="features: expected 3 maps"):
        Measured(torch.zeros(3, 1, 2, 2), torch.zeros(2, 1, 2, 2))
    with pytest.raises(InvalidArgument, match="labels: expected 3 labels"):
        Measured(torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2), torch.zeros(2))


def quiet(design, **draws):
    """A device of bright light and no noise to speak of, so that pictures can be compared."""
    camera = Detector(full_well=1e9, bits=16, gain=1e-3, dark_noise=0.0, dark_current=0.0, dsnu=0.0, prnu=0.0)
    values = {name: [value] for name, value in draws.items()}
    return make_devices(design, values, [0], detector=camera, light=1e7, roughness=0.0)[0]


def distance(a, b):
    return float((a - b).norm() / b.norm())


def test_a_displaced_display_shows_displaced_scenes(design):
    inner = torch.zeros(2, 1, 13, 13)
    inner[..., 4:9, 4:9] = scenes(2, 5)
    straight = quiet(design)
    shifted = quiet(design, scene_shift_y=2.0, scene_shift_x=-1.0).measure(inner).features
    assert distance(shifted, straight.measure(inner.roll((2, -1), (2, 3))).features) < 0.02
    turned = quiet(design, scene_rotation=math.pi / 2).measure(inner).features
    assert distance(turned, straight.measure(inner.rot90(-1, (2, 3))).features) < 0.02
    # (1 + s)^-2 of the light on (1 + s)^2 of the area
    larger = quiet(design, scene_scale=0.25).measure(inner).features
    assert float(larger.sum() / straight.measure(inner).features.sum()) == pytest.approx(1, rel=0.1)


def test_a_turned_scene_on_a_sensor_turned_with_it_is_a_turned_mask(design):
    inner = torch.zeros(1, 1, 41, 41)
    inner[..., 18:23, 18:23] = scenes(1, 5)
    both = quiet(design, scene_rotation=math.pi / 2, rotation=-math.pi / 2).measure(inner).features
    mask = replace(quiet(design), psf=quiet(design).psf.rot90(1, (-2, -1)))
    assert distance(both, mask.measure(inner).features) < 0.05


def test_flicker_is_one_factor_of_a_frame_and_goes_with_the_seed(design):
    many = torch.full((200, 1, 4, 4), 0.5)
    device = quiet(design, flicker=0.1)
    light = device.frames(many) / quiet(design).frames(many)
    factor = light.mean((1, 2)).log()
    assert float(factor.std()) == pytest.approx(0.1, rel=0.2)  # 200 frames know it to 5 %
    assert float(light.flatten(1).std(1).max()) < 0.05
    assert torch.equal(device.frames(many), device.frames(many))
    assert not torch.equal(device.frames(many), device.frames(many, exposure=1))


def test_flat_and_dark_frames_see_what_light_and_darkness_tell(design):
    camera = Detector(dark_current=1000.0, dsnu=0.0, prnu=0.0)
    errors = {"vignetting": [0.3], "saturation": [0.5], "drift": [-1.0], "offset": [0.2], "warming": [8.0]}
    device = make_devices(design, errors, [0], detector=camera, light=20_000.0)[0]
    times = [0.0, 3600.0]
    flat = device.flat_frames((32, 32), time=times)
    middle = camera.electrons(flat[:, 14:18, 14:18]).mean((1, 2)) / 20_000
    white = torch.tensor([1.0, math.exp(-1)])
    torch.testing.assert_close(middle, torch.tanh(0.5 * white) / 0.5, rtol=0.02, atol=0)
    assert float(camera.electrons(flat[0, 0, 0]) / camera.electrons(flat[0, 16, 16])) < 0.85
    dark = device.dark_frames((32, 32), time=times, seconds=0.1)
    level = (dark.mean((1, 2)) - camera.black_level) / camera.gain
    torch.testing.assert_close(level, torch.tensor([100.0, 200.0]), rtol=0.02, atol=0)  # 8 K double it
    torch.testing.assert_close(device.temperature(3600.0).item(), 33.0)


def test_scenes_of_bytes_are_as_bright_and_whole_numbers_no_darkness():
    device = make_devices(make_design(), {}, [1], binning=4)[0]
    scenes = (torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    light = device.frames(scenes)
    assert torch.equal(device.frames((255 * scenes).byte()), light)
    assert torch.equal(device.frames(scenes.long()), light)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"light": 0.0}, "light: expected a positive number of electrons"),
        ({"draws": {"crosstalk": [3.0]}}, r"draws\['crosstalk'\]: expected shares of the light"),
    ],
)
def test_errors_that_no_device_has(options, words):
    with pytest.raises(InvalidArgument, match=words):
        make_devices(make_design(), options.get("draws", {}), [1], light=options.get("light", 3000.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("binning", value) for value in (0, -1, 2.5, "a")),
        *(("seeds", value) for value in ([], [-1], [0.5], 3, "12")),
        *(("roughness", value) for value in (-0.1, math.nan, "rough")),
        ("detector", "imx249"),
        ("draws", [0.1]),
        ("design", None),
    ],
)
def test_devices_are_refused_by_the_name_of_what_is_wrong(design, name, value):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected"):
        make_devices(**{"design": design, "draws": {}, "seeds": [0]} | {name: value})
