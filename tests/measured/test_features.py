import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from photonet import correct
from photonet.errors import DataError, GridMismatch, InvalidArgument, UnknownName
from photonet.measured import (
    Calibration,
    Measured,
    MeasuredData,
    Part,
    Windows,
    calibrate,
    check,
    correct_crosstalk,
    correct_flicker,
    correct_geometry,
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


def brackets(seed=0, repeats=4):
    """Frames of 30 scenes at several exposure times, with shot noise: Poisson of 100 electrons a ms."""
    g = torch.Generator().manual_seed(seed)
    shown = torch.rand(30, 1, 8, 4, generator=g).repeat(repeats, 1, 1, 1)
    seconds = torch.tensor([1e-3, 2e-3, 2e-3, 4e-3]).repeat_interleave(30)
    light = shown[:, 0] * seconds[:, None, None] * 1e5
    names = [f"scene {i % 30}" for i in range(30 * repeats)]
    part = Part(64 + torch.poisson(light, generator=g), seconds, shown=shown, name=names)
    darks = Part(torch.full((6, 8, 4), 64.0), [1e-3, 1e-3, 2e-3, 2e-3, 4e-3, 4e-3])
    return part, darks


def test_frames_of_several_exposure_times_are_of_one_scale_without_flats(tmp_path):
    scenes, dark = brackets()
    write(tmp_path / "a.h5", scenes, dark=dark)
    single = Measured.from_file(tmp_path / "a.h5", torch.tensor([[1.0], [0.0]]))
    level = single.features.unflatten(0, (4, 30)).mean((1, 2, 3, 4))
    torch.testing.assert_close(level / level[1], torch.ones(4), atol=0.01, rtol=0)


def test_a_black_level_is_not_scaled_with_the_exposure_time(tmp_path):
    scenes, dark = brackets()
    few = Part(dark.data[:1], dark.exposure[:1])
    gain = torch.tensor([[1.0], [0.5]])
    for others in (None, few):
        write(tmp_path / "a.h5", scenes, dark=others)
        with pytest.raises(
            InvalidArgument, match=r"^source: expected two or more dark frames .*calibration=\(\)"
        ):
            Measured.from_file(tmp_path / "a.h5", gain)
    write(tmp_path / "a.h5", replace(scenes, data=scenes.data - 64))
    level = Measured.from_file(tmp_path / "a.h5", gain, calibration=()).features.unflatten(0, (4, 30))
    ratio = level.mean((1, 2, 3, 4)) / level[1].mean()
    torch.testing.assert_close(ratio, torch.ones(4), atol=0.05, rtol=0)  # a scaled level would add 0.3


def test_repeated_frames_become_one_of_less_noise(tmp_path):
    scenes, dark = brackets()
    write(tmp_path / "a.h5", replace(scenes, label=torch.arange(120) % 30), dark=dark)
    gain = torch.tensor([[1.0], [0.0]])
    single, merged = (Measured.from_file(tmp_path / "a.h5", gain, merge=on) for on in (False, True))
    assert len(merged) == 30
    assert merged.labels.tolist() == list(range(30))
    truth = merged.scenes[:, :, :4] * 200  # at the usual 2 ms
    assert torch.equal(merged.scenes, single.scenes[:30])
    error = [float((one.features - truth.repeat(len(one) // 30, 1, 1, 1)).var()) for one in (single, merged)]
    # electrons on average: one over the mean of (1/1, 1/2, 1/2, 1/4) ms, and 9 ms together
    assert error[1] / error[0] == pytest.approx((1 / 9) / (2.25 / 4), rel=0.2)
    some = Measured.from_file(tmp_path / "a.h5", gain, merge=True, rows=[95, 5, 34])
    assert torch.equal(some.scenes, single.scenes[[5, 4]])
    write(tmp_path / "a.h5", replace(scenes, name=None), dark=dark)
    with pytest.raises(InvalidArgument, match="merge: expected False: the file has no names"):
        Measured.from_file(tmp_path / "a.h5", gain, merge=True)


def test_faulty_scenes_are_left_out_and_counted(tmp_path):
    path, gain = tmp_path / "a.h5", torch.tensor([[1.0], [0.0]])
    data = torch.arange(1.0, 7.0)[:, None, None] * torch.ones(6, 4, 4)
    data[1], data[4, 0, 0] = 4095.0, float("nan")
    scenes = Part(data, 1.0, shown=data.nan_to_num()[:, None] / 4095)
    write(path, scenes, bits=12)
    found = Measured.from_file(path, gain, drop=("saturated", "values"))
    assert found.features[:, 0, 0, 0].tolist() == [1, 3, 4, 6]
    assert found.dropped == 2
    assert "2 frames left out" in repr(found)
    assert Measured.from_file(path, gain, drop=("saturated", "values"), rows=[0, 1]).dropped == 1
    with pytest.raises(DataError, match="scenes, frame 4: NaN"):
        Measured.from_file(path, gain, drop="saturated")
    with pytest.raises(UnknownName, match="drop: expected one of saturated, values"):
        Measured.from_file(path, gain, drop=["everything"])
    with pytest.raises(InvalidArgument, match="drop: expected .*all 1 have them"):
        Measured.from_file(path, gain, drop=("saturated", "values"), rows=[1])
    write(path, scenes, psf=Part(data, 1.0), bits=12)
    with pytest.raises(DataError, match="psf, frame 4: NaN .*; drop leaves out scenes only"):
        Measured.from_file(path, gain, drop=("saturated", "values"))


def test_what_is_left_out_tells_nothing_of_the_light_either(tmp_path):
    fading = 3000 * torch.exp(-0.1 * torch.arange(8.0))[:, None, None] * torch.ones(8, 4, 4)
    fading[4:] = 4095.0
    times = 60.0 * torch.arange(8)
    scenes = Part(fading, 1.0, shown=torch.ones(8, 1, 4, 4), name=["one"] * 8, time=times)
    write(tmp_path / "a.h5", scenes, bits=12)
    found = Measured.from_file(
        tmp_path / "a.h5", torch.tensor([[1.0], [0.0]]), drop="saturated", calibration=["drift"]
    )
    assert found.dropped == 4
    torch.testing.assert_close(found.features, found.features[:1].expand(4, -1, -1, -1))


@pytest.mark.parametrize("step", [correct_crosstalk, correct_flicker, correct_geometry])
def test_a_scene_without_a_number_spoils_no_step(step, tmp_path):
    design = make_design()
    run_bench(device(), pictures(20), tmp_path / "a.h5")
    with MeasuredData(tmp_path / "a.h5") as data:
        frames, shown = data.scenes[:], data.scenes.shown[:]
        whole = calibrate(data, ["dark", step(design.psf())])
    frames[3, 0, 0] = float("nan")
    with MeasuredData(tmp_path / "a.h5") as data:
        dark = Part(data.dark[:], data.dark.exposure)
        write(tmp_path / "b.h5", Part(frames, data.scenes.exposure, shown=shown), dark=dark)
    with MeasuredData(tmp_path / "b.h5", accept=["values", "exposure"]) as data:
        found = calibrate(data, ["dark", step(design.psf())])
        read = found.read(data.scenes, torch.arange(3))
    assert found.steps[-1].after == pytest.approx(whole.steps[-1].after, rel=0.2)
    assert read.isfinite().all()


def test_frames_of_one_name_are_merged_if_they_show_the_same(tmp_path):
    maps, shown = torch.rand(6, 2, 4, 4), torch.rand(6, 1, 8, 8)
    path = tmp_path / "a.h5"
    write(path, Part(maps, 1.0, name=list("aabbcc"), label=[0, 1, 1, 1, 3, 2]), kind="features")
    with pytest.raises(InvalidArgument, match="merge: expected frames of a scene that have one label"):
        Measured.from_file(path, scenes=shown[[0, 0, 2, 2, 4, 4]], merge=True)
    other = Measured.from_file(path, scenes=shown, merge=True)
    assert torch.equal(other.features, maps)  # classes, not scenes
    write(path, Part(maps, 1.0, name=list("abaccb"), label=[-1, 1, 7, 3, -1, 1]), kind="features")
    with MeasuredData(path, accept="labels") as data:
        found = Measured.from_file(data, scenes=shown[[0, 1, 0, 3, 3, 1]], merge=True)
    assert found.labels.tolist() == [7, 1, 3]
    torch.testing.assert_close(found.features[1], maps[[1, 5]].mean(0))


def test_whole_grey_values_have_means_and_differences_that_are_not():
    frames = torch.arange(16).reshape(1, 4, 4)
    cut = cut_windows(frames, Windows([(0, 0)], (4, 4), pixels=2))
    assert cut[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    maps = signed_maps(torch.full((1, 2, 2, 2), 100), torch.tensor([[1.0], [0.25]]))
    assert maps.unique().tolist() == [75.0]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((torch.rand(3, 8, 8), torch.rand(3, 2, 4, 4)), r"scenes: .* axes \[n, c, y, x\]"),
        ((torch.rand(3, 1, 8, 8), torch.rand(3, 2)), r"features: .* axes \[n, c, y, x\]"),
        ((torch.rand(3, 1, 8, 8), torch.rand(3, 2, 4, 4), torch.tensor(3)), "labels: expected whole numbers"),
        ((torch.rand(3, 1, 8, 8), torch.rand(3, 2, 4, 4), torch.rand(3)), "labels: expected whole numbers"),
    ],
)
def test_other_axes_and_kinds_are_refused(given, named):
    with pytest.raises(InvalidArgument, match=named):
        Measured(*given)


def test_arrays_bytes_and_short_labels_are_understood():
    scenes = np.full((3, 1, 8, 8), 255, dtype=np.uint8)
    found = Measured(scenes, np.ones((3, 2, 4, 4)), np.array([1, 2, 3], dtype=np.int16))
    assert found.scenes.unique().tolist() == [1.0]
    assert found.labels.dtype == torch.int64


def test_rows_that_do_not_exist(tmp_path):
    Measured(torch.rand(3, 1, 9, 9), torch.rand(3, 2, 3, 3)).to_file(tmp_path / "a.h5")
    with pytest.raises(InvalidArgument, match="rows: expected a slice or numbers of the 3 scenes"):
        Measured.from_file(tmp_path / "a.h5", rows=[0, 3])
    with pytest.raises(InvalidArgument, match="calibration: expected nothing"):
        Measured.from_file(tmp_path / "a.h5", calibration=["dark"])
    with pytest.raises(GridMismatch, match="captures"):
        join_windows(torch.rand(1, 3, 4, 4), (2, 1))


@pytest.mark.parametrize("rows", [[0.9, 1.9], [math.nan], [], slice(0, 0), "0", [True], [None], None])
def test_rows_are_not_rounded_and_there_are_some(rows, tmp_path):
    Measured(torch.rand(3, 1, 9, 9), torch.rand(3, 2, 3, 3)).to_file(tmp_path / "a.h5")
    with pytest.raises(InvalidArgument, match="rows: expected"):
        Measured.from_file(tmp_path / "a.h5", rows=rows)


@pytest.mark.parametrize(
    "rows", [[2, 0], np.array([2, 0], dtype=np.uint8), torch.tensor([2, 0]), range(2, -1, -2)]
)
def test_whole_numbers_of_any_kind_are_rows(rows, tmp_path):
    one = Measured(torch.rand(3, 1, 9, 9), torch.rand(3, 2, 3, 3))
    one.to_file(tmp_path / "a.h5")
    assert torch.equal(Measured.from_file(tmp_path / "a.h5", rows=rows).features, one.features[[2, 0]])
    some = Measured.from_file(tmp_path / "a.h5", rows=[True, False, True])
    assert torch.equal(some.features, one.features[::2])


def test_the_gain_leaves_no_graph_behind(file):
    assert not Measured.from_file(file, GAIN.clone().requires_grad_(), binning=4).features.requires_grad


def test_captures_may_be_arrays_and_layouts_are_whole():
    frames = torch.rand(2, 8, 6)
    cut = cut_windows(frames.numpy(), (4, 2))
    assert torch.equal(cut, cut_windows(frames, (4, 2)))
    assert torch.equal(join_windows(cut.numpy(), (4, 2)), frames)
    with pytest.raises(InvalidArgument, match="layout: expected a whole number"):
        join_windows(cut, (4, 2.0))


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


def test_maps_of_bytes_are_numbers_and_scenes_of_bytes_pictures():
    found = Measured(torch.full((2, 1, 4, 4), 255).byte(), torch.full((2, 1, 2, 2), 95).byte())
    assert found.features.max() == 95
    assert found.scenes.max() == 1


def test_scenes_that_are_passed_may_be_an_array(tmp_path):
    maps, shown = torch.rand(4, 2, 4, 4), np.ones((4, 1, 8, 8))
    path = tmp_path / "a.h5"
    write(path, Part(maps, 1.0, name=list("aabb"), label=[0, 1, 2, 2]), kind="features")
    assert len(Measured.from_file(path, scenes=shown, merge=True, rows=slice(2, None))) == 1
    assert len(Measured.from_file(path, scenes=shown, calibration=Calibration())) == 4
    with pytest.raises(InvalidArgument, match="merge: .* another one in frame 1"):
        Measured.from_file(path, scenes=shown, merge=True)
