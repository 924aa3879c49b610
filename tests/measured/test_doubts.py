"""What `check` says of files that can be read, but that one may want to measure again."""

import math

import pytest
import torch

from photonet.detector import Detector, detect
from photonet.measured import MeasuredData, Part, check, run_bench, write
from tests.measured.test_photometry import ERRORS, device, pictures

SECONDS = [1e-3 * t for t in (1, 1, 2, 2, 3, 3)]


def frames(n, level, size=40):
    return level + torch.randint(0, 40, (n, size, size), generator=torch.Generator().manual_seed(0))


def with_spot(value):
    scene = frames(4, 300)
    scene[:, 0, 0] = value
    return scene


DARK = Part(frames(4, 20), 1e-3)
SERIES = Part(torch.cat([frames(2, level) for level in (300, 600, 900)]), SECONDS)
ODD = {
    "psf, frames 0 to 3: saturated pixels, of which a small spot has few": {
        "psf": Part(with_spot(4095), 1e-3),
    },
    "scenes, frames 0 to 3: values above 4095, the most of 12 bits": {
        "scenes": Part(with_spot(60000), 1e-3),
    },
    r"scenes, frames 2 to 3: an exposure time at which there are no dark frames": {
        "scenes": Part(frames(4, 300), [1e-3, 1e-3, 1e-2, 1e-2]),
        "dark": DARK,
    },
    r"scenes, frame 1: brighter than any flat frame \(9": {
        "scenes": Part(frames(4, 300) + torch.tensor([0, 1000, 0, 0])[:, None, None], 1e-3),
        "dark": DARK,
        "flat": SERIES,
    },
    "scenes, frame 2: a time before that of the frame before": {
        "scenes": Part(frames(4, 300), 1e-3, time=[1, 3, 2, 4]),
    },
    "scenes, frame 3: no time, but others have one": {
        "scenes": Part(frames(4, 300), 1e-3, time=[1, 2, 3, math.nan]),
    },
    "scenes, frames 0 to 3: no time, but flat frames have one": {
        "flat": Part(frames(4, 300), 1e-3, time=[1, 2, 3, 4]),
    },
    "dark, frame 0: no temperature, but others have one": {
        "dark": Part(frames(4, 20), 1e-3, temperature=[math.nan, 20, 20, 20]),
    },
}


@pytest.mark.parametrize("message", ODD)
def test_what_is_odd_is_said_but_not_refused(tmp_path, message):
    write(tmp_path / "a.h5", **{"scenes": Part(frames(4, 300), 1e-3), "bits": 12} | ODD[message])
    (finding,) = check(tmp_path / "a.h5")
    assert finding.kind == "doubt"
    assert str(finding).startswith(message.replace("\\", ""))
    MeasuredData(tmp_path / "a.h5").close()


def test_hot_pixels_are_no_saturated_spot(tmp_path):
    dark = frames(4, 20)
    dark[:, 0, 0] = 4095
    write(
        tmp_path / "a.h5",
        Part(with_spot(4095), 1e-3),
        dark=Part(dark, 1e-3),
        psf=Part(with_spot(4095), 1e-3),
        bits=12,
    )
    assert check(tmp_path / "a.h5") == []


CAMERAS = {
    "12 bits": Detector(),
    "8 bits": Detector(bits=8, gain=230 / 32_000, black_level=4.0),
    "noisy": Detector(full_well=5_000.0, gain=0.7, dark_noise=15.0, dsnu=(2, 2, 5)),
}


def filled(path, camera, light, uniform, **arguments):
    """A file of scenes whose brightest pixels get so much light, relative to the full well."""
    g = torch.Generator().manual_seed(1)
    maps = camera.pattern((24, 32), seed=1)
    shares = torch.ones(20, 24, 32) if uniform else torch.rand(20, 24, 32, generator=g)
    scenes, dark = (
        detect(e, camera, seed=g, pattern=maps)
        for e in (light * camera.saturation * shares, torch.zeros(6, 24, 32))
    )
    write(path, Part(scenes, 1e-3), dark=Part(dark, 1e-3), bits=camera.bits, **arguments)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("camera", CAMERAS)
def test_a_full_well_below_the_end_of_the_converter_is_found(tmp_path, camera, uniform):
    path = tmp_path / "a.h5"
    for light in (0.03, 0.3, 0.9):
        filled(path, CAMERAS[camera], light, uniform)
        assert check(path) == []
    filled(path, CAMERAS[camera], 1.5, uniform)
    (finding,) = check(path)
    assert str(finding).startswith("scenes, frames 0 to 19: ")
    assert "pile up" in finding.message
    assert finding.kind == "doubt"
    filled(path, CAMERAS[camera], 1.5, uniform, saturation=CAMERAS[camera].saturation_level)
    (finding,) = check(path)
    assert finding.kind == "saturated"


def test_a_bench_of_many_errors_leaves_no_doubt(tmp_path):
    run_bench(device(**ERRORS), pictures(), tmp_path / "a.h5", interval=60.0)
    assert check(tmp_path / "a.h5") == []
