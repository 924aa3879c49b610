import pickle
from dataclasses import replace

import pytest
import torch

from photonet import correct
from photonet.errors import DataError, GridMismatch, InvalidArgument
from photonet.measured import (
    Measured,
    MeasuredData,
    Part,
    calibrate,
    check,
    correct_crosstalk,
    cut_windows,
    join_windows,
    run_bench,
    signed_maps,
    write,
)
from photonet.models import compressed_meta
from tests.measured.test_device import make_design
from tests.measured.test_photometry import ERRORS, device, pictures

GAIN = make_design().gain


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "device.h5"
    run_bench(device(**ERRORS), pictures(), path, labels=torch.arange(60) % 10, interval=60.0)
    return path


def distance(a, b):
    return float((a - b).norm() / b.norm())


def test_calibrated_features_of_a_file_are_those_of_a_device_without_these_faults(file):
    clean = device().measure(pictures()).features
    measured = Measured.from_file(file, GAIN, binning=4)
    assert torch.equal(measured.scenes, pictures())
    assert measured.labels.tolist() == [i % 10 for i in range(60)]
    naive = device(**ERRORS).measure(pictures(), time=torch.arange(60) * 60.0).features
    assert distance(naive, clean) > 0.2
    # shot noise of both: 16 pixels of some thousands of electrons
    assert distance(measured.features, clean) < 0.02


def test_rows_layout_and_calibration_can_be_chosen(file):
    with MeasuredData(file) as data:
        found = calibrate(data, ["dark", "flat"])
        some = Measured.from_file(data, GAIN, calibration=found, binning=4, rows=[7, 2])
        whole = Measured.from_file(data, GAIN, calibration=["dark", "flat"], binning=4)
        assert torch.equal(some.features, whole.features[[7, 2]])
        assert some.labels.tolist() == [7, 2]
        raw = Measured.from_file(data, GAIN, calibration=(), rows=slice(2))
        assert torch.equal(raw.features, signed_maps(cut_windows(data.scenes[:2], (2, 1)), GAIN))
        beside = Measured.from_file(data, GAIN, calibration=(), layout=(1, 2), rows=slice(2))
        assert beside.features.shape == (2, 1, 48, 12)


def test_frames_in_windows_are_the_same(file, tmp_path):
    with MeasuredData(file) as data:
        parts = {
            group.group: Part(cut_windows(group[:], (2, 1)), group.exposure, time=group.time)
            for group in (data.scenes, data.dark, data.flat, data.psf)
        }
        parts["scenes"] = replace(parts["scenes"], shown=data.scenes.shown[:])
    write(tmp_path / "cut.h5", **parts, bits=12)
    joined = {name: replace(part, data=join_windows(part.data, (2, 1))) for name, part in parts.items()}
    write(tmp_path / "joined.h5", **joined, bits=12)
    steps = ["dark", "linearity", "flat", correct_crosstalk(make_design().psf())]
    one, other = (
        Measured.from_file(tmp_path / name, GAIN, calibration=steps) for name in ("cut.h5", "joined.h5")
    )
    torch.testing.assert_close(one.features, other.features)


def test_a_large_file_is_read_some_frames_at_a_time(file, monkeypatch):
    whole = Measured.from_file(file, GAIN, binning=4)
    monkeypatch.setattr("photonet.measured.steps.AT_ONCE", 7 * 8 * 48 * 24)
    torch.testing.assert_close(Measured.from_file(file, GAIN, binning=4).features, whole.features)


def test_from_a_file_to_a_corrected_network_in_two_lines(tmp_path):
    student = compressed_meta()
    shown = torch.rand(60, 1, 28, 28)
    with torch.no_grad():
        Measured(shown, 0.5 * student.features(shown)).to_file(tmp_path / "dim.h5")
    measured = Measured.from_file(tmp_path / "dim.h5")
    result = correct(student, measured, fraction=1.0, method="calibration")
    assert result.kept == "calibration"


def test_maps_take_no_arguments_of_frames(tmp_path):
    Measured(torch.rand(3, 1, 9, 9), torch.rand(3, 2, 3, 3)).to_file(tmp_path / "a.h5")
    for name, value in {"gain": GAIN, "layout": (2, 1), "binning": 3}.items():
        with pytest.raises(InvalidArgument, match=f"{name}: expected nothing: the file holds feature maps"):
            Measured.from_file(tmp_path / "a.h5", **{name: value})


PIXELS = torch.arange(3 * 81).reshape(3, 9, 9) % 5
PIXELS[0, 0, 0] = -100


@pytest.mark.parametrize("labels", [None, torch.tensor([3, 1, 2]), PIXELS])
def test_what_is_written_is_read(tmp_path, labels):
    one = Measured(torch.rand(3, 1, 9, 9), torch.randn(3, 2, 3, 3), labels)
    one.to_file(tmp_path / "a.h5", camera="IMX249")
    unknown = labels is not None and bool((labels < 0).any())
    with MeasuredData(tmp_path / "a.h5", accept=["labels"] if unknown else []) as data:
        back = Measured.from_file(data)
        assert data.camera == "IMX249"
    assert torch.equal(back.features, one.features)
    assert torch.equal(back.scenes, one.scenes)
    assert back.labels is None if labels is None else torch.equal(back.labels, labels)


def test_a_faulty_file_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    write(path, Part(torch.full((3, 4, 4), 4095), 1.0, shown=torch.rand(3, 1, 4, 4)), bits=12)
    with pytest.raises(DataError, match="scenes, frames 0 to 2: saturated"):
        Measured.from_file(path, GAIN)


def test_what_is_missing_is_named(file, tmp_path):
    path = tmp_path / "a.h5"
    write(path, Part(torch.rand(3, 4, 4), 1.0))
    with pytest.raises(InvalidArgument, match="scenes: expected what was shown"):
        Measured.from_file(path, GAIN)
    with pytest.raises(InvalidArgument, match="scenes: expected 3 pictures, one per frame"):
        Measured.from_file(path, GAIN, scenes=torch.rand(2, 1, 4, 4))
    found = Measured.from_file(path, GAIN, scenes=torch.rand(3, 1, 4, 4))
    assert found.features.shape == (3, 1, 2, 4)
    with pytest.raises(InvalidArgument, match="gain: expected the digital gains"):
        Measured.from_file(file)
    with pytest.raises(InvalidArgument, match=r"layout: expected a divisor of the frame \(48, 24\)"):
        Measured.from_file(file, torch.ones(2, 5))
    with pytest.raises(InvalidArgument, match="binning: expected a divisor"):
        Measured.from_file(file, GAIN, binning=5)
    with pytest.raises(GridMismatch, match=r"captures: expected axes \[n, 2, y, x\]"):
        Measured.from_file(file, GAIN, layout=(4, 1))
    with pytest.raises(InvalidArgument, match=r"gain: expected shape \[2, k\]"):
        Measured.from_file(file, torch.ones(4), layout=(4, 1))


def test_workers_open_the_file_for_themselves(file):
    with MeasuredData(file) as data:
        scenes, shown = (pickle.loads(pickle.dumps(part)) for part in (data.scenes, data.scenes.shown))
        assert torch.equal(scenes[3], data.scenes[3])
        assert torch.equal(shown[3], data.scenes.shown[3])


def test_a_short_name():
    text = repr(Measured(torch.rand(3, 1, 9, 9), torch.randn(3, 2, 3, 3), torch.zeros(3, dtype=torch.long)))
    assert text == "<Measured scenes (3, 1, 9, 9), features (3, 2, 3, 3), labels (3,)>"


def test_pictures_beside_the_scenes_are_checked(tmp_path):
    path = tmp_path / "a.h5"
    frames = torch.rand(3, 4, 4)
    for shown, message in (
        (torch.rand(2, 1, 4, 4), "3 pictures, one per frame"),
        (torch.rand(3, 4, 4), r"pictures \[n, c, y, x\]"),
        (2 * torch.ones(3, 1, 4, 4), r"floating point in \[0, 1\], or uint8"),
        (torch.ones(3, 1, 4, 4, dtype=torch.int64), r"floating point in \[0, 1\], or uint8"),
    ):
        with pytest.raises(InvalidArgument, match=rf"scenes\.shown: expected {message}"):
            write(path, Part(frames, 1.0, shown=shown))
    with pytest.raises(InvalidArgument, match=r"dark\.shown: expected None"):
        write(path, Part(frames, 1.0), dark=Part(frames, 1.0, shown=torch.rand(3, 1, 4, 4)))
    write(path, Part(frames, 1.0, shown=torch.rand(3, 1, 4, 4)))
    assert check(path) == []
