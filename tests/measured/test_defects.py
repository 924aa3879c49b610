"""Pixels that tell nothing are found by what they do in dark and flat frames, and their neighbours asked."""

import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.measured import MeasuredData, Part, calibrate, run_bench, write
from tests.measured.test_photometry import ERRORS, device, pictures

GAUSSIAN = 1e-4
"""Share of healthy pixels that may be taken for defect."""


def step_of(path, dark, flat=None, **accept):
    write(path, Part(torch.full((2, *dark.shape[1:]), 500.0), 1e-2), dark=Part(dark, 1e-2), flat=flat)
    with MeasuredData(path, **accept) as data:
        return calibrate(data, ["defects"])["defects"]


@pytest.mark.parametrize("frames", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("whole", [True, False])
def test_a_healthy_camera_loses_no_pixels(tmp_path, frames, whole):
    g = torch.Generator().manual_seed(frames)
    dsnu = 3 * torch.randn(200, 250, generator=g)
    dark = 64 + dsnu + (0.4 if whole else 3) * torch.randn(frames, 200, 250, generator=g)
    step = step_of(tmp_path / "a.h5", dark.round().to(torch.int64) if whole else dark)
    assert int((~step.parameters["alive"]).sum()) < GAUSSIAN * dsnu.numel()


def test_the_glow_of_an_amplifier_is_no_defect(tmp_path):
    g = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    dark = 64 + 200 * torch.exp(-(y**2 + x**2) / 20**2) + 2 * torch.randn(8, 100, 100, generator=g)
    step = step_of(tmp_path / "a.h5", dark)
    assert bool(step.parameters["alive"].all())


def test_the_virtual_camera_has_no_defects(tmp_path):
    run_bench(device(**ERRORS), pictures(), tmp_path / "a.h5", interval=60.0)
    with MeasuredData(tmp_path / "a.h5") as data:
        assert bool(calibrate(data, ["defects"])["defects"].parameters["alive"].all())


def spoilt(n, level, g):
    """Frames with a pixel that is hot, one stuck below black, blinking, without a number, dead."""
    frames = level + 2 * torch.randn(n, 32, 32, generator=g)
    frames[:, 2, 3] += 80.0
    frames[:, 4, 9] = 0.0
    frames[:, 8, 5] = level + 300 * torch.randn(n, generator=g)
    frames[:, 0, 31] = float("nan")
    frames[:, 20, 20] = 64.0
    return frames


@pytest.mark.parametrize("lit", [True, False])
def test_every_kind_of_defect_is_found_and_filled(tmp_path, lit):
    g = torch.Generator().manual_seed(1)
    flat = Part(spoilt(8, 864.0, g), 1e-2) if lit else None
    write(tmp_path / "a.h5", Part(spoilt(4, 464.0, g), 1e-2), dark=Part(spoilt(16, 64.0, g), 1e-2), flat=flat)
    with MeasuredData(tmp_path / "a.h5", accept=["values"]) as data:
        found = calibrate(data)
        frames = found.read(data.scenes)
    step = found["defects"]
    alive = step.parameters["alive"]
    places = {(2, 3), (4, 9), (8, 5), (0, 31)} | ({(20, 20)} if lit else set())
    assert {tuple(place) for place in (~alive).nonzero().tolist()} == places
    counts = {kind: step.parameters[kind] for kind in ("hot", "blinking", "no number")}
    assert counts == {"hot": 2, "blinking": 1, "no number": 1}
    assert step.after < 0.3 * step.before
    assert f"{len(places)} pixels filled" in str(found)
    expected = 0.5 if lit else 400.0
    assert bool((frames[:, ~alive] / expected - 1).abs().max() < 0.02)


@pytest.mark.parametrize(
    "place", [(slice(None), 0), (-1, slice(None)), (slice(0, 2), slice(5, 7)), (0, slice(0, 2))]
)
@pytest.mark.parametrize("value", [300.0, -50.0])
def test_defects_at_the_border_are_found(place, value, tmp_path):
    dark = 64 + torch.randn(16, 24, 24, generator=torch.Generator().manual_seed(0))
    dark[(slice(None), *place)] += value
    step = step_of(tmp_path / "a.h5", dark)
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[place] = True
    assert torch.equal(~step.parameters["alive"], expected)
    assert step.parameters["hot"] == int(expected.sum())


def test_the_neighbours_stand_for_dead_pixels(tmp_path):
    flat = torch.full((4, 8, 8), 1000.0)
    flat[:, 2, 3] = 3.0
    flat[:, 5:, :3] = 0.0  # a corner: its own corner has no living neighbour
    slope = torch.arange(8.0).expand(4, 8, 8) * 100 + 200
    path = tmp_path / "a.h5"
    dark = Part(torch.zeros(2, 8, 8), 1.0)
    write(path, Part(torch.where(flat > 10, slope, 7.0), 1.0), dark=dark, flat=Part(flat, 1.0))
    with MeasuredData(path) as data:
        found = calibrate(data)
        picture = found.read(data.scenes)[0]
    assert found["defects"].parameters["dead"] == 10
    expected = slope[0] / 1000
    alive = flat[0] > 10
    torch.testing.assert_close(picture[alive], expected[alive])
    torch.testing.assert_close(picture[2, 3], expected[2, 3])  # the mean of a straight slope
    assert (picture[5:, :3] - expected[5:, :3]).abs().max() < 0.35
    assert (picture[5:, :3] > 0.2).all()


def test_flat_does_not_divide_by_a_dead_pixel(tmp_path):
    flat = torch.full((4, 8, 8), 1000.0)
    flat[:, 2, 3] = 3.0
    dark = Part(torch.zeros(2, 8, 8), 1.0)
    write(tmp_path / "a.h5", Part(flat / 2, 1.0), dark=dark, flat=Part(flat, 1.0))
    with (
        MeasuredData(tmp_path / "a.h5") as data,
        pytest.raises(InvalidArgument, match="1 dead pixels; before it, 'defects' fills them"),
    ):
        calibrate(data, ["dark", "flat"])


def test_frames_of_which_half_are_defect_are_refused(tmp_path):
    dark = torch.full((4, 8, 8), 64.0)
    dark[:, :4] = float("nan")
    with pytest.raises(InvalidArgument, match="half of them defect"):
        step_of(tmp_path / "a.h5", dark, accept=["values"])


@pytest.mark.parametrize("slope", [0.5, 2.0, 4.0])
def test_a_glow_that_goes_on_to_the_border_is_no_defect(slope, tmp_path):
    dark = 64 + torch.randn(16, 32, 32, generator=torch.Generator().manual_seed(0)) + slope * torch.arange(32)
    step = step_of(tmp_path / "a.h5", dark)
    assert bool(step.parameters["alive"].all())
    dark[:, 5, 0] += 50.0
    step = step_of(tmp_path / "b.h5", dark)
    assert step.parameters["hot"] == 1
