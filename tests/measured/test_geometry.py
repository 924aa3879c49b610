"""The geometry of a bench is undone in its frames, and only in those that an optic has imaged."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Detector
from photonet.errors import InvalidArgument
from photonet.measured import (
    Measured,
    MeasuredData,
    Part,
    Registration,
    Windows,
    calibrate,
    correct_geometry,
    cut_windows,
    make_devices,
    run_bench,
    write,
)
from tests.measured.test_device import make_design
from tests.measured.test_photometry import pictures

BRIGHT = Detector(full_well=1e9, bits=16, gain=1e-2, dark_noise=1.0, dark_current=0.0, dsnu=0.0, prnu=0.0)
TURNED = {"rotation": [0.15], "scale": [-0.12], "crosstalk": [0.2]}


def bench(path, **errors):
    device = make_devices(make_design(), errors, [3], detector=BRIGHT, light=1e6, binning=4)[0]
    run_bench(device, pictures(), path, points=4)
    return device


def distance(a, b):
    return float((a - b).norm() / b.norm())


@settings(deadline=None, max_examples=20, derandomize=True)
@given(*[st.floats(-limit, limit) for limit in (0.3, 0.2, 2.0, 2.0)])
def test_there_and_back(rotation, scale, dy, dx):
    y, x = torch.meshgrid(*[torch.linspace(-16, 16, 33, dtype=torch.float64)] * 2, indexing="ij")
    picture = torch.exp(-((y - 2).square() + (x + 1).square()) / 18)[None]
    found = Registration(rotation, scale, dy, dx, (0.0,) * 4, 1.0, 0.0)
    assert distance(found.undo(found.apply(picture)), picture) < 0.01


def test_a_turned_bench_gives_the_features_of_an_upright_one(tmp_path):
    bench(tmp_path / "upright.h5", crosstalk=[0.2])
    device = bench(tmp_path / "turned.h5", **TURNED)
    psf, gain = device.design.psf(), device.design.gain
    upright = Measured.from_file(tmp_path / "upright.h5", gain, calibration=["dark", "flat"], binning=4)
    with MeasuredData(tmp_path / "turned.h5") as data:
        plain = Measured.from_file(data, gain, calibration=["dark", "flat"], binning=4)
        found = calibrate(data, ["dark", "flat", correct_geometry(psf)])
        undone = Measured.from_file(data, gain, calibration=found, binning=4)
        flat = calibrate(data, ["dark", "flat"])
        assert torch.equal(found.read(data.flat), flat.read(data.flat))
        assert not torch.equal(found.read(data.psf), flat.read(data.psf))
    step = found["geometry"]
    geometry = step.parameters["registration"]
    assert math.isclose(geometry.rotation, 0.15, abs_tol=0.01)
    assert math.isclose(geometry.scale, -0.12, abs_tol=0.02)
    assert step.after < 0.5 * step.before
    assert distance(undone.features, upright.features) < 0.4 * distance(plain.features, upright.features)


def test_captures_may_lie_anywhere_on_a_finer_sensor(tmp_path):
    device = bench(tmp_path / "tiled.h5", rotation=[0.1])
    psf, gain = device.design.psf(), device.design.gain
    with MeasuredData(tmp_path / "tiled.h5") as data:
        height = data.scenes.shape[1] // device.layout[0]
        corners = [(3 + 2 * i * (height + 1), 5 + 4 * i) for i in range(device.layout[0])]

        def sensor(group):
            """Every pixel four times, the captures apart, and light between them."""
            captures = cut_windows(group[:], device.layout).float()
            fine = captures.repeat_interleave(2, -2).repeat_interleave(2, -1)
            rows, columns = corners[-1][0] + 2 * height + 4, corners[-1][1] + 2 * height + 9
            frames = torch.full((len(fine), rows, columns), float(captures.mean()))
            for i, (y, x) in enumerate(corners):
                frames[:, y : y + 2 * height, x : x + 2 * height] = fine[:, i]
            return frames

        parts = {
            group.group: Part(sensor(group), group.exposure, time=group.time)
            for group in (data.dark, data.flat, data.psf)
        }
        scenes = Part(sensor(data.scenes), data.scenes.exposure, time=data.scenes.time,
                      shown=data.scenes.shown[:])  # fmt: skip
        write(tmp_path / "spread.h5", scenes, **parts)
        steps = ["dark", "flat", correct_geometry(psf)]
        tiled = Measured.from_file(data, gain, calibration=calibrate(data, steps), binning=4)
    places = Windows(corners, size=(2 * height, 2 * height), pixels=2)
    with MeasuredData(tmp_path / "spread.h5") as data:
        found = calibrate(data, ["dark", "flat", correct_geometry(psf, places)])
        spread = Measured.from_file(data, gain, calibration=found, layout=places, binning=4)
        with pytest.raises(InvalidArgument, match="^layout: expected windows within the frame"):
            Measured.from_file(data, gain, calibration=(), layout=Windows([(0, 9000)], size=(2, 2)))
    assert distance(spread.features, tiled.features) < 1e-3
    with pytest.raises(InvalidArgument, match="^layout: expected windows of"):
        cut_windows(torch.zeros(2, len(corners), 2 * height, 2 * height), places)  # not yet averaged
    with pytest.raises(InvalidArgument, match="^size: expected multiples of 2"):
        Windows(corners, size=(3, 4), pixels=2)
    with pytest.raises(InvalidArgument, match="^corners"):
        Windows([], size=(4, 4))


def test_captures_behind_a_lens_are_turned_back(tmp_path):
    bench(tmp_path / "upright.h5")
    device = bench(tmp_path / "a.h5", rotation=[math.pi])  # the camera stands on its head
    psf, gain = device.design.psf(), device.design.gain
    with MeasuredData(tmp_path / "a.h5") as data:
        found = calibrate(data, ["dark", "flat", correct_geometry(psf)])
        undone = Measured.from_file(data, gain, calibration=found, binning=4)
    upright = Measured.from_file(tmp_path / "upright.h5", gain, calibration=["dark", "flat"], binning=4)
    geometry = found["geometry"].parameters["registration"]
    assert geometry.orientation == "turned by 180 degrees"
    assert abs(geometry.rotation) < 0.01
    assert distance(undone.features, upright.features) < 0.1


def test_an_upright_bench_stays_as_it_is(tmp_path):
    device = bench(tmp_path / "a.h5")
    with MeasuredData(tmp_path / "a.h5") as data:
        steps = ["dark", "flat", correct_geometry(device.design.psf())]
        found, plain = calibrate(data, steps), calibrate(data, steps[:2])
        found_geometry = found["geometry"].parameters["registration"]
        assert abs(found_geometry.rotation) < 1e-3
        assert abs(found_geometry.scale) < 1e-3
        assert distance(found.read(data.scenes), plain.read(data.scenes)) < 0.02


def test_stray_light_has_no_border(tmp_path):
    device = bench(tmp_path / "a.h5", rotation=[0.15], scale=[0.12], offset=[0.3])
    with MeasuredData(tmp_path / "a.h5") as data:
        found = calibrate(data, ["dark", "flat", correct_geometry(device.design.psf())])
        frames = cut_windows(found.read(data.scenes), device.layout)
    assert float(found["geometry"].parameters["offset"].max()) > 0.1
    corners = frames[..., [0, 0, -1, -1], [0, -1, 0, -1]]  # dark in the simulation and beyond the image
    assert float(corners.abs().max()) < 0.05


def test_the_scenes_must_be_known(tmp_path):
    write(tmp_path / "a.h5", Part(torch.rand(4, 16, 8), 1.0))
    with (
        MeasuredData(tmp_path / "a.h5") as data,
        pytest.raises(InvalidArgument, match="data: expected a file that holds what was shown"),
    ):
        calibrate(data, [correct_geometry(torch.rand(2, 1, 1, 3, 3))])
    write(tmp_path / "a.h5", Part(torch.rand(1, 16, 8), 1.0, shown=torch.rand(1, 1, 8, 8)))
    with (
        MeasuredData(tmp_path / "a.h5") as data,
        pytest.raises(InvalidArgument, match="data: expected two or more scenes"),
    ):
        calibrate(data, [correct_geometry(torch.rand(2, 1, 1, 3, 3))])
