import dataclasses

import pytest
import torch

from photonet.detector import Detector
from photonet.errors import DataError, InvalidArgument
from photonet.measured import Device, MeasuredData, check, make_devices, run_bench
from tests.measured.test_device import make_design, scenes


@pytest.fixture(scope="module")
def device():
    errors = {"vignetting": 0.3, "pixel_gain": 0.05, "drift": -0.5, "warming": 40.0, "saturation": 0.5}
    return make_devices(make_design(), {k: [v] for k, v in errors.items()}, [3], binning=2)[0]


def test_the_file_holds_the_raw_frames_of_the_device(device, tmp_path):
    shown = scenes(5)
    path = tmp_path / "a.h5"
    run_bench(device, shown, path, labels=torch.arange(5), names=list("abcda"), interval=600.0, start=1e9)
    assert check(path) == []
    with MeasuredData(path) as data:
        hours = torch.arange(5.0, dtype=torch.float64) / 6
        assert torch.equal(data.scenes[:], device.frames(shown, time=hours * 3600))
        assert torch.equal(data.scenes.shown[:], shown)
        assert data.scenes.label.tolist() == [0, 1, 2, 3, 4]
        assert data.scenes.name == list("abcda")
        torch.testing.assert_close(data.scenes.time, 1e9 + 3600 * hours)
        torch.testing.assert_close(data.scenes.temperature, 25.0 + 40 * hours)
        assert (data.bits, data.camera, data.mask) == (12, "camera", "device 3")
        assert data.wavelength == pytest.approx([525e-9])
        # the laser fades by half an hour's e-folding: exp(-0.5 / 1.5)
        often = data.flat.exposure == 0.5 * device.detector.exposure
        level = (data.flat.mean[often] - data.dark.mean.median()).log()
        assert float(level[31] - level[0]) == pytest.approx(-0.5 * 4 / 6, rel=0.15)  # softened by saturation
        series = data.flat.exposure[32:]
        assert len(series) == 20
        assert bool((series.diff() >= 0).all())


def test_the_dark_frames_warm_up_and_the_point_source_fills_half_of_the_range(device, tmp_path):
    hot = dataclasses.replace(device, detector=dataclasses.replace(device.detector, dark_current=5e3))
    path = tmp_path / "a.h5"
    run_bench(hot, scenes(7), path, interval=600.0)
    with MeasuredData(path) as data:
        first, last = data.dark.mean[0] - 64, data.dark.mean[15] - 64
        # 40 K in an hour, doubled every 8 K: 2^5, of 6 DN, which the mean of 72 pixels knows to 0.1 DN
        assert float(last / first) == pytest.approx(32, rel=0.07)
        brightest = hot.detector.electrons(data.psf[:].mean(0)).max()
        assert 0.3 < float(brightest / hot.detector.saturation) < 0.7
        assert data.psf.position.tolist() == [[0.0, 0.0]] * 16


@pytest.mark.parametrize("camera", ["imx249", "imx250", "zyla-5.5"])
def test_a_bench_that_fills_the_wells_is_refused(device, tmp_path, camera):
    bright = dataclasses.replace(device, detector=Detector.from_file(camera), light=2e6, bench={})
    path = tmp_path / "a.h5"
    run_bench(bright, scenes(4), path, levels=0, points=0)
    assert {f.kind for f in check(path)} == {"saturated"}
    with pytest.raises(DataError, match="saturated in"):
        MeasuredData(path)
    with MeasuredData(path, accept="saturated") as data:
        assert data.saturation == bright.detector.saturation_level


def test_the_same_run_gives_the_same_bytes_and_another_one_other_noise(device, tmp_path):
    for name, number in (("a", 0), ("b", 0), ("c", 1)):
        run_bench(device, scenes(4), tmp_path / name, exposure=number, chunk=3)
    one, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert one == same != other


def test_groups_can_be_left_out_and_bytes_are_shown_as_bytes(device, tmp_path):
    shown = (255 * scenes(4)).to(torch.uint8)
    run_bench(device, shown, tmp_path / "a", dark=0, flat=0, levels=0, points=0)
    with MeasuredData(tmp_path / "a") as data:
        assert (data.dark, data.flat, data.psf) == (None, None, None)
        assert torch.equal(data.scenes.shown[1:3], shown[1:3] / 255)
        assert torch.equal(data.scenes[:], device.frames(shown / 255, time=torch.arange(4) * 0.1))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"scenes": torch.full((2, 1, 6, 6), 1.5)}, "scenes"),
        ({"scenes": torch.zeros(2, 6, 6)}, "scenes"),
        ({"labels": [1]}, "scenes.label"),
        ({"levels": 2}, "levels"),
        ({"dark": -1}, "dark"),
        ({"interval": 0.0}, "interval"),
    ],
)
def test_a_run_that_cannot_be_leaves_no_file(device, tmp_path, change, name):
    arguments = {"scenes": scenes(4), "path": tmp_path / "a"} | change
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected"):
        run_bench(device, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named_before_the_run(device, tmp_path, monkeypatch):
    monkeypatch.setattr(Device, "frames", None)
    with pytest.raises(InvalidArgument, match="path: expected a file to write"):
        run_bench(device, scenes(2), tmp_path)


def test_scenes_with_a_gradient_are_shown_without_it(device, tmp_path):
    run_bench(device, scenes(2).requires_grad_(), tmp_path / "a.h5")
    run_bench(device, scenes(2), tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_device_is_known_by_a_short_name(device):
    assert repr(device).startswith("<Device 3 of <MaskDesign")
    assert "vignetting 0.3" in repr(device)
    assert len(repr(device)) < 300
    assert device == device
    assert isinstance(hash(device), int)
    assert isinstance(device, Device)
