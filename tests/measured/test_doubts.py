"""What `check` says of files that can be read, but that one may want to measure again."""

import math

import pytest
import torch

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


def test_a_bench_of_many_errors_leaves_no_doubt(tmp_path):
    run_bench(device(**ERRORS), pictures(), tmp_path / "a.h5", interval=60.0)
    assert check(tmp_path / "a.h5") == []
